"""Moments."""

import pytest

from repro.errors import UsageError
from repro.formats.moment import format_moment, parse_moment, read_upload_time


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31", "2026-02-01T00:00:00Z"),
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
        ("2026-01-31t12:00:00.75z", "2026-01-31T12:00:00Z"),
        ("2026-01-31 12:00:00+02:00", "2026-01-31T10:00:00Z"),
    ],
)
def test_a_date_is_its_end_and_a_timestamp_is_itself(text: str, moment: str) -> None:
    assert format_moment(parse_moment(text)) == moment


@pytest.mark.parametrize(
    "text",
    ["", "soon", "2026-13-01", "2026-02-30", "26-01-31", "9999-12-31", "2026-01-31T12:00:00", "2026-01-31T25:00:00Z"],
)
def test_what_is_no_date_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="is no date"):
        parse_moment(text)


def test_an_index_may_say_nothing_or_nonsense() -> None:
    moment = read_upload_time("2026-01-31T12:00:00.123456Z")
    assert moment is not None
    assert format_moment(moment) == "2026-01-31T12:00:00Z"
    assert read_upload_time(None) is read_upload_time("soon") is None
