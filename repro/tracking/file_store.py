"""Runs as plain files, in MLflow's FileStore layout.

<root>/<experiment id>/meta.yaml
<root>/<experiment id>/<run id>/meta.yaml     written last: the run exists
                               params/<key>   the value as text
                               tags/<key>     the value as text
                               metrics/<key>  a line `<ms> <value> <step>` for each point, appended
                               artifacts/
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from repro.errors import TrackingError
from repro.files import write_atomically
from repro.formats.run_meta import (
    ExperimentInfo,
    MetricPoint,
    RunInfo,
    RunStatus,
    check_key,
    format_experiment_meta,
    format_metric_line,
    format_run_meta,
    parse_experiment_meta,
    parse_metric_line,
    parse_run_meta,
)

DEFAULT_EXPERIMENT = "0"
_META = "meta.yaml"
_HALF_WRITTEN = re.compile(r"\.[0-9a-f]{8}\.tmp")  # see repro.files.write_atomically


def _read_keys(directory: Path) -> Iterator[tuple[str, Path]]:
    """Yield each key of a directory with its file; a key with `/` lies in directories."""
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not _HALF_WRITTEN.fullmatch(path.name):
            yield path.relative_to(directory).as_posix(), path


def _read_text(path: Path) -> str:
    """Return a value as it was written, line ends included."""
    return path.read_bytes().decode()


@contextmanager
def _explaining(kind: str, key: str) -> Iterator[None]:
    """Turn what the file system refuses into a TrackingError, e.g. `a` and then `a/b`."""
    try:
        yield
    except OSError as error:
        raise TrackingError(f"the {kind} `{key}` cannot be written ({error.strerror})") from error


class FileStore:
    """The runs below one directory; every deed raises TrackingError for what does not exist or may not be."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    @property
    def uri(self) -> str:
        """The store's tracking URI."""
        return self.root.as_uri()

    def _make_experiment(self, experiment_id: str, name: str) -> None:
        directory = self.root / experiment_id
        directory.mkdir(parents=True, exist_ok=True)
        info = ExperimentInfo(
            experiment_id=experiment_id,
            name=name,
            artifact_location=directory.as_uri(),
            creation_time_ms=time.time_ns() // 1_000_000,
        )
        write_atomically(directory / _META, format_experiment_meta(info))

    def create_experiment(self, name: str) -> str:
        """Make an experiment and return its id."""
        self._require_experiment(DEFAULT_EXPERIMENT)
        if self.find_experiment(name):
            raise TrackingError(f"there is an experiment `{name}` already")
        experiment_id = str(100_000_000_000_000_000 + int.from_bytes(os.urandom(7), "big") % 800_000_000_000_000_000)
        self._make_experiment(experiment_id, name)
        return experiment_id

    def find_experiment(self, name: str) -> ExperimentInfo | None:
        """Return the experiment of that name."""
        for path in self.root.glob(f"*/{_META}"):
            info = parse_experiment_meta(path.read_text(encoding="utf-8"), where=str(path))
            if info.name == name:
                return info
        return None

    def _require_experiment(self, experiment_id: str) -> Path:
        directory = self.root / experiment_id
        if not (directory / _META).exists():
            if experiment_id != DEFAULT_EXPERIMENT:
                raise TrackingError(f"there is no experiment `{experiment_id}` in `{self.root}`")
            self._make_experiment(DEFAULT_EXPERIMENT, "Default")
        return directory

    def create_run(
        self, *, experiment_id: str, run_name: str | None, user: str, start_time_ms: int, tags: Mapping[str, str]
    ) -> RunInfo:
        """Make a run that is RUNNING; without a name it gets one of its id."""
        run_id = os.urandom(16).hex()
        name = run_name or f"run-{run_id[:8]}"
        directory = self._require_experiment(experiment_id) / run_id
        for part in ("params", "metrics", "tags", "artifacts"):
            (directory / part).mkdir(parents=True)
        info = RunInfo(
            run_id=run_id,
            experiment_id=experiment_id,
            run_name=name,
            user_id=user,
            status=RunStatus.RUNNING,
            start_time_ms=start_time_ms,
            end_time_ms=None,
            artifact_uri=(directory / "artifacts").as_uri(),
        )
        for key, value in {"mlflow.runName": name, "mlflow.user": user, **tags}.items():
            self._write(directory / "tags", "tag", key, value)
        write_atomically(directory / _META, format_run_meta(info))
        return info

    def find_run_dir(self, run_id: str) -> Path:
        """Return the directory of a run."""
        if run_id.isalnum():
            for path in self.root.glob(f"*/{run_id}/{_META}"):
                return path.parent
        raise TrackingError(f"there is no run `{run_id}` in `{self.root}`", hint="MLFLOW_TRACKING_URI names the store")

    def get_run(self, run_id: str) -> RunInfo:
        """Return what a run's meta.yaml says."""
        path = self.find_run_dir(run_id) / _META
        return parse_run_meta(path.read_text(encoding="utf-8"), where=str(path))

    def list_runs(self, experiment_id: str) -> list[RunInfo]:
        """Return the runs of an experiment, the newest first."""
        runs = [self.get_run(path.parent.name) for path in (self.root / experiment_id).glob(f"*/{_META}")]
        return sorted(runs, key=lambda run: run.start_time_ms, reverse=True)

    def _write(self, directory: Path, kind: str, key: str, value: str) -> None:
        check_key(kind, key)
        path = directory / key
        with _explaining(kind, key):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, value, durable=False)

    def log_param(self, run_id: str, key: str, value: str) -> None:
        """Keep a parameter; the same value again is fine, another is refused."""
        directory = self.find_run_dir(run_id) / "params"
        check_key("parameter", key)
        path = directory / key
        if path.is_file():
            if (before := _read_text(path)) != value:
                raise TrackingError(
                    f"the parameter `{key}` of run `{run_id}` is `{before}` and cannot become `{value}`"
                )
            return
        self._write(directory, "parameter", key, value)

    def log_metric(self, run_id: str, key: str, point: MetricPoint) -> None:
        """Append a point to a metric: one write, so that points of several processes do not mix."""
        check_key("metric", key)
        path = self.find_run_dir(run_id) / "metrics" / key
        with _explaining("metric", key):
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, format_metric_line(point).encode())
        finally:
            os.close(descriptor)

    def set_tag(self, run_id: str, key: str, value: str) -> None:
        """Set a tag, replacing its value."""
        self._write(self.find_run_dir(run_id) / "tags", "tag", key, value)

    def _artifact_place(self, run_id: str, artifact_path: str | None) -> Path:
        root = self.find_run_dir(run_id) / "artifacts"
        place = (root / (artifact_path or "")).resolve()
        if not place.is_relative_to(root.resolve()):
            raise TrackingError(f"the artifact path `{artifact_path}` leads out of the run")
        return place

    def log_artifact(self, run_id: str, local_path: str | os.PathLike[str], artifact_path: str | None = None) -> None:
        """Copy a file, or a directory with its content, into the run's artifacts, below `artifact_path`."""
        source = Path(local_path).resolve()
        place = self._artifact_place(run_id, artifact_path)
        if not source.exists():
            raise TrackingError(f"there is no file `{local_path}` to keep")
        if place.is_relative_to(source):
            raise TrackingError(f"`{source}` cannot be kept: it holds the run itself")
        place.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, place / source.name, dirs_exist_ok=True)
        else:
            shutil.copyfile(source, place / source.name)

    def log_text(self, run_id: str, text: str, artifact_file: str) -> None:
        """Keep a text as an artifact."""
        place = self._artifact_place(run_id, artifact_file)
        with _explaining("artifact", artifact_file):
            place.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(place, text)

    def read_artifact(self, run_id: str, artifact_file: str) -> str | None:
        """Return the text of an artifact, None where there is none that can be read."""
        try:
            return _read_text(self._artifact_place(run_id, artifact_file))
        except (OSError, UnicodeDecodeError):
            return None

    def find_tagged(self, key: str) -> list[RunInfo]:
        """Return the runs of all experiments that have a tag and are not deleted, the newest first."""
        check_key("tag", key)
        paths = self.root.glob(f"*/*/tags/{key}")
        runs = [self.get_run(path.parents[1].name) for path in paths if (path.parents[1] / _META).exists()]
        active = [run for run in runs if run.lifecycle_stage == "active"]
        return sorted(active, key=lambda run: run.start_time_ms, reverse=True)

    def set_status(self, run_id: str, status: RunStatus, *, end_time_ms: int | None = None) -> None:
        """Set a run's status; a time ends it."""
        info = replace(self.get_run(run_id), status=status, end_time_ms=end_time_ms)
        write_atomically(self.find_run_dir(run_id) / _META, format_run_meta(info))

    def read_params(self, run_id: str) -> dict[str, str]:
        """Return the parameters."""
        return {key: _read_text(path) for key, path in _read_keys(self.find_run_dir(run_id) / "params")}

    def read_tags(self, run_id: str) -> dict[str, str]:
        """Return the tags."""
        return {key: _read_text(path) for key, path in _read_keys(self.find_run_dir(run_id) / "tags")}

    def read_metrics(self, run_id: str) -> dict[str, float]:
        """Return the latest value of each metric: that of the highest step, then time, then value."""
        latest = {}
        for key, path in _read_keys(self.find_run_dir(run_id) / "metrics"):
            points = [parse_metric_line(line) for line in path.read_text().splitlines() if line.strip()]
            if points:
                latest[key] = max(points, key=lambda point: point.order).value
        return latest

    def list_artifacts(self, run_id: str) -> list[str]:
        """Return the files among a run's artifacts, by their paths in it."""
        return [name for name, _ in _read_keys(self.find_run_dir(run_id) / "artifacts")]


def open_store(uri: str | None, *, cwd: Path) -> FileStore:
    """Return the store of a tracking URI: a path, a `file:` URI, or without one `mlruns` in `cwd`.

    Raises TrackingError for what is no directory.
    """
    if not uri:
        return FileStore(cwd / "mlruns")
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return FileStore(Path(unquote(parts.path)))
    if parts.scheme:
        raise TrackingError(
            f"the tracking URI `{parts.scheme}:...` is not supported by this version of repro",
            hint="use a directory: MLFLOW_TRACKING_URI=./mlruns",
        )
    return FileStore(cwd / Path(uri).expanduser())
