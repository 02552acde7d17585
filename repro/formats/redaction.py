"""Take credentials out of URLs and out of text that other programs wrote, and tell what looks like one."""

from __future__ import annotations

import re

from repro.patterns import compile_later

_URL = compile_later(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>\S+)")
_CLOSING = compile_later(r"[`'\"\])>},.;:]*$")  # what stands around a URL in a sentence, not in it
_PLAIN_HOST = compile_later(r"(\[[0-9A-Fa-f:.]*\]|[\w.-]*)(:\d*)?")
_VERSION_CONTROL = ("git", "hg", "svn", "bzr", "ssh")


def _drop_login(scheme: str, rest: str) -> str:
    """Return what follows `://` without user info, in which a person may have left `/` and `@` as they are."""
    authority = re.split(r"[/?#`'\"]", rest, maxsplit=1)[0]
    path = rest[len(authority) :].partition("?")[0]
    host = authority.rpartition("@")[2]
    names_commit = scheme.partition("+")[0] in _VERSION_CONTROL
    if _PLAIN_HOST.fullmatch(host) and (names_commit or "@" not in path):
        return rest[len(authority) - len(host) :]
    return rest.rpartition("@")[2]


def _redact_url(found: re.Match[str]) -> str:
    rest, question, query = _drop_login(found["scheme"], found["rest"]).partition("?")
    closing = _CLOSING.search(query) if question else None
    return f"{found['scheme']}://{rest}{closing[0] if closing else ''}"


def drop_login(url: str) -> str:
    """Return a URL without user info."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}://{_drop_login(scheme, rest)}" if separator else url


def redact(text: str) -> str:
    """Return text without user info and query strings in its URLs."""
    return _URL.sub(_redact_url, text)


_SECRET_NAME = compile_later(r"TOKEN|KEY|SECRET|PASS|PWD|CREDENTIAL|AUTH|COOKIE|SESSION|PRIVATE", re.IGNORECASE)
_SECRET_VALUE = compile_later(
    r"://[^/\s]*@"  # user and password in a URL
    r"|(token|key|secret|passw\w*|pwd|credential|auth\w*|bearer|signature|sig)\w*\s*[=: ]"
    r"|\b(gh[pousr]_|github_pat_|glpat-|xox[a-z]-|sk-|pk-|hf_|pypi-|AKIA|ASIA|AIza|ya29\.|eyJ)[\w.-]{8,}"
    r"|-----BEGIN",
    re.IGNORECASE,
)
_LONG_WORD = compile_later(r"[A-Za-z0-9+/_-]{20,}={0,2}")


def _looks_random(word: str) -> bool:
    """Tell whether a long word has digits among its letters, as keys have and options have not."""
    return bool(re.search(r"[A-Za-z]\d+[A-Za-z]|\d[A-Za-z]+\d", word)) and sum(map(str.isdigit, word)) >= 4


def looks_secret(name: str, value: str) -> bool:
    """Tell whether a variable's name or value looks as if nobody should see the value; a doubt is a yes."""
    if _SECRET_NAME.search(name) or _SECRET_VALUE.search(value):
        return True
    return any(_looks_random(word) for word in _LONG_WORD.findall(value))
