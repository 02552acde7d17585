"""Find the run whose `used` marks are meant."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from repro import settings
from repro.errors import NotObservedError, ReproError, UsageError
from repro.formats.lockfile import FILE_NAME, Snapshot, parse_snapshot
from repro.tracking.entities import MAX_RESULTS, ExperimentQuery, Run, RunQuery
from repro.tracking.store import Store, find_text, open_store
from repro.values import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_HINT = "observe one: `repro run`, or `repro.start_run()` in the script"
_USED = "repro.snapshot.used"


@frozen
class ObservedRun:
    """A run and the names of the distributions that it has used."""

    run_id: str
    used: frozenset[str]


def _find_source(tags: Mapping[str, str], *, cwd: Path) -> tuple[str, Path] | None:
    """Return what kind of source a run with these tags has, and where it lies."""
    name = tags.get("mlflow.source.name", "")
    if not name or name.startswith("<"):
        return None
    base, _, subdirectory = name.partition("#") if name.startswith("file:") else (name, "", "")
    path = Path(unquote(urlsplit(base).path), subdirectory) if name.startswith("file:") else cwd / name
    return tags.get("mlflow.source.type", ""), path.resolve()


def _belongs(run: Run, project_dir: Path, *, cwd: Path) -> bool:
    """Tell whether a run is the project's: of the project itself, or of a script below its directory."""
    source = _find_source(run.data.tags, cwd=cwd)
    if source is None:
        return False
    kind, path = source
    return path == project_dir if kind == "PROJECT" else path.is_relative_to(project_dir)


def _read_used(store: Store, run_id: str) -> frozenset[str]:
    text = find_text(store, run_id, FILE_NAME)
    snapshot: Snapshot | None = parse_snapshot(text, where=f"{FILE_NAME} of run {run_id}") if text else None
    return frozenset(each.name for each in snapshot.distributions if each.used) if snapshot else frozenset()


def _list_observed(store: Store) -> Iterator[Run]:
    """Yield the runs with marks, the newest first."""
    experiments = store.search_experiments(ExperimentQuery(max_results=MAX_RESULTS))
    query = RunQuery(
        experiment_ids=tuple(each.experiment_id for each in experiments), filter=f"tags.`{_USED}` IS NOT NULL"
    )
    yield from store.search_runs(query)


def get_observed_run(store: Store, run_id: str) -> ObservedRun:
    """Return what a run has used. Raises TrackingError for one that does not exist, NotObservedError."""
    run_id = store.get_run(run_id).info.run_id
    used = _read_used(store, run_id)
    if not used:
        raise NotObservedError(f"the run `{run_id}` marks no distribution as used", hint=_HINT)
    return ObservedRun(run_id=run_id, used=used)


def get_newest_observed_run(store: Store, project_dir: Path, *, cwd: Path) -> ObservedRun:
    """Return what the newest run of a project that has marks has used. Raises NotObservedError."""
    for run in _list_observed(store):
        if _belongs(run, project_dir.resolve(), cwd=cwd):
            try:
                return get_observed_run(store, run.info.run_id)
            except ReproError:
                continue
    raise NotObservedError(f"no run of `{project_dir}` in `{store.uri}` says what it used", hint=_HINT)


def find_ring(run_id: str, *, project_dir: Path, environ: Mapping[str, str]) -> frozenset[str]:
    """Return the names of what a run has used, by default the newest observed run of a project.

    Raises UsageError for what is no run's id, TrackingError and NotObservedError.
    """
    if run_id and not re.fullmatch(r"[0-9a-f]{32}", run_id):
        raise UsageError(
            f"`{run_id}` is no run's id (32 hexadecimal digits)", hint="the project's directory stands before `--used`"
        )
    store = open_store(settings.find_tracking_uri(environ), cwd=Path.cwd())
    if run_id:
        return get_observed_run(store, run_id).used
    return get_newest_observed_run(store, project_dir, cwd=Path.cwd()).used
