"""Where a distribution came from: PEP 610's direct_url.json as a value, without credentials and without local paths."""

from __future__ import annotations

import json
import re

from repro.patterns import compile_later
from repro.values import frozen

_URL = compile_later(r"[!-~]+")
_SHA256 = compile_later(r"[0-9a-f]{64}")
_VCS = ("git", "hg", "svn", "bzr")


@frozen
class Index:
    """A package index gave it, by name and version; `url` names the index where it is not the first that is asked."""

    kind = "index"
    url: str | None = None


@frozen
class Archive:
    """One file at a URL; `sha256` (64 hex digits) where the installer noted it."""

    kind = "archive"
    url: str
    sha256: str | None = None


@frozen
class Vcs:
    """A commit of a repository, e.g. of `git`; `url` is None where that is a path of the machine it was taken on."""

    kind = "vcs"
    vcs: str
    url: str | None
    commit: str
    subdirectory: str | None = None

    def format_url(self) -> str | None:
        """Return the URL a requirement names it by, e.g. `git+https://host/x@<commit>#subdirectory=y`."""
        if self.url is None:
            return None
        return f"{self.vcs}+{self.url}@{self.commit}{_format_fragment(self.subdirectory)}"


@frozen
class Checkout:
    """The state of the working copy a distribution was installed from.

    `diff` is the sha256 (64 hex digits) of what was not committed: `git diff` and the untracked files; of all files
    where there is no commit.
    """

    commit: str | None = None
    url: str | None = None
    diff: str | None = None
    untracked: int = 0


@frozen
class Directory:
    """A directory or a file of the machine it was installed on, whose path says nothing elsewhere."""

    kind = "directory"
    checkout: Checkout | None = None


@frozen
class Editable:
    """A working copy, imported from where it lies."""

    kind = "editable"
    checkout: Checkout | None = None


@frozen
class Local:
    """No index that was asked has these files: built here from an sdist, edited after it was installed, or unknown."""

    kind = "local"


@frozen
class System:
    """The operating system's or conda's own package, which no index can give back."""

    kind = "system"


Source = Index | Archive | Vcs | Directory | Editable | Local | System


def _format_fragment(subdirectory: str | None) -> str:
    from urllib.parse import quote

    return f"#subdirectory={quote(subdirectory)}" if subdirectory else ""


def clean_url(url: str) -> str:
    """Return a URL without password, user (but `git@` over ssh), query and fragment, quoted where it has to be."""
    from urllib.parse import quote, urlsplit, urlunsplit

    from repro.formats.redaction import drop_login

    try:
        parts = urlsplit(url)
        user, _, host = parts.netloc.rpartition("@")
        keeps_user = parts.scheme in ("ssh", "git+ssh") and user.partition(":")[0] == "git"
        parts = parts._replace(netloc=f"git@{host}") if keeps_user else urlsplit(drop_login(url))
    except ValueError:  # a host in brackets that is none
        return drop_login(url).partition("?")[0].partition("#")[0]
    path = re.sub(r"[^!-~]+", lambda match: quote(match[0]), parts.path)
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def check_url(url: str) -> str:
    """Return a URL that can stand in a line of requirements. Raises ValueError."""
    if not _URL.fullmatch(url):
        raise ValueError(f"`{url}` is no URL: it has spaces, or characters that have to be quoted")
    from urllib.parse import urlsplit

    urlsplit(url)  # refuses a host in brackets that is none
    return url


def make_vcs(*, vcs: str, url: str | None, commit: str, subdirectory: str | None) -> Vcs:
    """Return a commit whose parts can stand in a line of requirements. Raises ValueError."""
    if vcs not in _VCS:
        raise ValueError(f"`{vcs}` is no version control that is known ({', '.join(_VCS)})")
    if not re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z._@+:-]*", commit):
        raise ValueError(f"`{commit}` is no commit")
    if subdirectory and (subdirectory.startswith("/") or ".." in subdirectory.split("/")):
        raise ValueError(f"the subdirectory `{subdirectory}` leads out of the repository")
    return Vcs(vcs=vcs, url=check_url(url) if url else None, commit=commit, subdirectory=subdirectory or None)


def _take_text(table: dict[str, object], key: str) -> str:
    """Return a text of a table, "" where there is none. Raises ValueError for what is no text."""
    value = table.get(key, "")
    if not isinstance(value, str):
        raise ValueError(f"`{key}` is `{value}`, which is no text")
    return value


def _take_table(table: dict[str, object], key: str) -> dict[str, object]:
    value = table.get(key, {})
    if not isinstance(value, dict):
        raise ValueError(f"`{key}` is no object")
    return value


def _load(text: str) -> dict[str, object]:
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(content, dict):
        raise ValueError("it is no object")
    return content


def _make_archive(content: dict[str, object], url: str, subdirectory: str) -> Archive:
    """Return an archive with the sha256 that is stated in either of the two ways, where it is one."""
    info = _take_table(content, "archive_info")
    stated = _take_text(_take_table(info, "hashes"), "sha256") or _take_text(info, "hash").partition("sha256=")[2]
    sha256 = stated.lower() if _SHA256.fullmatch(stated.lower()) else None
    return Archive(url=check_url(clean_url(url) + _format_fragment(subdirectory)), sha256=sha256)


def parse_direct_url(text: str) -> Source:
    """Return the source that a direct_url.json names.

    Raises ValueError where it is no such file.
    """
    content = _load(text)
    url = _take_text(content, "url")
    if not url:
        raise ValueError("it has no `url`")
    is_here, subdirectory = url.lower().startswith("file:"), _take_text(content, "subdirectory")
    if "vcs_info" in content:
        info = _take_table(content, "vcs_info")
        return make_vcs(
            vcs=_take_text(info, "vcs"),
            url=None if is_here else clean_url(url),
            commit=_take_text(info, "commit_id"),
            subdirectory=subdirectory,
        )
    if _take_table(content, "dir_info").get("editable"):
        return Editable()
    return Directory() if is_here else _make_archive(content, url, subdirectory)
