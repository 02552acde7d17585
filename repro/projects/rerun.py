"""Find what runs a logged run again: its commit with its changes, its entry point, parameters and snapshot."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from repro.environments.store import Store as Cache
from repro.errors import ReproError, TrackingNotFoundError, UsageError
from repro.formats.lockfile import FILE_NAME
from repro.patterns import compile_later
from repro.projects.location import DirectoryLocation, GitLocation, Location, RunLocation, ZipLocation, parse_location
from repro.tracking.entities import Run
from repro.tracking.file_store import FileStore
from repro.tracking.git_source import ask_git, find_repository
from repro.tracking.store import Store, find_text
from repro.values import field, frozen

PARAMETERS_TAG = "repro.parameters"
_COMMIT = compile_later(r"[0-9a-f]{40,64}")
_LEFT_OUT = compile_later(r"^# left out: (.*)$", re.MULTILINE)

SWEEP_TAG = "repro.sweep.key"


@frozen
class Rerun:
    """A run as it is run again; `patch` are its changes to its commit, `sha256` is that of its zip."""

    run_id: str
    location: Location
    entry_point: str | None
    parameters: Mapping[str, str] = field(default_factory=dict)
    patch: str = ""
    sha256: str | None = None
    notes: tuple[str, ...] = ()


def format_given(names: Sequence[str]) -> dict[str, str]:
    """Return the tag that says which parameters were given, so that those a script has logged are none."""
    return {PARAMETERS_TAG: json.dumps(sorted(names))}


def _read_given(run: Run) -> list[str] | None:
    try:
        names = json.loads(run.data.tags.get(PARAMETERS_TAG, ""))
    except (ValueError, RecursionError):
        return None
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else None


def _find_parameters(run: Run) -> tuple[dict[str, str], list[str]]:
    """Return the parameters that were given, and a note where the run does not say which those are."""
    given = _read_given(run)
    if given is None:
        if not run.data.params:
            return {}, []
        names = ", ".join(f"`{name}`" for name in sorted(run.data.params))
        note = (
            f"run {run.run_id} does not say which of its parameters were given ({names}): none is; give them with `-P`"
        )
        return {}, [note]
    return {name: run.data.params[name] for name in given if name in run.data.params}, []


def _locate_name(name: str) -> Location | None:
    try:
        location = parse_location(name)
    except ReproError:
        return None
    return None if isinstance(location, RunLocation) else location


def _find_script(run: Run, cwd: Path) -> Path | None:
    """Return the script that has started its run itself, where it still is."""
    name = run.data.tags.get("mlflow.source.name", "")
    path = cwd / name
    return path.resolve() if run.data.tags.get("mlflow.source.type") == "LOCAL" and name and path.is_file() else None


def _split_name(name: str) -> tuple[Path | None, str]:
    """Return the local directory that a source's name begins with, and the subdirectory behind `#`."""
    base, _, subdirectory = name.partition("#")
    if base.startswith("file:"):
        return Path(unquote(urlsplit(base).path)), subdirectory
    return (Path(base), subdirectory) if base.startswith("/") else (None, subdirectory)


def _find_clone(path: Path, commit: str) -> Path | None:
    """Return the work tree that a path lies in, where its repository still has a commit."""
    repository = find_repository(path)
    if repository is None or ask_git(repository, "cat-file", "-e", f"{commit}^{{commit}}") is None:
        return None
    return repository


def _locate_commit(run: Run, commit: str, script: Path | None) -> tuple[GitLocation | None, str | None]:
    """Return where a run's commit can be had, the nearest first, and the script within it."""
    tags = run.data.tags
    if script:
        repository = _find_clone(script, commit)
        if repository:
            return GitLocation(url=str(repository), version=commit), script.relative_to(repository).as_posix()
        return None, None
    directory, subdirectory = _split_name(tags.get("mlflow.source.name", ""))
    repository = _find_clone(directory.resolve(), commit) if directory and directory.is_dir() else None
    if directory and repository:
        inside = directory.resolve().relative_to(repository).as_posix()
        parts = [part for part in (inside, subdirectory) if part not in ("", ".")]
        return GitLocation(url=str(repository), subdirectory="/".join(parts), version=commit), None
    for uri in (tags.get("mlflow.source.name", ""), tags.get("mlflow.source.git.repoURL", "")):
        location = _locate_name(uri)
        if isinstance(location, GitLocation):
            place = location.subdirectory or subdirectory
            return GitLocation(url=location.url, subdirectory=place, version=commit), None
    return None, None


def _locate_without_commit(run: Run, script: Path | None) -> tuple[Location | None, str | None, str | None]:
    """Return the directory or zip that is still there, the script within it, and what is to say of it."""
    if script:
        note = f"run {run.run_id} has no commit: `{script}` is run as it is now"
        return DirectoryLocation(path=script.parent), script.name, note
    name = run.data.tags.get("mlflow.source.name", "")
    location = _locate_name(name)
    if isinstance(location, DirectoryLocation):
        shown = location.path / location.subdirectory
        return location, None, f"run {run.run_id} has no commit: `{shown}` is run as it is now"
    return (location, None, None) if isinstance(location, ZipLocation) else (None, None, None)


def _refuse(run: Run) -> ReproError:
    name = run.data.tags.get("mlflow.source.name", "") or "unknown"
    return ReproError(
        f"run {run.run_id} cannot be run again: its code is nowhere to be found (source `{name}`)",
        hint="run it where its directory or its repository is",
    )


def _read_patch(store: Store, run: Run) -> tuple[str, list[str]]:
    """Return a run's changes to its commit, and what is known to be missing in them."""
    from repro.tracking.code_diff import FILE_NAME as DIFF

    patch = find_text(store, run.run_id, DIFF) or ""
    left_out = _LEFT_OUT.findall(patch)
    if left_out:
        return patch, [f"run {run.run_id} has not kept all of its changes: {'; '.join(left_out[:5])}"]
    if not patch and run.data.tags.get("mlflow.source.git.dirty") == "true":
        return patch, [f"run {run.run_id} had changes that it has not kept: its commit is run without them"]
    return patch if "diff --git " in patch else "", []


def get_run_id(store: Store, beginning: str) -> str:
    """Return the id of the one run that begins so. Raises UsageError for none and for several."""
    from repro.tracking.run_ids import complete_run_id

    try:
        return complete_run_id(store, beginning)
    except TrackingNotFoundError as error:
        raise UsageError(
            f"`{beginning}` is no directory here, and {error.message}",
            hint="name a project's directory, or a run's id or the beginning of one",
        ) from error


def plan_rerun(store: Store, run_id: str, *, cwd: Path) -> Rerun:
    """Return how a run is run again. Raises TrackingNotFoundError, and ReproError where its code is gone."""
    run = store.get_run(run_id)
    if SWEEP_TAG in run.data.tags:
        raise UsageError(f"the run `{run_id}` is a sweep", hint=f"`repro sweep --resume {run_id}` goes on with it")
    tags, script = run.data.tags, _find_script(run, cwd)
    parameters, notes = _find_parameters(run)
    commit = tags.get("mlflow.source.git.commit", "")
    found: Location | None
    patch = ""
    if _COMMIT.fullmatch(commit):
        found, entry = _locate_commit(run, commit, script)
        patch, more = _read_patch(store, run)
        notes += more
    else:
        found, entry, note = _locate_without_commit(run, script)
        notes += [note] if note else []
    if found is None:
        raise _refuse(run)
    return Rerun(
        run_id=run.run_id,
        location=found,
        entry_point=tags.get("mlflow.project.entryPoint") or entry,
        parameters=parameters,
        patch=patch if "diff --git " in patch else "",
        sha256=tags.get("repro.source.sha256"),
        notes=tuple(notes),
    )


@contextmanager
def find_lock(cache: Cache, store: Store, run_id: str) -> Iterator[Path | None]:
    """Have the lock that a run has kept as a file, for the block; None where it has none."""
    if isinstance(store, FileStore):
        path = Path(store.open_artifacts(run_id).root, FILE_NAME)
        yield path if path.is_file() else None
        return
    text = find_text(store, run_id, FILE_NAME)
    if text is None:
        yield None
        return
    with cache.stage() as directory:
        path = Path(directory, FILE_NAME)
        path.write_text(text, encoding="utf-8")
        yield path
