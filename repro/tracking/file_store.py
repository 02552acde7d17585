"""Runs as plain files, in MLflow's FileStore layout.

<root>/<experiment id>/meta.yaml
                       tags/<key>             the value as text
                       datasets/<id>/         see dataset_files
                       <run id>/meta.yaml     written last: the run exists
                                params/ tags/ metrics/    see run_files
                                inputs/       see dataset_files
                                artifacts/
       .trash/<experiment id>/                a deleted experiment

A run's `meta.yaml` is changed under a lock of the run's directory, so that its runner and its script may both do so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from repro.errors import ReproError, TrackingError, TrackingExistsError, TrackingNotFoundError
from repro.files import hold_directory, write_atomically
from repro.formats.direct_url import clean_url
from repro.formats.run_meta import (
    HALF_WRITTEN,
    Experiment,
    MetricPoint,
    RunInfo,
    RunStatus,
    check_key,
    edit_experiment_meta,
    edit_run_meta,
    format_experiment_meta,
    format_run_meta,
    parse_experiment_meta,
    parse_run_meta,
)
from repro.tracking.artifact_files import ArtifactFiles
from repro.tracking.clock import now_ms
from repro.tracking.dataset_files import keep_dataset, read_datasets
from repro.tracking.entities import (
    RUN_NAME,
    USER,
    Artifact,
    Batch,
    Dataset,
    ExperimentQuery,
    NewRun,
    Page,
    Run,
    RunData,
    RunQuery,
)
from repro.tracking.run_files import (
    MetricFiles,
    explaining,
    find_value,
    keep_first_value,
    read_latest,
    read_points,
    read_text,
    read_values,
    remove_value,
    write_first_values,
    write_value,
)
from repro.tracking.store import DEFAULT_EXPERIMENT, find_directory
from repro.values import replace

META = "meta.yaml"
TRASH = ".trash"
NO_EXPERIMENTS = frozenset({TRASH, "models"})  # what the root holds beside experiments
NO_RUNS = frozenset({"tags", "datasets", "traces", "models"})  # what an experiment holds beside runs
_METRIC_FILES = MetricFiles()


def _new_experiment_id() -> str:
    """Return 18 digits, as MLflow has them."""
    return str(10**17 + int.from_bytes(os.urandom(8), "big") % (9 * 10**17))


@contextmanager
def _reading(kind: str, name: str) -> Iterator[None]:
    """Turn what the file system refuses into a TrackingError: what went away, or is no file."""
    try:
        yield
    except FileNotFoundError as error:
        raise TrackingNotFoundError(f"the {kind} `{name}` is gone") from error
    except OSError as error:
        raise TrackingError(f"the {kind} `{name}` cannot be read (`{error.filename}`: {error.strerror})") from error


def _make_deleted_error(run_id: str) -> TrackingError:
    return TrackingError(f"the run `{run_id}` is deleted", hint=f"repro runs restore {run_id}")


def _lies_with(run_dir: Path, uri: str) -> bool:
    """Tell at a glance of most artifacts that they lie with their run: what says no has to be looked into."""
    is_plain = uri.startswith("file:///") and "?" not in uri and "#" not in uri
    return is_plain and uri.endswith(f"/{run_dir.parent.name}/{run_dir.name}/artifacts")


class FileStore:
    """The runs below one directory; see `repro.tracking.store.Store`."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._run_dirs: dict[str, str] = {}
        self._artifact_uris: dict[str, str] = {}  # which never change

    @property
    def uri(self) -> str:
        """The store's tracking URI."""
        return self.root.as_uri()

    # experiments

    def list_experiment_dirs(self, *, deleted: bool = False) -> list[Path]:
        """Return the directories of the experiments that are there, or in the trash; what cannot be read is none."""
        base = self.root / TRASH if deleted else self.root
        return [base / name for name in sorted(self._list_names(base)) if os.path.isfile(base / name / META)]

    def _list_names(self, base: Path) -> list[str]:
        """Return what may be experiments in the root or the trash. Raises TrackingError."""
        try:
            return [entry.name for entry in os.scandir(base) if entry.name not in NO_EXPERIMENTS]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise TrackingError(f"the store `{base}` cannot be read ({error.strerror})") from error

    def _look_for_experiment_dir(self, experiment_id: str) -> Path | None:
        """Return an experiment's directory, also in the trash."""
        if experiment_id not in (*NO_EXPERIMENTS, "", ".", "..") and "/" not in experiment_id:
            for directory in (self.root / experiment_id, self.root / TRASH / experiment_id):
                if os.path.isfile(directory / META):
                    return directory
        return None

    def _find_experiment_dir(self, experiment_id: str) -> Path:
        """Return an experiment's directory, also in the trash; the default one is made when it is wanted."""
        if directory := self._look_for_experiment_dir(experiment_id):
            return directory
        if experiment_id == DEFAULT_EXPERIMENT:
            return self._make_experiment(DEFAULT_EXPERIMENT, "Default", None)
        raise TrackingNotFoundError(f"there is no experiment `{experiment_id}` in `{self.root}`")

    def _get_active_experiment_dir(self, experiment_id: str) -> Path:
        directory = self._find_experiment_dir(experiment_id)
        if directory.parent.name == TRASH:
            raise TrackingNotFoundError(
                f"the experiment `{experiment_id}` is deleted", hint=f"repro experiments restore {experiment_id}"
            )
        return directory

    def _locate(self, uri: str) -> str:
        """Return where artifacts go; a path is one of now, whatever the working directory is later."""
        place = None if ":" in uri else find_directory(uri, cwd=Path.cwd())
        return os.path.abspath(place) if place else uri

    def _make_experiment(self, experiment_id: str, name: str, artifact_location: str | None) -> Path:
        directory = self.root / experiment_id
        with explaining("experiment", name):
            directory.mkdir(parents=True, exist_ok=True)
            created_ms = now_ms()
            experiment = Experiment(
                experiment_id=experiment_id,
                name=name,
                artifact_location=self._locate(artifact_location) if artifact_location else directory.as_uri(),
                creation_time_ms=created_ms,
                last_update_time_ms=created_ms,
            )
            write_atomically(directory / META, format_experiment_meta(experiment))
        return directory

    def _read_experiment(self, directory: Path) -> Experiment:
        path = f"{directory}/{META}"
        stage = "deleted" if directory.parent.name == TRASH else "active"
        with _reading("experiment", directory.name):
            experiment = parse_experiment_meta(read_text(path), where=path)
            return replace(experiment, lifecycle_stage=stage, tags=read_values(f"{directory}/tags"))

    def _write_experiment(self, directory: Path, experiment: Experiment) -> None:
        path = f"{directory}/{META}"
        with explaining("experiment", directory.name):
            changed = replace(experiment, last_update_time_ms=now_ms())
            write_atomically(path, edit_experiment_meta(read_text(path), changed))

    def create_experiment(
        self, name: str, *, artifact_location: str | None = None, tags: dict[str, str] | None = None
    ) -> str:
        """Make an experiment and return its id."""
        if not name.strip():
            raise TrackingError("an experiment needs a name")
        for key in tags or {}:
            check_key("tag", key)
        self._find_experiment_dir(DEFAULT_EXPERIMENT)
        with hold_directory(self.root):
            if there := self.find_experiment(name):
                is_deleted = there.lifecycle_stage == "deleted"
                raise TrackingExistsError(
                    f"there is an experiment `{name}` already" + (", deleted" if is_deleted else ""),
                    hint=f"repro experiments restore {there.experiment_id}" if is_deleted else None,
                )
            experiment_id = _new_experiment_id()
            directory = self._make_experiment(experiment_id, name, artifact_location)
        for key, value in (tags or {}).items():
            write_value(str(directory / "tags"), "tag", key, value)
        return experiment_id

    def get_experiment(self, experiment_id: str) -> Experiment:
        """Return an experiment, also a deleted one."""
        return self._read_experiment(self._find_experiment_dir(experiment_id))

    def find_experiment(self, name: str) -> Experiment | None:
        """Return the experiment of a name, also a deleted one."""
        if name == "Default":
            self._find_experiment_dir(DEFAULT_EXPERIMENT)
        for directory in (*self.list_experiment_dirs(), *self.list_experiment_dirs(deleted=True)):
            try:
                experiment = self._read_experiment(directory)
            except ReproError:
                continue  # a damaged neighbour, or one that goes away, hides no other
            if experiment.name == name:
                return experiment
        return None

    def rename_experiment(self, experiment_id: str, name: str) -> None:
        """Give an active experiment another name."""
        directory = self._get_active_experiment_dir(experiment_id)
        if not name.strip():
            raise TrackingError("an experiment needs a name")
        with hold_directory(self.root):
            there = self.find_experiment(name)
            if there and there.experiment_id != experiment_id:
                raise TrackingExistsError(f"there is an experiment `{name}` already")
            self._write_experiment(directory, replace(self._read_experiment(directory), name=name))

    def _move_experiment(self, directory: Path, target: Path, stage: str) -> None:
        """Move an experiment into or out of the trash, and mark it and its runs."""
        with explaining("experiment", directory.name):
            target.mkdir(exist_ok=True)
            os.rename(directory, target / directory.name)
        self._run_dirs.clear()
        moved = target / directory.name
        self._write_experiment(moved, replace(self._read_experiment(moved), lifecycle_stage=stage))
        for run_dir in self.list_run_dirs(moved):
            with suppress(ReproError):  # a damaged run keeps no other from its mark
                self._mark(run_dir, stage)

    def delete_experiment(self, experiment_id: str) -> None:
        """Mark an active experiment and its runs as deleted."""
        if experiment_id == DEFAULT_EXPERIMENT:
            raise TrackingError("the default experiment cannot be deleted")
        self._move_experiment(self._get_active_experiment_dir(experiment_id), self.root / TRASH, "deleted")

    def restore_experiment(self, experiment_id: str) -> None:
        """Make a deleted experiment active again, with its runs."""
        directory = self._find_experiment_dir(experiment_id)
        if directory.parent.name != TRASH:
            raise TrackingNotFoundError(f"the experiment `{experiment_id}` is not deleted")
        self._move_experiment(directory, self.root, "active")

    def set_experiment_tag(self, experiment_id: str, key: str, value: str) -> None:
        """Set a tag of an experiment."""
        write_value(str(self._get_active_experiment_dir(experiment_id) / "tags"), "tag", key, value)

    def delete_experiment_tag(self, experiment_id: str, key: str) -> None:
        """Remove a tag of an experiment."""
        if not remove_value(str(self._get_active_experiment_dir(experiment_id) / "tags"), "tag", key):
            raise TrackingNotFoundError(f"the experiment `{experiment_id}` has no tag `{key}`")

    def search_experiments(self, query: ExperimentQuery) -> Page[Experiment]:
        """Return experiments, the newest first where the query has no order."""
        from repro.tracking.search.find import find_experiments

        found = []
        for directory in (*self.list_experiment_dirs(), *self.list_experiment_dirs(deleted=True)):
            with suppress(ReproError):  # a damaged neighbour, or one that goes away, hides no other
                found.append(self._read_experiment(directory))
        return find_experiments(found, query)

    # runs

    def list_run_dirs(self, experiment_dir: Path) -> list[Path]:
        """Return the directories of an experiment's runs."""
        return [path.parent for path in experiment_dir.glob(f"*/{META}") if path.parent.name not in NO_RUNS]

    def create_run(self, new: NewRun) -> Run:
        """Make a run that is RUNNING."""
        directory = self._get_active_experiment_dir(new.experiment_id or DEFAULT_EXPERIMENT)
        run_id = os.urandom(16).hex()
        tagged = new.tags.get(RUN_NAME)
        if new.run_name and tagged and new.run_name != tagged:
            raise TrackingError(f"the run is named `{new.run_name}`, and `{tagged}` by its tag `{RUN_NAME}`")
        name = new.run_name or tagged or f"run-{run_id[:8]}"
        tags = {RUN_NAME: name, **({USER: new.user_id} if new.user_id else {}), **new.tags}
        for key in tags:
            check_key("tag", key)
        run_dir = f"{directory}/{run_id}"
        location = self._read_experiment_location(directory)
        info = RunInfo(
            run_id=run_id,
            experiment_id=directory.name,
            run_name=name,
            user_id=new.user_id,
            status=RunStatus.RUNNING,
            start_time_ms=new.start_time_ms,
            end_time_ms=None,
            artifact_uri=f"{location.rstrip('/')}/{run_id}/artifacts",
        )
        with explaining("run", name):
            os.mkdir(run_dir)
            for part in ("params", "metrics", "tags", "artifacts"):
                os.mkdir(f"{run_dir}/{part}")
            write_first_values(f"{run_dir}/tags", "tag", tags)
            write_atomically(f"{run_dir}/{META}", format_run_meta(info), durable=False)
        self._run_dirs[run_id] = run_dir
        self._artifact_uris[run_id] = info.artifact_uri
        return Run(info=info, data=RunData(tags=tags))

    def _read_experiment_location(self, directory: Path) -> str:
        """Return where an experiment keeps artifacts; of one that lies where it was made, below itself."""
        path = f"{directory}/{META}"
        with _reading("experiment", directory.name):
            return parse_experiment_meta(read_text(path), where=path).artifact_location

    def find_run_dir(self, run_id: str) -> Path:
        """Return the directory of a run, also of a deleted one."""
        known = self._run_dirs.get(run_id)
        if known and os.path.isfile(f"{known}/{META}"):
            return Path(known)
        if run_id.isalnum() and run_id.isascii() and run_id not in NO_RUNS:
            for directory in self._iterate_experiment_names():
                if os.path.isfile(f"{directory}/{run_id}/{META}"):
                    self._run_dirs[run_id] = f"{directory}/{run_id}"
                    return Path(f"{directory}/{run_id}")
        raise TrackingNotFoundError(
            f"there is no run `{run_id}` in `{self.root}`", hint="MLFLOW_TRACKING_URI names the store"
        )

    def remove_half_written(self, run_id: str) -> None:
        """Remove what a process that was killed had not put into its place yet."""
        run_dir = self.find_run_dir(run_id)
        with explaining("run", run_id):
            for path in run_dir.rglob(".*.tmp"):
                if HALF_WRITTEN.fullmatch(path.name):
                    path.unlink(missing_ok=True)

    def find_run_ids(self, beginning: str) -> list[str]:
        """Return the ids, sorted, of the runs that begin so, also of deleted ones."""
        found = (
            name
            for directory in self._iterate_experiment_names()
            for name in self._list_names(Path(directory))
            if name.startswith(beginning) and name not in NO_RUNS and os.path.isfile(f"{directory}/{name}/{META}")
        )
        return sorted(found)

    def _iterate_experiment_names(self) -> Iterator[str]:
        for base in (self.root, self.root / TRASH):
            yield from (f"{base}/{name}" for name in self._list_names(base))

    def get_info(self, run_id: str) -> RunInfo:
        """Return what a run's meta.yaml says."""
        return self._read_info(self.find_run_dir(run_id))

    def _read_info(self, run_dir: Path) -> RunInfo:
        path = f"{run_dir}/{META}"
        with _reading("run", run_dir.name):
            return parse_run_meta(read_text(path), where=path)

    def read_run(self, run_dir: Path) -> Run:
        """Return the run of a directory. Raises TrackingError."""
        info = self._read_info(run_dir)
        with _reading("run", run_dir.name):
            tags = read_values(f"{run_dir}/tags")
            data = RunData(points=read_latest(f"{run_dir}/metrics"), params=read_values(f"{run_dir}/params"), tags=tags)
        if not info.run_name and RUN_NAME in tags:
            info = replace(info, run_name=tags[RUN_NAME])
        return Run(info=info, data=data, datasets=read_datasets(run_dir))

    def get_run(self, run_id: str) -> Run:
        """Return a run, also a deleted one."""
        return self.read_run(self.find_run_dir(run_id))

    def _mark(self, run_dir: Path, stage: str) -> None:
        """Mark a run as `deleted`, from now on, or as `active`; whoever has its metrics open asks again."""
        _METRIC_FILES.close(str(run_dir))
        self._change(run_dir, lifecycle_stage=stage)

    def _change(self, run_dir: Path, *, only_active: bool = False, **changes: object) -> RunInfo:
        """Change what a run's meta.yaml says; fields that we do not know stay."""
        path = f"{run_dir}/{META}"
        with explaining("run", run_dir.name), hold_directory(run_dir):
            text = read_text(path)
            before = parse_run_meta(text, where=path)
            if only_active and before.lifecycle_stage != "active":
                raise _make_deleted_error(run_dir.name)
            info = replace(before, **changes)  # type: ignore[arg-type]
            write_atomically(path, edit_run_meta(text, info, now_ms=now_ms()), durable=False)
        return info

    def _get_active_run_dir(self, run_id: str) -> Path:
        run_dir = self.find_run_dir(run_id)
        if self._read_info(run_dir).lifecycle_stage != "active":
            raise _make_deleted_error(run_id)
        return run_dir

    def update_run(
        self, run_id: str, *, status: RunStatus | None = None, end_time_ms: int | None = None, name: str | None = None
    ) -> RunInfo:
        """Change what is given; a run whose status is not final has no end time."""
        run_dir = self._get_active_run_dir(run_id) if name else self.find_run_dir(run_id)
        changes: dict[str, object] = {}
        if status is not None:
            changes = {"status": status, "end_time_ms": end_time_ms if status.is_final else None}
        elif end_time_ms is not None:
            changes = {"end_time_ms": end_time_ms}
        if name:
            write_value(f"{run_dir}/tags", "tag", RUN_NAME, name)
            changes["run_name"] = name
        if status is not None and status.is_final:
            _METRIC_FILES.close(str(run_dir))
        return self._change(run_dir, only_active=True, **changes)

    def delete_run(self, run_id: str) -> None:
        """Mark a run as deleted."""
        self._mark(self._get_active_run_dir(run_id), "deleted")

    def restore_run(self, run_id: str) -> None:
        """Make a deleted run active again."""
        run_dir = self.find_run_dir(run_id)
        self._get_active_experiment_dir(self._read_info(run_dir).experiment_id)
        self._mark(run_dir, "active")

    def search_runs(self, query: RunQuery) -> Page[Run]:
        """Return runs, the newest first where the query has no order; an experiment that does not exist has none."""
        from repro.tracking.index.search import search_runs

        dirs = [self._look_for_experiment_dir(experiment_id) for experiment_id in query.experiment_ids]
        return search_runs(self.root, [str(each.relative_to(self.root)) for each in dirs if each], query)

    # what is logged

    def log_batch(self, run_id: str, batch: Batch) -> None:
        """Log to an active run; nothing of a batch with an impossible key or parameter is kept."""
        run_dir = str(self._get_active_run_dir(run_id))
        for kind, keys in (
            ("metric", [each.key for each in batch.metrics]), ("parameter", batch.params), ("tag", batch.tags)
        ):  # fmt: skip
            for key in keys:
                check_key(kind, key)
        for key, value in batch.params.items():
            self._refuse_other_value(run_id, key, value, find_value(f"{run_dir}/params", key))
        for key, value in batch.params.items():
            self._refuse_other_value(run_id, key, value, keep_first_value(f"{run_dir}/params", "parameter", key, value))
        for metric in batch.metrics:
            _METRIC_FILES.append(run_dir, metric.key, metric.point)
        for key, value in batch.tags.items():
            self._set_tag(run_dir, key, value)

    def _refuse_other_value(self, run_id: str, key: str, value: str, before: str | None) -> None:
        if before not in (None, value):
            raise TrackingError(f"the parameter `{key}` of run `{run_id}` is `{before}` and cannot become `{value}`")

    def log_metric(self, run_id: str, key: str, point: MetricPoint) -> None:
        """Append a point to a metric: one write, so that points of several processes do not mix."""
        if not _METRIC_FILES.append_to_open(self._run_dirs.get(run_id), key, point):
            _METRIC_FILES.append(str(self._get_active_run_dir(run_id)), key, point)

    def _set_tag(self, run_dir: str, key: str, value: str) -> None:
        write_value(f"{run_dir}/tags", "tag", key, value)
        if key == RUN_NAME:
            self._change(Path(run_dir), run_name=value)

    def set_tag(self, run_id: str, key: str, value: str) -> None:
        """Set a tag, replacing its value; that of the name renames the run."""
        self._set_tag(str(self._get_active_run_dir(run_id)), key, value)

    def delete_tag(self, run_id: str, key: str) -> None:
        """Remove a tag."""
        if not remove_value(f"{self._get_active_run_dir(run_id)}/tags", "tag", key):
            raise TrackingNotFoundError(f"the run `{run_id}` has no tag `{key}`")

    def get_metric_history(self, run_id: str, key: str) -> list[MetricPoint]:
        """Return every point of a metric, in the order they were logged."""
        check_key("metric", key)
        try:
            return read_points(f"{self.find_run_dir(run_id)}/metrics/{key}")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return []

    def log_datasets(self, run_id: str, datasets: tuple[Dataset, ...]) -> None:
        """Keep which datasets a run has read."""
        run_dir = self._get_active_run_dir(run_id)
        for dataset in datasets:
            keep_dataset(run_dir, dataset)

    # artifacts

    def open_artifacts(self, run_id: str) -> ArtifactFiles:
        """Return the artifacts of a run, where its store has them: with the run, wherever the directory was moved.

        Raises TrackingError for artifacts that are kept elsewhere, which is not a directory.
        """
        run_dir = self.find_run_dir(run_id)
        uri = self._artifact_uris.get(run_id)
        if uri is None:
            uri = self._artifact_uris[run_id] = self._read_info(run_dir).artifact_uri
        if uri.startswith("mlflow-artifacts:") or _lies_with(run_dir, uri):
            return ArtifactFiles(run_dir / "artifacts")
        place = find_directory(uri, cwd=Path.cwd())
        if place is None:
            raise TrackingError(f"the artifacts of run `{run_id}` are kept elsewhere: `{clean_url(uri)}`")
        is_own = place.parts[-3:] == (run_dir.parent.name, run_id, "artifacts")
        return ArtifactFiles(run_dir / "artifacts" if is_own else place)

    def list_artifacts(self, run_id: str, path: str = "") -> list[Artifact]:
        """Return what lies directly in a directory of a run's artifacts."""
        return self.open_artifacts(run_id).list_directory(path)

    def log_artifact(self, run_id: str, local_path: Path, artifact_dir: str = "") -> None:
        """Keep a file, or a directory with its content, below a directory of the run's artifacts."""
        self.open_artifacts(run_id).put(local_path, artifact_dir)

    def write_artifact(self, run_id: str, path: str, content: bytes) -> None:
        """Keep bytes as an artifact."""
        self.open_artifacts(run_id).write(path, content)

    def read_artifact(self, run_id: str, path: str) -> bytes:
        """Return the bytes of an artifact."""
        return self.open_artifacts(run_id).read(path)

    def download_artifacts(self, run_id: str, path: str, target_dir: Path) -> Path:
        """Copy a file or directory of the artifacts below a directory, and return where it is."""
        return self.open_artifacts(run_id).copy_to(path, target_dir)

    def flush(self) -> None:
        """Do nothing: what was logged is in its files."""
