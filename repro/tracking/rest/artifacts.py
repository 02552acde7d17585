"""Where a run's artifacts are: behind the tracking server's proxy, or in a directory that this machine has too."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import unquote, urlsplit

from repro.errors import TrackingError, TrackingNotFoundError
from repro.files import copy_atomically, new_nonce, open_atomically
from repro.tracking.artifact_files import ArtifactFiles
from repro.tracking.entities import Artifact
from repro.tracking.rest.answers import make_refusal
from repro.tracking.rest.api import Api
from repro.tracking.rest.transport import Transport, quote_path
from repro.values import replace

PROXY = "/api/2.0/mlflow-artifacts/artifacts/"
_DEEPEST = 64


def check_artifact_path(path: str) -> str:
    """Return a path below a run's artifacts. Raises TrackingError for one that leads out of them."""
    parts = path.split("/")
    if "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise TrackingError(f"`{path}` is no path below a run's artifacts", hint="names with single `/` between them")
    return path


def lies_in(artifact: Artifact, directory: str) -> bool:
    """Tell whether what a server lists is what a directory can hold: a name, and not a way out of it."""
    parent, name = posixpath.split(artifact.path)
    return parent == directory and name not in ("", ".", "..") and not {"\0", "\\"} & set(name)


class ReadablePlace(Protocol):
    """A directory of artifacts that can be read."""

    @property
    def name(self) -> str:
        """What tells it from any other."""
        ...

    def download(self, path: str, target: BinaryIO) -> None:
        """Write an artifact into a file."""
        ...

    def list_directory(self, path: str) -> list[Artifact]:
        """Return what lies directly in a directory."""
        ...


class Place(ReadablePlace, Protocol):
    """Where the artifacts of one run are."""

    def upload(self, path: str, source: BinaryIO) -> None:
        """Keep what a file holds."""
        ...


class ProxyPlace:
    """Artifacts that a tracking server hands on; `root` is the run's path below its proxy."""

    def __init__(self, transport: Transport, root: str, api: Api, run_id: str) -> None:
        self._transport = transport
        self._root = root
        self._api = api
        self._run_id = run_id

    @property
    def name(self) -> str:
        """The server and the path."""
        return f"{self._transport.address.uri} {self._root}"

    def _send(self, method: str, path: str, body: BinaryIO | None, size: int, into: BinaryIO | None) -> None:
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)} if body else {}
        target = PROXY + quote_path(posixpath.join(self._root, path))
        answer = self._transport.send(method, target, body=body, headers=headers, into=into)
        if not 200 <= answer.status < 300:
            raise make_refusal(self._transport.address, f"{method} {target}", answer)

    def upload(self, path: str, source: BinaryIO) -> None:
        """Send what a file holds; sent twice, it is there once."""
        size = source.seek(0, os.SEEK_END)
        self._send("PUT", path, source, size, None)

    def download(self, path: str, target: BinaryIO) -> None:
        """Write an artifact into a file. Raises TrackingNotFoundError where there is none."""
        try:
            self._send("GET", path, None, 0, target)
        except TrackingError as error:
            if self._is_file(path):
                raise
            raise TrackingNotFoundError(f"the run `{self._run_id}` has no artifact `{path}`") from error

    def _is_file(self, path: str) -> bool:
        parent = posixpath.dirname(path)
        return any(each.path == path and not each.is_dir for each in self.list_directory(parent))

    def list_directory(self, path: str) -> list[Artifact]:
        """Return what the server lists, but for what no directory can hold."""
        found = (each for each in self._api.list_artifacts(self._run_id, path) if lies_in(each, path))
        return sorted(found, key=lambda each: each.path)


class LocalPlace:
    """Artifacts in a directory."""

    def __init__(self, root: Path) -> None:
        self._files = ArtifactFiles(root)

    @property
    def name(self) -> str:
        """The directory."""
        return str(self._files.root)

    def locate(self, path: str) -> Path:
        """Return where an artifact is, links followed."""
        return self._files.locate(path)

    def upload(self, path: str, source: BinaryIO) -> None:
        """Copy a file into the directory."""
        place = self._files.locate(path)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with open_atomically(place) as file:
                _copy(source, file)
        except OSError as error:
            raise TrackingError(
                f"the artifact `{path}` cannot be written to `{self._files.root}` ({error.strerror})",
                hint="the server keeps artifacts there itself: it has to be a directory that this machine has too",
            ) from error

    def download(self, path: str, target: BinaryIO) -> None:
        """Write an artifact into a file."""
        place = self._files.locate(path)
        if not place.is_file():
            raise TrackingNotFoundError(f"there is no artifact `{path}` in `{self._files.root}`")
        with open(place, "rb") as source:
            _copy(source, target)

    def list_directory(self, path: str) -> list[Artifact]:
        """Return what lies in a directory."""
        return self._files.list_directory(path)


def _copy(source: BinaryIO, target: BinaryIO) -> None:
    import shutil

    source.seek(0)
    shutil.copyfileobj(source, target, 1 << 20)


def find_transport(transport: Transport, authority: str) -> Transport:
    """Return how to ask the server that an artifact URI names: with our credentials only where it is the same."""
    address = transport.address
    try:
        parts = urlsplit(f"//{authority}")
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise TrackingError(f"`mlflow-artifacts://{authority}` names no server") from error
    if not authority or (host == address.host and port in (None, address.port)):
        return transport
    default = 443 if address.scheme == "https" else 80
    other = replace(address, host=host, port=port or default, path="", authorization=None, client_cert=None)
    return Transport(other, patience=transport.patience)


def find_place(api: Api, run_id: str, artifact_uri: str) -> Place:
    """Return where a run's artifacts are. Raises TrackingError for a place that needs more than a server or a disk."""
    parts = urlsplit(artifact_uri)
    if parts.scheme == "mlflow-artifacts":
        transport = find_transport(api.transport, parts.netloc)
        return ProxyPlace(transport, unquote(parts.path).strip("/"), api, run_id)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return LocalPlace(Path(unquote(parts.path)))
    if not parts.scheme and artifact_uri.startswith("/"):
        return LocalPlace(Path(artifact_uri))
    where = f"`{parts.scheme}:...`" if parts.scheme else f"`{artifact_uri}`"
    raise TrackingError(
        f"the artifacts of the run `{run_id}` are in {where}, which repro does not reach",
        hint="let the server hand them on: `mlflow server --serve-artifacts --artifacts-destination ...`",
    )


def walk_files(place: ReadablePlace, path: str, depth: int = 0) -> Iterator[Artifact]:
    """Yield all files below a directory of artifacts. Raises TrackingError where it has no end."""
    if depth > _DEEPEST:
        raise TrackingError(f"the artifacts have more than {_DEEPEST} directories one in another, down to `{path}`")
    for each in place.list_directory(path):
        if each.is_dir:
            yield from walk_files(place, each.path, depth + 1)
        else:
            yield each


def download_file(place: ReadablePlace, path: str, target_dir: Path, name: str | None = None) -> Path:
    """Write one artifact below a directory, as `name` or else at its path; never elsewhere, whatever links lie there.

    Raises TrackingError.
    """
    target = target_dir / (path if name is None else name)
    root = os.path.realpath(target_dir)
    if not Path(os.path.realpath(target.parent)).is_relative_to(root):
        raise TrackingError(f"`{target}` leads out of `{target_dir}`")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open_atomically(target) as file:
            place.download(path, file)
    except OSError as error:
        raise TrackingError(f"`{target}` cannot be written ({error.strerror})") from error
    return target


def download(place: ReadablePlace, path: str, target_dir: Path) -> Path:
    """Copy a file, or a directory with all in it, to the same path below a directory. Raises TrackingError."""
    if path:
        check_artifact_path(path)
        beside = place.list_directory(posixpath.dirname(path))
        found = next((each for each in beside if each.path == path), None)
        if found is None:
            raise TrackingNotFoundError(f"there is no artifact `{path}`")
        if not found.is_dir:
            return download_file(place, path, target_dir)
    for each in walk_files(place, path):
        download_file(place, each.path, target_dir)
    (target_dir / path).mkdir(parents=True, exist_ok=True)
    return target_dir / path


def find_sources(local_path: Path, artifact_dir: str) -> list[tuple[str, Path]]:
    """Return the files that are to be kept, each with its path among the artifacts. Raises TrackingError."""
    if artifact_dir:
        check_artifact_path(artifact_dir)
    source = Path(os.path.abspath(local_path))
    if not source.exists():
        raise TrackingError(f"there is no file `{local_path}` to keep")
    root = posixpath.join(artifact_dir, source.name)
    if not source.is_dir():
        return [(root, source)]
    found = [(f"{root}/{each.relative_to(source).as_posix()}", each) for each in sorted(source.rglob("*"))]
    return [(path, each) for path, each in found if each.is_file()]


def keep_copy(source: Path | bytes, files_dir: Path) -> str:
    """Copy what is to be sent later, synced to the disk, and return the copy's name. Raises OSError."""
    name = new_nonce() + new_nonce()
    files_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if isinstance(source, Path):
        copy_atomically(source, files_dir / name)
    else:
        (files_dir / name).write_bytes(source)
    descriptor = os.open(files_dir / name, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return name
