"""A period of time that the command line names."""

from __future__ import annotations

import re

from repro.errors import UsageError

_DAY_S = 86_400.0
_PERIODS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": _DAY_S, "w": 7 * _DAY_S}


def parse_period(text: str, *, unit: str = "d") -> float:
    """Return the seconds of `30d`, `12h` or `2w`; a number alone is in `unit`. Raises UsageError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])?", text.strip(), re.IGNORECASE | re.ASCII)
    if not found:
        raise UsageError(f"`{text}` is no period", hint="for example `30d`, `12h` or `90s`")
    return float(found.group(1)) * _PERIODS[(found.group(2) or unit).lower()]
