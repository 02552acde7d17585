"""Read where a project is from its URI: a directory, a commit of a git repository, a zip, or a run that is run again.

    project/   file:///repo#models      a directory, the user's own tree; with `--version` a commit of its repository
    /srv/repo.git#models                a bare repository on this machine
    https://host/repo#models   ssh://git@host/repo   git@host:repo
    project.zip   https://host/project.zip#models
    runs:/<id>   <32 hexadecimal digits>

A login that stands in a URL is taken out of it here; everything else only ever sees the URL without it.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from repro.errors import UsageError
from repro.formats.direct_url import clean_url
from repro.patterns import compile_later
from repro.tracking.git_source import find_repository
from repro.values import field, frozen

_RUN = compile_later(r"(?:runs:/+)?([0-9a-f]{6,32})/?")  # or its beginning
_SCP = compile_later(
    r"\w[\w.-]*@\w[\w.-]*:(?!-|//|:)\S.*"
)  # git-clone(1), "GIT URLS"; with a user, else it is a scheme
_REMOTE_SCHEMES = ("https", "http", "ssh", "git")
_SCHEME = compile_later(r"[a-zA-Z][a-zA-Z0-9+.-]*:")
_REF = compile_later(r"[^\x00-\x20\x7f~^:?*\[\\]+")  # git-check-ref-format(1)


@frozen
class Login:
    """User and password that stood in a URL, the password None where there was only a user; never shown."""

    user: str = field(repr=False)
    password: str | None = field(repr=False)


@frozen
class DirectoryLocation:
    """A directory of the user's, run where it is."""

    path: Path
    subdirectory: str = ""


@frozen
class GitLocation:
    """A commit of a repository: `url` without login (a local one is an absolute path), `version` a ref or None."""

    url: str
    subdirectory: str = ""
    version: str | None = None
    login: Login | None = None

    @property
    def place(self) -> str:
        """The repository's URI, without credentials."""
        return Path(self.url).as_uri() if self.is_local else self.url

    @property
    def name(self) -> str:
        """The project's URI as MLflow writes it, without credentials."""
        return f"{self.place}#{self.subdirectory}" if self.subdirectory else self.place

    @property
    def is_local(self) -> bool:
        """Whether it lies on this machine."""
        return self.url.startswith("/")


@frozen
class ZipLocation:
    """A zip: its `path`, or its `url` with all that is needed to ask for it."""

    path: Path | None = None
    url: str | None = field(default=None, repr=False)
    subdirectory: str = ""

    @property
    def place(self) -> str:
        """Where it is, without credentials."""
        return str(self.path) if self.path else clean_url(self.url or "")

    @property
    def name(self) -> str:
        """The URI as MLflow writes it, without credentials."""
        return f"{self.place}#{self.subdirectory}" if self.subdirectory else self.place


@frozen
class RunLocation:
    """A run that is run again, by its id or its beginning of six digits or more."""

    run_id: str


Location = DirectoryLocation | GitLocation | ZipLocation | RunLocation


def show_uri(uri: str) -> str:
    """Return a URI for a message: no credentials, nothing that steers a terminal."""
    base, separator, subdirectory = uri.partition("#")
    shown = clean_url(base) if "://" in base else base
    return "".join(each if each.isprintable() else "?" for each in f"{shown}{separator}{subdirectory}")


def name_location(location: Location) -> str:
    """Return a URI that means a location from any working directory, without credentials; a version is not in it."""
    match location:
        case DirectoryLocation(path=path, subdirectory=subdirectory):
            return f"{path}#{subdirectory}" if subdirectory else str(path)
        case RunLocation(run_id=run_id):
            return run_id
        case _:
            return location.name


def _check_subdirectory(subdirectory: str, uri: str) -> str:
    """Return the part of a project's tree, without slashes around it. Raises UsageError where it leads out of it."""
    parts = [part for part in subdirectory.strip("/").split("/") if part]
    if any(part in (".", "..", ".git") for part in parts) or not subdirectory.isprintable() or "\\" in subdirectory:
        raise UsageError(f"`{show_uri(uri)}`: the subdirectory must be the name of a directory within the project")
    return "/".join(parts)


def check_version(version: str) -> str:
    """Return a ref that git can be given: no option, no range, no glob. Raises UsageError."""
    if not _REF.fullmatch(version) or version.startswith(("-", "/")) or ".." in version or "@{" in version:
        raise UsageError(
            f"`--version {''.join(each if each.isprintable() else '?' for each in version)}` names no commit",
            hint="give a commit, a tag or a branch",
        )
    return version


def _is_bare_repository(path: Path) -> bool:
    return (path / "HEAD").is_file() and (path / "objects").is_dir() and (path / "refs").is_dir()


def _locate_directory(path: Path, subdirectory: str, version: str | None, uri: str) -> Location:
    """Return a directory, of a bare repository or with a version the commit."""
    path = Path(os.path.abspath(path))
    if _is_bare_repository(path) and not (path / ".git").exists():
        return GitLocation(url=str(path), subdirectory=subdirectory, version=version)
    if version is None:
        return DirectoryLocation(path=path, subdirectory=subdirectory)
    path = path.resolve()
    repository = find_repository(path)
    if repository is None:
        raise UsageError(
            f"`--version {version}` is for git repositories, and `{show_uri(uri)}` lies in none",
            hint="leave `--version` out, or name a repository",
        )
    inside = path.relative_to(repository).as_posix()
    return GitLocation(
        url=str(repository), subdirectory="/".join(part for part in (inside, subdirectory) if part not in ("", ".")),
        version=version,
    )  # fmt: skip


def _refuse_version(version: str | None, uri: str) -> None:
    if version is not None:
        raise UsageError(f"`--version {version}` is for git repositories, and `{show_uri(uri)}` is none")


def _locate_path(path: Path, subdirectory: str, version: str | None, uri: str) -> Location | None:
    """Return what there is at a path, None for nothing."""
    if path.is_dir():
        return _locate_directory(path, subdirectory, version, uri)
    if path.suffix.lower() == ".zip" and path.is_file():
        _refuse_version(version, uri)
        return ZipLocation(path=Path(os.path.abspath(path)), subdirectory=subdirectory)
    return None


def _refuse_missing(uri: str) -> UsageError:
    return UsageError(
        f"there is no project directory `{show_uri(uri)}`",
        hint="name a directory, a git URL, a `.zip`, a run's id, or `.` for this directory",
    )


def _split_login(parts: SplitResult) -> tuple[str, Login | None]:
    """Return a URL without its login, and the login; over ssh a user stays, and a password is of no use."""
    user, _, host = parts.netloc.rpartition("@")
    name, colon, password = user.partition(":")
    if parts.scheme == "ssh":
        return urlunsplit(parts._replace(netloc=f"{name}@{host}" if name else host)), None
    login = Login(user=unquote(name), password=unquote(password) if colon else None) if user else None
    return urlunsplit(parts._replace(netloc=host)), login


def _locate_url(base: str, subdirectory: str, version: str | None) -> Location:
    """Return what a URL names. Raises UsageError."""
    try:
        parts = urlsplit(base)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or host.startswith("-") or parts.netloc.startswith("-") or not base.isprintable() or " " in base:
        raise UsageError(f"`{show_uri(base)}` is no URL of a project")
    if parts.scheme in ("http", "https") and parts.path.lower().endswith(".zip"):
        _refuse_version(version, base)
        return ZipLocation(url=base, subdirectory=subdirectory)
    if parts.query:
        raise UsageError(
            f"git takes no query in a URL: `{show_uri(base)}`", hint="a login comes from git's credential helpers"
        )
    url, login = _split_login(parts)
    return GitLocation(url=url, subdirectory=subdirectory, version=version, login=login)


def _locate_file(base: str, subdirectory: str, version: str | None, uri: str) -> Location:
    parts = urlsplit(base)
    if parts.netloc not in ("", "localhost"):
        raise UsageError(f"`{show_uri(uri)}` lies on another machine", hint="a local one is `file:///path`")
    found = _locate_path(Path(unquote(parts.path)), subdirectory, version, uri)
    if found is None:
        raise _refuse_missing(uri)
    return found


def parse_location(uri: str, *, version: str | None = None) -> Location:
    """Return where a project is; a directory that is there is taken as it is called, whatever else it looks like.

    Raises UsageError for what names none, and for a version of what has none.
    """
    version = None if version is None else check_version(version)
    if "\0" in uri or not uri:
        raise _refuse_missing(uri)
    base, _, fragment = uri.partition("#")
    git_url = base[4:] if base.lower().startswith("git+") else base
    scheme = git_url.partition("://")[0].lower() if "://" in git_url else ""
    if scheme not in (*_REMOTE_SCHEMES, "file"):
        if found := _locate_path(Path(os.path.expanduser(uri)), "", version, uri):
            return found
    elif scheme != "file":
        return _locate_url(git_url, _check_subdirectory(fragment, uri), version)
    if match := _RUN.fullmatch(uri):
        _refuse_version(version, uri)
        return RunLocation(run_id=match[1])
    subdirectory = _check_subdirectory(fragment, uri)
    if scheme == "file":
        return _locate_file(git_url, subdirectory, version, uri)
    if found := _locate_path(Path(os.path.expanduser(base)), subdirectory, version, uri):
        return found
    if uri.startswith("runs:"):
        raise UsageError(
            f"`{show_uri(uri)}` is no run",
            hint="a run is `runs:/` and its id of 32 hexadecimal digits, or its first six or more",
        )
    if _SCP.fullmatch(base) and base.isprintable():
        return GitLocation(url=base, subdirectory=subdirectory, version=version)
    if scheme or _SCHEME.match(base):
        raise UsageError(
            f"`{show_uri(uri)}` is of a kind that repro takes no projects from",
            hint="a directory, `file://`, `https://`, `ssh://`, `git@host:path` or a `.zip`",
        )
    raise _refuse_missing(uri)
