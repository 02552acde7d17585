"""When each minor version of Python came out (the release PEPs; from 3.13 on each October, PEP 602)."""

from __future__ import annotations

from datetime import date, timedelta

_RELEASED = {
    6: date(2016, 12, 23),
    7: date(2018, 6, 27),
    8: date(2019, 10, 14),
    9: date(2020, 10, 5),
    10: date(2021, 10, 4),
    11: date(2022, 10, 24),
    12: date(2023, 10, 2),
    13: date(2024, 10, 7),
}
_FIRST_OCTOBER = 2025  # 3.14
# So long after a release most distributions have wheels for it, and their authors have run it.
ADOPTION = timedelta(days=180)


def find_release_day(version: str) -> date | None:
    """Return the day a version's X.Y came out, the first of October where only the month is known; None before 3.6."""
    parts = version.split(".")
    if len(parts) < 2 or parts[0] != "3" or not parts[1].isdigit():
        return None
    minor = int(parts[1])
    return _RELEASED.get(minor) or (date(_FIRST_OCTOBER + minor - 14, 10, 1) if minor >= 14 else None)


def is_in_use(version: str, *, day: date) -> bool:
    """Tell whether a version's X.Y had been out for half a year on a day; those of before 3.6 always had."""
    released = find_release_day(version)
    return released is None or released + ADOPTION <= day
