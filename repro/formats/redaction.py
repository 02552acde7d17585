"""Take credentials out of text that other programs wrote."""

from __future__ import annotations

import re

_CREDENTIALS = re.compile(r"(\w+://)[^/\s@]+@")
_QUERY = re.compile(r"(\w+://[^\s?]+)\?[^\s`'\")]*")


def redact(text: str) -> str:
    """Return text without user info and query strings in its URLs."""
    return _QUERY.sub(r"\1", _CREDENTIALS.sub(r"\1", text))
