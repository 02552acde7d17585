"""MLflow's own UI on a store: a process beside us that answers before it is told of, and ends with us."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from repro import settings
from repro.errors import ReproError, UsageError
from repro.formats.direct_url import clean_url
from repro.process import Companion, Runner
from repro.tracking.server.endpoint import open_listener
from repro.tracking.store import find_directory
from repro.values import frozen

DEFAULT_PORT = 5000
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}
_PATIENCE_S = 300.0
_PAUSE_S = 0.1


@frozen
class ServedStore:
    """A store that a server shows already: `address` is its page."""

    address: str


@frozen
class LocalStore:
    """A store that MLflow's server can be started on: its URI, and where a directory's new experiments keep files."""

    uri: str
    artifact_root: str | None = None

    @property
    def name(self) -> str:
        """The URI without a password."""
        return clean_url(self.uri)


def find_shown_store(uri: str | None, *, cwd: Path) -> ServedStore | LocalStore:
    """Return what is to be shown for a tracking URI: a server, a directory of runs, or a database of MLflow's.

    Raises UsageError for a directory that is not there and for any other URI.
    """
    directory = find_directory(uri, cwd=cwd)
    if directory:
        if not directory.is_dir():
            raise UsageError(
                f"there is no directory of runs at `{directory}`",
                hint="the first run makes it; `--store DIR` names another",
            )
        place = directory.absolute().as_uri()
        return LocalStore(uri=place, artifact_root=place)
    scheme = urlsplit(uri or "").scheme
    if scheme in ("http", "https"):
        return ServedStore(address=clean_url(uri or ""))
    if uri and scheme.partition("+")[0] in _DATABASES:
        return LocalStore(uri=uri)
    raise UsageError(
        f"`{clean_url(uri or '')}` is nothing that MLflow's UI can show",
        hint="name a directory, a server or a database with `--store URI`",
    )


@frozen
class Place:
    """Where a UI listens."""

    host: str
    port: int

    @property
    def reach(self) -> str:
        """The host under which it is reached from this machine."""
        return _EVERYWHERE.get(self.host, self.host)

    @property
    def address(self) -> str:
        """What a browser on this machine opens."""
        return f"http://{f'[{self.reach}]' if ':' in self.reach else self.reach}:{self.port}"


def find_place(host: str, port: int | None) -> Place:
    """Return a place that can be listened at: at the port named (0: one that is free), else at 5000 where that is free.

    Raises UsageError: MLflow itself would say so after half a minute.
    """
    if port is None:
        try:
            return find_place(host, DEFAULT_PORT)
        except UsageError:
            return find_place(host, 0)
    with open_listener(host, port) as listener:
        return Place(host=host, port=listener.getsockname()[1])


def _answers(place: Place) -> bool:
    connection = http.client.HTTPConnection(place.reach, place.port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _describe_end(companion: Companion, what: str) -> ReproError:
    return ReproError(what, hint="`-v` shows all that MLflow says", details=companion.get_last_lines())


def _wait_until_it_answers(companion: Companion, place: Place) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while (exit_code := companion.find_exit_code()) is None:
        if _answers(place):
            return
        if time.monotonic() > deadline:
            raise _describe_end(companion, f"MLflow has not answered at {place.address} within {_PATIENCE_S:.0f} s")
        time.sleep(_PAUSE_S)
    raise _describe_end(companion, f"MLflow ended before it answered (exit code {exit_code})")


@contextmanager
def showing(
    runner: Runner,
    program: str,
    store: LocalStore,
    place: Place,
    *,
    workers: int,
    environ: Mapping[str, str],
    hear: Callable[[str], None],
) -> Iterator[Companion]:
    """Have MLflow's UI on a store for the block, which begins when it answers; `hear` is told each line it says.

    Raises UsageError where the program cannot be started, ReproError where it ends instead of answering.
    """
    named = dict(environ)
    settings.name_shown_store(named, store.uri, artifact_root=store.artifact_root)
    args = [program, "server", "--host", place.host, "--port", str(place.port), "--workers", str(workers)]
    try:
        with runner.accompany(args, env=named, hear=hear) as companion:
            _wait_until_it_answers(companion, place)
            yield companion
    except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
        if error.filename != program:
            raise
        raise UsageError(
            f"`{program}` cannot be started ({error.strerror})", hint="MLFLOW_BIN names it, or `repro mlflow install`"
        ) from error


def wait_for_end(companion: Companion) -> None:
    """Wait for a UI to end, which it does not by itself. Raises ReproError."""
    raise _describe_end(companion, f"MLflow has ended (exit code {companion.wait()})")
