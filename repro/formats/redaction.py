"""Take credentials out of text that other programs wrote, and tell what looks like one."""

from __future__ import annotations

import re

_CREDENTIALS = re.compile(r"(\w+://)[^/\s@]+@")
_QUERY = re.compile(r"(\w+://[^\s?]+)\?[^\s`'\")]*")


def redact(text: str) -> str:
    """Return text without user info and query strings in its URLs."""
    return _QUERY.sub(r"\1", _CREDENTIALS.sub(r"\1", text))


_SECRET_NAME = re.compile(r"TOKEN|KEY|SECRET|PASS|PWD|CREDENTIAL|AUTH|COOKIE|SESSION|PRIVATE", re.IGNORECASE)
_SECRET_VALUE = re.compile(
    r"://[^/\s]*@"  # user and password in a URL
    r"|(token|key|secret|passw\w*|pwd|credential|auth\w*|bearer|signature|sig)\w*\s*[=: ]"
    r"|\b(gh[pousr]_|github_pat_|glpat-|xox[a-z]-|sk-|pk-|hf_|pypi-|AKIA|ASIA|AIza|ya29\.|eyJ)[\w.-]{8,}"
    r"|-----BEGIN",
    re.IGNORECASE,
)
_LONG_WORD = re.compile(r"[A-Za-z0-9+/_-]{20,}={0,2}")


def _looks_random(word: str) -> bool:
    """Tell whether a long word has digits among its letters, as keys have and options have not."""
    return bool(re.search(r"[A-Za-z]\d+[A-Za-z]|\d[A-Za-z]+\d", word)) and sum(map(str.isdigit, word)) >= 4


def looks_secret(name: str, value: str) -> bool:
    """Tell whether a variable's name or value looks as if nobody should see the value; a doubt is a yes."""
    if _SECRET_NAME.search(name) or _SECRET_VALUE.search(value):
        return True
    return any(_looks_random(word) for word in _LONG_WORD.findall(value))
