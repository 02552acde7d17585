"""A point in time as a user names it (RFC 3339), for questions such as "what did the index have then"."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from repro.errors import UsageError

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})")


def parse_moment(text: str) -> datetime:
    """Return the moment in UTC, to the second; a date means the end of that day in UTC.

    Raises UsageError.
    """
    try:
        if _DATE.fullmatch(text):
            return datetime.fromisoformat(text).replace(tzinfo=timezone.utc) + timedelta(days=1)
        if _TIMESTAMP.fullmatch(text):
            plain = re.sub(r"\.\d+", "", text.upper().replace("Z", "+00:00"))
            return datetime.fromisoformat(plain).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        pass
    raise UsageError(
        f"`{text}` is no date", hint="write it as `2026-01-31`, or with time and zone as `2026-01-31T12:00:00Z`"
    )


def format_moment(moment: datetime) -> str:
    """Return a moment as RFC 3339 in UTC, e.g. `2026-01-31T12:00:00Z`."""
    return moment.astimezone(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


def read_upload_time(text: str | None) -> datetime | None:
    """Return when an index says that a file was uploaded (PEP 700), None where it does not say."""
    try:
        return datetime.fromisoformat(re.sub(r"\.\d+", "", text.replace("Z", "+00:00"))) if text else None
    except ValueError:
        return None
