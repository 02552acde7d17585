"""Write a lock in a format of others: pylock.toml, plain requirements, MLflow's conda.yaml and python_env.yaml."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from repro.environments.machine import Machine
from repro.errors import ReproError, UsageError
from repro.files import copy_atomically, overwrite, sha256_file
from repro.formats.conda_env import format_conda_env
from repro.formats.direct_url import Archive, Index, Vcs
from repro.formats.lockfile import Distribution, Snapshot
from repro.formats.pylock import LocalFile, format_pylock, is_pylock_name
from repro.formats.python_env import format_python_env
from repro.formats.requirements import format_pins, format_requirements
from repro.formats.simple_index import IndexFile
from repro.snapshots.index_client import IndexClient
from repro.snapshots.indexes import find_path
from repro.snapshots.load import Loaded
from repro.snapshots.pins import Pin
from repro.values import frozen, replace

FORMATS = ("pylock", "requirements", "conda-yaml", "python-env")


@frozen
class ExportRequest:
    """What a caller asks for: a format, where it will stand, and the directory that kept wheels are copied to."""

    format: str
    output: Path | None = None
    wheels_dir: Path | None = None
    allow_missing: bool = False

    @property
    def directory(self) -> Path:
        """The directory that relative paths in the file count from."""
        return self.output.parent if self.output else Path()


@frozen
class Exported:
    """The text, how many distributions it holds, and the names of those that were left out."""

    text: str
    distributions: int
    left_out: tuple[str, ...]


def _as_commit(distribution: Distribution, request: ExportRequest) -> Distribution:
    """Return a commit without the wheel that was kept of it, where that cannot be given along."""
    has_place = request.wheels_dir and request.format in ("pylock", "requirements")
    if distribution.kept and not has_place and isinstance(distribution.source, Vcs) and distribution.source.url:
        return replace(distribution, kept=False, hashes=())
    return distribution


def _why_not(distribution: Distribution, snapshot: Snapshot, request: ExportRequest) -> str | None:
    """Return why a format cannot say a distribution, None where it can."""
    if distribution.kept:
        if request.format in ("conda-yaml", "python-env"):
            return "its wheel is in the cache alone, which this format has no place for"
        return None if request.wheels_dir else "its wheel is in the cache alone: `--wheels DIR` copies it"
    match distribution.source:
        case Vcs(url=str()) if request.format == "requirements" and snapshot.is_hashed:
            return "a commit has no hash, and installers demand all or none"
        case Vcs(url=url):
            return None if url else "its repository is a path of the machine it was taken on"
        case Index() | Archive() if snapshot.is_active(distribution):
            needs_hash = request.format == "pylock" and not distribution.hashes
            return "the lock has no hash of it, and a pylock.toml has to" if needs_hash else None
        case source:
            return f"the lock names no file for it ({source.kind})"


def _select(loaded: Loaded, request: ExportRequest) -> tuple[Snapshot, tuple[str, ...]]:
    """Return what of a lock the format can say, and what is left out. Raises ReproError unless that is allowed."""
    distributions = tuple(_as_commit(each, request) for each in loaded.snapshot.distributions)
    reasons = {each.name: _why_not(each, loaded.snapshot, request) for each in distributions}
    refused = [f"{name}: {reason}" for name, reason in reasons.items() if reason]
    if refused and not request.allow_missing:
        raise ReproError(
            f"{len(refused)} distribution(s) of `{loaded.path}` cannot be written as {request.format}",
            hint="leave them out with `--allow-missing`",
            details=tuple(refused),
        )
    sayable = tuple(each for each in distributions if not reasons[each.name])
    return replace(loaded.snapshot, distributions=sayable), tuple(refused)


def _copy_beside(source: Path, request: ExportRequest) -> LocalFile:
    """Copy a file into the directory for wheels and return it as the exported file names it."""
    assert request.wheels_dir is not None
    request.wheels_dir.mkdir(parents=True, exist_ok=True)
    target = request.wheels_dir / source.name
    copy_atomically(source, target)
    path = os.path.relpath(target.absolute(), request.directory.absolute())
    return LocalFile(path=path.replace(os.sep, "/"), sha256=sha256_file(target), size_bytes=target.stat().st_size)


def _copy_kept(machine: Machine, distribution: Distribution, request: ExportRequest) -> LocalFile:
    """Copy the wheel that the store keeps for a distribution. Raises ReproError where it is not as locked."""
    sha256 = distribution.hashes[0].removeprefix("sha256:") if distribution.hashes else ""
    wheelhouse = machine.store.open_wheelhouse()
    found = wheelhouse.find(sha256) if sha256 else None
    if not found or sha256_file(found) != sha256:
        raise ReproError(
            f"the wheel of `{distribution.name}` {distribution.version} is not in the cache `{machine.store.root}`",
            hint="take the lock again with `repro snapshot`, or name the cache with `--cache DIR`",
        )
    return _copy_beside(found, request)


def _join(
    client: IndexClient, distribution: Distribution, listed: Sequence[IndexFile], request: ExportRequest
) -> list[IndexFile | LocalFile]:
    """Return those files of a version that the lock allows; one on this machine is copied, or left out."""
    allowed = {each.removeprefix("sha256:") for each in distribution.hashes}
    joined: dict[str, IndexFile | LocalFile] = {}
    for file in listed:
        sha256 = file.sha256 or client.compute_sha256(file)
        if sha256 not in allowed or file.filename in joined:
            continue
        path = find_path(file.url)
        if path is None:
            joined[file.filename] = replace(file, sha256=sha256)
        elif request.wheels_dir:
            joined[file.filename] = _copy_beside(path, request)
    return list(joined.values())


def _find_files(
    machine: Machine, snapshot: Snapshot, request: ExportRequest, project: Path
) -> dict[str, list[IndexFile | LocalFile]]:
    """Return the files of each distribution. Raises ReproError, which names every one that no index has."""
    files: dict[str, list[IndexFile | LocalFile]] = {
        each.name: [_copy_kept(machine, each, request)] for each in snapshot.distributions if each.kept
    }
    asked = [each for each in snapshot.distributions if isinstance(each.source, Index) and not each.kept]
    indexes = machine.find_indexes(project)
    known = set(indexes.public_urls)
    more = tuple(url for url in snapshot.index_urls if url not in known)
    indexes = replace(indexes, extra_urls=(*indexes.extra_urls, *more))
    with IndexClient(indexes, environ=machine.environ) as client:
        listing = client.list_files([Pin(name=each.name, version=each.version) for each in asked])
        for each in asked:
            files[each.name] = _join(client, each, listing.files[each.name], request)
    missing = tuple(f"{each.name}=={each.version}" for each in asked if not files[each.name])
    if missing:
        raise ReproError(
            f"no index has a file of {len(missing)} distribution(s) with a hash of the lock",
            hint="name the index they come from (`PIP_EXTRA_INDEX_URL`); `--wheels DIR` copies files of this machine",
            details=missing,
        )
    return files


def _format_plain(machine: Machine, snapshot: Snapshot, request: ExportRequest) -> str:
    python = snapshot.interpreter.version if snapshot.interpreter else None
    if request.format == "requirements":
        copied = [_copy_kept(machine, each, request) for each in snapshot.distributions if each.kept]
        find_links = copied[0].path.rpartition("/")[0] or "." if copied else None
        return format_requirements(snapshot, find_links=find_links)
    pins = [*(f"--extra-index-url {url}" for url in snapshot.index_urls), *format_pins(snapshot)]
    formats: Mapping[str, object] = {"conda-yaml": format_conda_env, "python-env": format_python_env}
    return str(formats[request.format](python=python, pins=pins))  # type: ignore[operator]


def export_lock(machine: Machine, loaded: Loaded, request: ExportRequest) -> Exported:
    """Return a lock in another format, its kept wheels copied; the text itself is not written.

    Raises UsageError for a name that installers would not know a pylock.toml by, and ReproError for what the format
    cannot say or no index has.
    """
    if request.format == "pylock" and request.output and not is_pylock_name(request.output.name):
        raise UsageError(
            f"`{request.output.name}` is no name for a pylock: installers know it by its name",
            hint="name it `pylock.toml` or `pylock.<word>.toml`",
        )
    snapshot, left_out = _select(loaded, request)
    if request.format == "pylock":
        try:
            text = format_pylock(snapshot, _find_files(machine, snapshot, request, loaded.path.parent))
        except ValueError as error:
            raise ReproError(f"`{loaded.path}` cannot be written as pylock.toml: {error}") from error
    else:
        text = _format_plain(machine, snapshot, request)
    return Exported(text=text, distributions=len(snapshot.distributions), left_out=left_out)


def write_exported(exported: Exported, path: Path) -> None:
    """Write an exported lock, all or nothing. Raises ReproError where it cannot be written."""
    try:
        overwrite(path, exported.text)
    except OSError as error:
        raise ReproError(
            f"`{path}` cannot be written ({error.strerror})", hint="name another with `-o FILE`"
        ) from error
