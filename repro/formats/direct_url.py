"""Where a distribution came from: PEP 610's direct_url.json as a value, without credentials and without local paths."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """A package index gave it, by name and version; `url` names the index where it is not the first that is asked."""

    kind = "index"
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """One file at a URL; `sha256` (64 hex digits) where the installer noted it."""

    kind = "archive"
    url: str
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
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
        fragment = f"#subdirectory={self.subdirectory}" if self.subdirectory else ""
        return f"{self.vcs}+{self.url}@{self.commit}{fragment}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """The state of the working copy a distribution was installed from.

    `diff` is the sha256 (64 hex digits) of what was not committed: `git diff` and the untracked files; of all files
    where there is no commit.
    """

    commit: str | None = None
    url: str | None = None
    diff: str | None = None
    untracked: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """A directory or a file of the machine it was installed on, whose path says nothing elsewhere."""

    kind = "directory"
    checkout: Checkout | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Editable:
    """A working copy, imported from where it lies."""

    kind = "editable"
    checkout: Checkout | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """No index that was asked has these files: built here from an sdist, edited after it was installed, or unknown."""

    kind = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """The operating system's or conda's own package, which no index can give back."""

    kind = "system"


Source = Index | Archive | Vcs | Directory | Editable | Local | System


def clean_url(url: str) -> str:
    """Return a URL without password, user (but `git@` over ssh), query and fragment."""
    from urllib.parse import urlsplit, urlunsplit

    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    keeps_user = parts.scheme in ("ssh", "git+ssh") and user.partition(":")[0] == "git"
    return urlunsplit((parts.scheme, f"git@{host}" if keeps_user else host, parts.path, "", ""))


def parse_direct_url(text: str) -> Source:
    """Return the source that a direct_url.json names.

    Raises ValueError where it is no such file.
    """
    try:
        content = json.loads(text)
        url = content["url"]
        if (vcs := content.get("vcs_info")) is not None:
            return Vcs(
                vcs=vcs["vcs"],
                url=None if url.startswith("file:") else clean_url(url),
                commit=vcs["commit_id"],
                subdirectory=content.get("subdirectory"),
            )
        if content.get("dir_info", {}).get("editable"):
            return Editable()
        if url.startswith("file:"):
            return Directory()
        archive = content.get("archive_info", {})
        sha256 = archive.get("hashes", {}).get("sha256") or archive.get("hash", "").partition("sha256=")[2]
        return Archive(url=clean_url(url), sha256=sha256 or None)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a PEP 610 file: {error!r}") from error
