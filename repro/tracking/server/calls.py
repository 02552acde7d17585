"""One call of the API: its fields, read from the query or from JSON, and checked as they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs

from repro.errors import TrackingError
from repro.tracking.entities import ViewType
from repro.tracking.server.bodies import Body
from repro.tracking.server.refusal import Refusal
from repro.tracking.wire import Fields, find_text, find_whole
from repro.values import frozen

_LISTS = frozenset({"experiment_ids", "order_by", "stages", "run_ids"})
_VIEWS = {1: ViewType.ACTIVE_ONLY, 2: ViewType.DELETED_ONLY, 3: ViewType.ALL}


@frozen
class Call:
    """A call: `places` are the parts of the path that vary, `query` everything behind `?`."""

    method: str
    places: Mapping[str, str]
    query: Mapping[str, list[str]]
    body: Body

    def read_fields(self) -> Fields:
        """Return the call's fields: of a GET those of its query, else those of its JSON. Raises Refusal."""
        if self.method == "GET" and self.query:
            return {key: values if key in _LISTS else values[0] for key, values in self.query.items()}
        return {**self.body.read_fields(), **self.places}


def parse_query(text: str) -> dict[str, list[str]]:
    """Return the keys and values behind `?`. Raises Refusal."""
    try:
        return parse_qs(text, keep_blank_values=True, max_num_fields=1000, errors="strict")
    except ValueError as error:
        raise Refusal("BAD_REQUEST", "the request's query cannot be read") from error


def get_word(fields: Fields, key: str) -> str:
    """Return a text that must be there and say something. Raises TrackingError."""
    value = find_text(fields, key)
    if not value:
        raise TrackingError(f"Missing value for required parameter '{key}'")
    return value


def get_run_id(fields: Fields) -> str:
    """Return a run's id; the oldest clients call it `run_uuid`. Raises TrackingError."""
    return find_text(fields, "run_id") or find_text(fields, "run_uuid") or get_word(fields, "run_id")


def find_flag(fields: Fields, key: str) -> bool:
    """Return a flag, False where it is missing. Raises TrackingError."""
    value = fields.get(key)
    if value in (True, "true", "True"):
        return True
    if value in (None, False, "false", "False", ""):
        return False
    raise TrackingError(f"`{key}` is {value!r}, and not true or false")


def find_view(fields: Fields, key: str) -> ViewType:
    """Return which of the active and deleted ones are meant, by word or by number. Raises TrackingError."""
    value = fields.get(key)
    if value is None:
        return ViewType.ACTIVE_ONLY
    try:
        return _VIEWS[int(str(value))] if str(value).isdecimal() else ViewType(str(value))
    except (KeyError, ValueError) as error:
        raise TrackingError(f"`{key}` is {value!r}", hint=", ".join(ViewType)) from error


def get_page_size(fields: Fields, default: int, most: int) -> int:
    """Return how many results are wanted at most. Raises TrackingError."""
    size = find_whole(fields, "max_results")
    if size is not None and not 1 <= size <= most:
        raise TrackingError(f"`max_results` is {size}, and must be 1 to {most}")
    return default if size is None else size
