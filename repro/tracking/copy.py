"""Copy runs from one store to another, with all they have, and only what is not there yet.

A copy carries the tag `repro.copied_from`, the id that its run was made with, whatever store that was: so a copy of a
copy is known, and one that comes back to where it was made is the run itself. A second copy adds what was added since.
"""

from __future__ import annotations

import posixpath
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from repro.errors import ServerUnavailableError, TrackingError, TrackingNotFoundError
from repro.formats.run_meta import MetricPoint
from repro.tracking.entities import (
    PARENT_RUN_ID,
    RUN_NAME,
    Artifact,
    Batch,
    ExperimentQuery,
    Metric,
    NewRun,
    Run,
    RunQuery,
    ViewType,
)
from repro.tracking.points import identify
from repro.tracking.store import Store
from repro.values import asdict, frozen, replace

COPIED_FROM = "repro.copied_from"
_LOCAL_ID = "repro.local_id"  # of the store that made the run
_BATCH = 1000
_LONGEST_PARAM = 6000  # what a server takes; a directory takes all
_LONGEST_TAG = 8000


@frozen
class CopiedRun:
    """A run and its copy: `points` and `artifacts` are what was added; `notes` say what could not be."""

    source_id: str
    run_id: str
    is_new: bool
    points: int = 0
    artifacts: int = 0
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON has it."""
        return {**asdict(self), "notes": list(self.notes)}


@frozen
class CopyResult:
    """What was copied, a parent before the runs nested in it."""

    runs: tuple[CopiedRun, ...]

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON has it."""
        return {"runs": [run.to_dict() for run in self.runs]}


def get_origin(run: Run) -> str:
    """Return the id that a run, or what it is a copy of, was made with."""
    return run.data.tags.get(COPIED_FROM) or run.run_id


def sort_parents_first(runs: Sequence[Run]) -> list[Run]:
    """Return runs so that each comes after its parent."""
    by_id = {run.run_id: run for run in runs}
    done: dict[str, Run] = {}

    def add(run: Run, above: frozenset[str]) -> None:
        parent = by_id.get(run.data.tags.get(PARENT_RUN_ID, ""))
        if parent and parent.run_id not in done and parent.run_id not in above:
            add(parent, above | {run.run_id})
        done.setdefault(run.run_id, run)

    for run in by_id.values():
        add(run, frozenset())
    return list(done.values())


def find_missing(key: str, there: Sequence[MetricPoint], here: Sequence[MetricPoint]) -> list[Metric]:
    """Return the points of `here` that are not `there`, in order."""
    left = Counter(identify(each) for each in there)
    missing = []
    for point in here:
        identity = identify(point)
        if left[identity]:
            left[identity] -= 1
        else:
            missing.append(Metric(key=key, point=point))
    return missing


def _walk_artifacts(store: Store, run_id: str, path: str = "", depth: int = 0) -> Iterator[Artifact]:
    if depth > 64:
        raise TrackingError(f"the artifacts of the run `{run_id}` have no end below `{path}`")
    for each in store.list_artifacts(run_id, path):
        if each.is_dir:
            yield from _walk_artifacts(store, run_id, each.path, depth + 1)
        else:
            yield each


def _walk_runs(store: Store, query: RunQuery) -> Iterator[Run]:
    while True:
        page = store.search_runs(query)
        yield from page
        if not page.token:
            return
        query = replace(query, page_token=page.token)


class Copier:
    """Copies from one store to another; raises TrackingError for what cannot be read or written."""

    def __init__(self, source: Store, target: Store, on_step: Callable[[str], None]) -> None:
        self._source = source
        self._target = target
        self._on_step = on_step
        self._experiments: dict[str, str] = {}
        self._copies: dict[str, str] = {}
        self._is_limited = not target.uri.startswith("file:")

    def _find_experiment(self, experiment_id: str) -> str:
        """Return the experiment of the same name, made where there is none."""
        if experiment_id not in self._experiments:
            experiment = self._source.get_experiment(experiment_id)
            found = self._target.find_experiment(experiment.name)
            if found and found.lifecycle_stage != "active":
                raise TrackingError(f"the experiment `{experiment.name}` is deleted in `{self._target.uri}`")
            self._experiments[experiment_id] = (
                found.experiment_id
                if found
                else self._target.create_experiment(experiment.name, tags=dict(experiment.tags))
            )
        return self._experiments[experiment_id]

    def _find_copy(self, origin: str, experiment_id: str) -> Run | None:
        """Return the copy of a run, or the run itself where this is the store it was made in."""
        with suppress(TrackingNotFoundError):
            return self._target.get_run(self._copies.get(origin, origin))
        query = RunQuery(
            experiment_ids=(experiment_id,), filter=f"tags.`{COPIED_FROM}` = '{origin}'", view=ViewType.ALL
        )
        found = (run for run in _walk_runs(self._target, query) if run.data.tags.get(COPIED_FROM) == origin)
        return next(found, None)

    def _map_parent(self, parent_id: str, experiment_id: str) -> str:
        """Return the id of a parent's copy; a parent that is not copied keeps its id."""
        origin = parent_id
        with suppress(TrackingNotFoundError):
            origin = get_origin(self._source.get_run(parent_id))
        found = self._find_copy(origin, experiment_id)
        return found.run_id if found else parent_id

    def _make_tags(self, run: Run, experiment_id: str) -> dict[str, str]:
        tags = {key: value for key, value in run.data.tags.items() if key not in (_LOCAL_ID, RUN_NAME)}
        if parent := tags.get(PARENT_RUN_ID):
            tags[PARENT_RUN_ID] = self._map_parent(parent, experiment_id)
        return {**tags, COPIED_FROM: get_origin(run)}

    def _fit(self, kind: str, values: Mapping[str, str], longest: int, notes: list[str]) -> dict[str, str]:
        """Cut values to what a server takes, and note it."""
        fitting = {}
        for key, value in values.items():
            fitting[key] = value[:longest] if self._is_limited else value
            if fitting[key] != value:
                notes.append(f"the {kind} `{key}` is cut from {len(value)} to {longest} characters")
        return fitting

    def copy(self, run: Run) -> CopiedRun:
        """Copy a run, or what its copy does not have yet."""
        if run.info.lifecycle_stage != "active":
            raise TrackingError(f"the run `{run.run_id}` is deleted", hint=f"repro runs restore {run.run_id}")
        notes: list[str] = []
        experiment_id = self._find_experiment(run.info.experiment_id)
        tags = self._fit("tag", self._make_tags(run, experiment_id), _LONGEST_TAG, notes)
        there = self._find_copy(tags[COPIED_FROM], experiment_id)
        if there and there.run_id == tags[COPIED_FROM]:  # it has come home
            tags = {key: value for key, value in tags.items() if key != COPIED_FROM}
        if there and there.info.lifecycle_stage != "active":
            raise TrackingError(f"the copy `{there.run_id}` of the run `{run.run_id}` is deleted")
        copy = there or self._make_copy(run, experiment_id, tags)
        self._copies[get_origin(run)] = copy.run_id
        points = self._copy_values(run, copy, tags, notes)
        artifacts = self._copy_artifacts(run, copy, notes)
        self._target.flush()
        self._end(run, self._target.get_run(copy.run_id))
        return CopiedRun(
            source_id=run.run_id, run_id=copy.run_id, is_new=there is None, points=points, artifacts=artifacts,
            notes=tuple(notes),
        )  # fmt: skip

    def _make_copy(self, run: Run, experiment_id: str, tags: dict[str, str]) -> Run:
        return self._target.create_run(
            NewRun(
                experiment_id=experiment_id,
                user_id=run.info.user_id,
                start_time_ms=run.info.start_time_ms,
                run_name=run.info.run_name or None,
                tags=tags,
            )
        )

    def _copy_values(self, run: Run, copy: Run, tags: Mapping[str, str], notes: list[str]) -> int:
        """Log what the copy does not have, and return the number of points."""
        params = self._fit("parameter", run.data.params, _LONGEST_PARAM, notes)
        new = Batch(
            params={key: value for key, value in params.items() if copy.data.params.get(key) != value},
            tags={key: value for key, value in tags.items() if copy.data.tags.get(key) != value},
        )
        if new.params or new.tags:
            self._target.log_batch(copy.run_id, new)
        if datasets := tuple(each for each in run.datasets if each not in copy.datasets):
            self._target.log_datasets(copy.run_id, datasets)
        return sum(self._copy_metric(run, copy, key) for key in run.data.points)

    def _copy_metric(self, run: Run, copy: Run, key: str) -> int:
        self._on_step(f"{run.info.run_name}: metric {key}")
        there = self._target.get_metric_history(copy.run_id, key) if key in copy.data.points else []
        missing = find_missing(key, there, self._source.get_metric_history(run.run_id, key))
        for start in range(0, len(missing), _BATCH):
            self._target.log_batch(copy.run_id, Batch(metrics=missing[start : start + _BATCH]))
        return len(missing)

    def _copy_artifacts(self, run: Run, copy: Run, notes: list[str]) -> int:
        """Copy the artifacts; of a copy that is complete, those that are new or have another size."""
        try:
            is_complete = copy.info.status.is_final and copy.info.end_time_ms == run.info.end_time_ms
            sizes = {each.path: each.size_bytes for each in _walk_artifacts(self._target, copy.run_id)}
            wanted = [
                each
                for each in _walk_artifacts(self._source, run.run_id)
                if not is_complete or each.path not in sizes or sizes[each.path] != each.size_bytes
            ]
            for each in wanted:
                self._on_step(f"{run.info.run_name}: artifact {each.path}")
                self._copy_artifact(run.run_id, copy.run_id, each.path)
        except ServerUnavailableError:
            raise
        except TrackingError as error:
            notes.append(f"artifacts are left: {error.message}")
            return 0
        return len(wanted)

    def _copy_artifact(self, source_id: str, target_id: str, path: str) -> None:
        with tempfile.TemporaryDirectory(prefix="repro-copy-") as directory:
            file = self._source.download_artifacts(source_id, path, Path(directory))
            self._target.log_artifact(target_id, file, posixpath.dirname(path))

    def _end(self, run: Run, copy: Run) -> None:
        info = run.info
        if (copy.info.status, copy.info.end_time_ms) != (info.status, info.end_time_ms):
            self._target.update_run(copy.run_id, status=info.status, end_time_ms=info.end_time_ms)


def copy_runs(
    run_ids: Sequence[str],
    *,
    source: Store,
    target: Store,
    on_run: Callable[[CopiedRun], None] = lambda run: None,
    on_step: Callable[[str], None] = lambda step: None,
) -> CopyResult:
    """Copy runs by their ids, parents first, to the experiment of the same name.

    `on_run` is told of each run that was copied, `on_step` of what is copied now, in words. Raises TrackingError for
    the first that cannot be copied; those before it are.
    """
    if source.uri == target.uri:
        raise TrackingError(f"`{source.uri}` is both where the runs are and where they shall be")
    for store in (source, target):
        store.search_experiments(ExperimentQuery(max_results=1))  # it answers, or says why not
    copier = Copier(source, target, on_step)
    done = []
    for run in sort_parents_first([source.get_run(run_id) for run_id in run_ids]):
        done.append(copier.copy(run))
        on_run(done[-1])
    return CopyResult(runs=tuple(done))
