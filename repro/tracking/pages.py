"""Pages of answers, cut from a list: the token of the next page is MLflow's, base64 of `{"offset": N}`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from repro.errors import TrackingError
from repro.tracking.entities import Page

T = TypeVar("T")


def format_page_token(offset: int) -> str:
    """Return the token of the page that begins at an offset."""
    import base64
    import json

    return base64.b64encode(json.dumps({"offset": offset}).encode()).decode()


def parse_page_token(token: str | None) -> int:
    """Return the offset that a page begins at, 0 without a token. Raises TrackingError."""
    import base64
    import json

    if not token:
        return 0
    try:
        offset = json.loads(base64.b64decode(token, validate=True))["offset"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise TrackingError(f"`{token}` is no page token") from error
    if isinstance(offset, bool) or not isinstance(offset, int) or offset < 0:
        raise TrackingError(f"`{token}` is no page token")
    return offset


def cut_page(items: Sequence[T], *, max_results: int, page_token: str | None, most: int) -> Page[T]:
    """Return one page of a list. Raises TrackingError for a page that is empty or larger than `most`."""
    if not 1 <= max_results <= most:
        raise TrackingError(f"`max_results` is {max_results}, and must be 1 to {most}")
    start = parse_page_token(page_token)
    end = start + max_results
    return Page(items=tuple(items[start:end]), token=format_page_token(end) if end < len(items) else None)
