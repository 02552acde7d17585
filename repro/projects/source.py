"""Have a project's files for the time of a run, wherever its URI says they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from repro import settings
from repro.environments.machine import Machine
from repro.errors import UsageError
from repro.formats.lockfile import FILE_NAME
from repro.projects.location import (
    DirectoryLocation,
    GitLocation,
    Location,
    RunLocation,
    ZipLocation,
    parse_location,
)
from repro.tracking.git_source import GitSource, find_git_source, format_git_tags
from repro.tracking.store import open_store
from repro.values import field, frozen, replace


@frozen
class Source:
    """A project's files: `root` is its directory, `tags` say where they are from, as MLflow does.

    `is_own` tells that they are the user's own, in which a lock may be written. Of a run that is run again `rerun_of`
    is the id, and `entry_point`, `parameters` and `lock` (where it has a snapshot) are its.
    """

    root: Path
    tags: Mapping[str, str]
    is_own: bool = False
    rerun_of: str | None = None
    entry_point: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    lock: Path | None = None

    @property
    def snapshot(self) -> Path:
        """The lock that is restored, and compared with where nothing is."""
        return self.lock or self.root / FILE_NAME


def name_directory(root: Path, source: GitSource | None) -> str:
    """Return a directory's URI as MLflow writes it: of one in a repository that, and behind `#` where in it."""
    root = root.resolve()
    if source is None or not root.is_relative_to(source.root):
        return root.as_uri()
    inside = root.relative_to(source.root).as_posix()
    return source.root.as_uri() if inside == "." else f"{source.root.as_uri()}#{inside}"


def _enter(root: Path, subdirectory: str, name: str) -> Path:
    """Return a subdirectory of a project's files. Raises UsageError where there is none."""
    inside = (root / subdirectory).resolve()
    if not inside.is_dir() or not inside.is_relative_to(root.resolve()):
        here = sorted(each.name for each in root.iterdir() if each.is_dir() and each.name != ".git")
        raise UsageError(
            f"there is no directory `{subdirectory}` in `{name}`",
            hint="name one behind `#`",
            details=(f"directories: {', '.join(here[:20]) or 'none'}",),
        )
    return inside


def _open_directory(location: DirectoryLocation) -> Source:
    root = _enter(location.path, location.subdirectory, str(location.path))
    source = find_git_source(root)
    tags = {"mlflow.source.name": name_directory(root, source)}
    return Source(root=root, tags=tags | (format_git_tags(source) if source else {}), is_own=True)


@contextmanager
def _open_commit(
    machine: Machine, location: GitLocation, *, offline: bool, patch: str, say: Callable[[str], None]
) -> Iterator[Source]:
    from repro.projects.checkout import check_out

    with check_out(machine, location, offline=offline, patch=patch) as checkout:
        if checkout.resolved.note:
            say(f"warning: {checkout.resolved.note}")
        source = find_git_source(checkout.root)
        tags = {"mlflow.source.name": location.name, **(format_git_tags(source) if source else {})}
        if location.is_local:
            tags["mlflow.source.git.repoURL"] = Path(location.url).as_uri()
        if checkout.resolved.branch:
            tags["mlflow.source.git.branch"] = checkout.resolved.branch
        if location.version:
            tags["mlflow.project.version"] = location.version
        yield Source(root=_enter(checkout.root, location.subdirectory, location.name), tags=tags)


@contextmanager
def _open_zip(machine: Machine, location: ZipLocation, *, offline: bool) -> Iterator[Source]:
    from repro.projects.archive import open_archive

    with open_archive(machine, location, offline=offline) as unpacked:
        place = location.path.as_uri() if location.path else location.place
        name = f"{place}#{location.subdirectory}" if location.subdirectory else place
        tags = {"mlflow.source.name": name, "repro.source.sha256": unpacked.sha256}
        yield Source(root=_enter(unpacked.root, location.subdirectory, location.name), tags=tags)


@contextmanager
def _open_files(
    machine: Machine, location: Location, *, offline: bool, patch: str, say: Callable[[str], None]
) -> Iterator[Source]:
    match location:
        case GitLocation():
            with _open_commit(machine, location, offline=offline, patch=patch, say=say) as source:
                yield source
        case ZipLocation():
            with _open_zip(machine, location, offline=offline) as source:
                yield source
        case DirectoryLocation():
            yield _open_directory(location)
        case _:
            raise UsageError(f"a run cannot be of a run: `{location.run_id}`")


@contextmanager
def _open_run(
    machine: Machine, location: RunLocation, *, offline: bool, say: Callable[[str], None]
) -> Iterator[Source]:
    from repro.projects.rerun import find_lock, get_run_id, plan_rerun

    store = open_store(settings.find_tracking_uri(machine.environ), cwd=Path.cwd())
    again = plan_rerun(store, get_run_id(store, location.run_id), cwd=Path.cwd())
    for sentence in again.notes:
        say(f"warning: {sentence}")
    with (
        find_lock(machine.store, store, again.run_id) as lock,
        _open_files(machine, again.location, offline=offline, patch=again.patch, say=say) as source,
    ):
        if again.sha256 and source.tags.get("repro.source.sha256") != again.sha256:
            say(f"warning: the zip of run {again.run_id} is another now")
        yield replace(
            source,
            tags={**source.tags, "repro.rerun_of": again.run_id},
            rerun_of=again.run_id,
            entry_point=again.entry_point,
            parameters=again.parameters,
            lock=lock,
        )


@contextmanager
def open_source(
    machine: Machine, uri: str, *, version: str | None = None, offline: bool = False, say: Callable[[str], None]
) -> Iterator[Source]:
    """Have a project's files for the block; nothing of the user's is changed. Raises ReproError."""
    location = parse_location(uri, version=version)
    if isinstance(location, RunLocation):
        with _open_run(machine, location, offline=offline, say=say) as source:
            yield source
    else:
        with _open_files(machine, location, offline=offline, patch="", say=say) as source:
            yield source
