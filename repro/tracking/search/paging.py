"""Hand out what was found page by page; a token knows its search and the last item it gave.

So a page begins after that item also where others came before it meanwhile, and nothing is given twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from repro.errors import TrackingError
from repro.tracking.entities import MAX_RESULTS, ExperimentQuery, Page, RunQuery

T = TypeVar("T")


def _sum_up(query: RunQuery | ExperimentQuery) -> int:
    """Return a number that tells searches apart, whatever their pages."""
    import zlib

    ids = query.experiment_ids if isinstance(query, RunQuery) else None
    return zlib.crc32(repr((ids, query.filter, query.view.value, query.order_by)).encode("utf-8", "surrogatepass"))


def format_token(last: str, offset: int, query: RunQuery | ExperimentQuery) -> str:
    """Return the token of the page that begins after the item `last`, at `offset` where that is gone."""
    import base64
    import json

    content = json.dumps({"after": last, "offset": offset, "search": _sum_up(query)})
    return base64.urlsafe_b64encode(content.encode()).decode()


def parse_token(token: str, query: RunQuery | ExperimentQuery) -> tuple[str, int]:
    """Return the item that a page begins after and its offset. Raises TrackingError for another search's token."""
    import base64
    import json

    hint = "give `page_token` what the page before gave, and the same filter, order, view and experiments"
    try:
        content = json.loads(base64.b64decode(token, altchars=b"-_", validate=True))
        last, offset, search = str(content["after"]), int(content["offset"]), content["search"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise TrackingError(f"`{token}` is no page token", hint=hint) from error
    if search != _sum_up(query) or offset < 0:
        raise TrackingError(f"`{token}` is the page token of another search", hint=hint)
    return last, offset


def check_max_results(max_results: int) -> None:
    """Refuse what no page can hold. Raises TrackingError."""
    if not 1 <= max_results <= MAX_RESULTS:
        raise TrackingError(f"`max_results` is {max_results}", hint=f"ask for 1 to {MAX_RESULTS}")


def take_page(
    found: Sequence[T], query: RunQuery | ExperimentQuery, identify: Callable[[T], str]
) -> tuple[Sequence[T], str | None]:
    """Return the part of what was found, in its order, that is the query's page, and the token of the next one."""
    check_max_results(query.max_results)
    start = 0
    if query.page_token:
        last, start = parse_token(query.page_token, query)
        start = next((number + 1 for number, item in enumerate(found) if identify(item) == last), start)
    end = start + query.max_results
    part = found[start:end]
    if end >= len(found) or not part:
        return part, None
    return part, format_token(identify(part[-1]), end, query)


def make_page(found: Sequence[T], query: RunQuery | ExperimentQuery, identify: Callable[[T], str]) -> Page[T]:
    """Return the query's page of what was found, in its order. Raises TrackingError."""
    part, token = take_page(found, query, identify)
    return Page(items=tuple(part), token=token)
