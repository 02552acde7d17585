"""The models that runs have logged, in the layout of MLflow 3's FileStore.

<experiment>/models/<model id>/meta.yaml
                               params/<key> tags/<key>     the value as text
                               metrics/<key>               a line `<ms> <value> <step> <run id>` for each point
                               artifacts/                  the model's files

A deleted model stays, with `lifecycle_stage: deleted`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from repro.errors import ReproError, TrackingError, TrackingNotFoundError
from repro.files import hold_directory, write_atomically
from repro.formats.direct_url import clean_url
from repro.formats.model_meta import (
    LoggedModel,
    ModelMetric,
    ModelStatus,
    format_logged_model_meta,
    format_model_metric_line,
    parse_logged_model_meta,
    parse_model_metric_line,
)
from repro.formats.run_meta import check_key
from repro.tracking.artifact_files import ArtifactFiles
from repro.tracking.clock import now_ms
from repro.tracking.run_files import explaining, list_keys, read_text, read_values, remove_value, write_value
from repro.tracking.store import find_directory
from repro.values import replace

_META = "meta.yaml"
_TRASH = ".trash"
_MODEL_ID = re.compile(r"[A-Za-z0-9][\w\-]{0,63}", re.ASCII)


def _check_name(name: str) -> None:
    if not name or any(each in "/:.%\"'" or not each.isprintable() for each in name):
        raise TrackingError(f"`{name}` is no name for a logged model", hint="without `/`, `:`, `.`, `%` and quotes")


def _read_metrics(directory: str) -> tuple[ModelMetric, ...]:
    """Return the latest point of each metric and dataset: that of the highest step, then time, then value."""
    latest: dict[tuple[str, str | None, str | None], ModelMetric] = {}
    for key, path in list_keys(directory):
        for line in read_text(path).splitlines():
            metric = parse_model_metric_line(key, line)
            place = key, metric.dataset_name, metric.dataset_digest
            if place not in latest or latest[place].point.order <= metric.point.order:
                latest[place] = metric
    return tuple(latest.values())


class LoggedModels:
    """The logged models of the experiments below the root of a file store.

    Every deed raises TrackingNotFoundError for a model that there is not, TrackingError for what may not be.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def _iterate_dirs(self, experiment_id: str) -> Iterator[Path]:
        for path in sorted((self.root / experiment_id / "models").glob(f"*/{_META}")):
            yield path.parent

    def find_dir(self, model_id: str) -> Path:
        """Return the directory of a model, also of a deleted one or one of a deleted experiment."""
        if _MODEL_ID.fullmatch(model_id):
            for pattern in (f"*/models/{model_id}/{_META}", f"{_TRASH}/*/models/{model_id}/{_META}"):
                for path in self.root.glob(pattern):
                    return path.parent
        raise TrackingNotFoundError(f"Model '{model_id}' not found")

    def _read(self, directory: Path) -> LoggedModel:
        path = directory / _META
        return replace(
            parse_logged_model_meta(path.read_text(encoding="utf-8"), where=str(path)),
            tags=read_values(str(directory / "tags")),
            params=read_values(str(directory / "params")),
            metrics=_read_metrics(str(directory / "metrics")),
        )

    def _write(self, directory: Path, model: LoggedModel) -> None:
        write_atomically(directory / _META, format_logged_model_meta(model), durable=False)

    def _find_active_dir(self, model_id: str) -> Path:
        directory = self.find_dir(model_id)
        if self._read(directory).lifecycle_stage != "active":
            raise TrackingNotFoundError(f"Model '{model_id}' not found")
        return directory

    def create(
        self,
        experiment_dir: Path,
        *,
        name: str | None,
        artifact_root: str,
        source_run_id: str | None,
        model_type: str | None,
        params: dict[str, str],
        tags: dict[str, str],
    ) -> LoggedModel:
        """Make a model that is pending, in an experiment whose artifacts lie at the URI `artifact_root`."""
        model_id = f"m-{os.urandom(16).hex()}"
        name = model_id if name is None else name
        _check_name(name)
        for kind, keys in (("parameter", params), ("tag", tags)):
            for key in keys:
                check_key(kind, key)
        model = LoggedModel(
            model_id=model_id,
            experiment_id=experiment_dir.name,
            name=name,
            artifact_location=f"{artifact_root.rstrip('/')}/models/{model_id}/artifacts",
            created_ms=(now := now_ms()),
            updated_ms=now,
            source_run_id=source_run_id,
            model_type=model_type,
        )
        directory = experiment_dir / "models" / model_id
        with explaining("model", name):
            for part in ("params", "metrics", "tags"):
                os.makedirs(directory / part)
            for kind, part, values in (("parameter", "params", params), ("tag", "tags", tags)):
                for key, value in values.items():
                    write_value(str(directory / part), kind, key, value)
            self._write(directory, model)
        return replace(model, params=params, tags=tags)

    def get(self, model_id: str) -> LoggedModel:
        """Return a model that is not deleted."""
        return self._read(self._find_active_dir(model_id))

    def list_models(self, experiment_ids: tuple[str, ...]) -> list[LoggedModel]:
        """Return the models of experiments that are not deleted; a damaged one is left out."""
        found = []
        for experiment_id in experiment_ids:
            if "/" in experiment_id or experiment_id in ("", ".", ".."):
                continue
            for directory in self._iterate_dirs(experiment_id):
                with suppress(OSError, ReproError):
                    found.append(self._read(directory))
        return [each for each in found if each.lifecycle_stage == "active"]

    def _change(self, directory: Path, **changes: object) -> None:
        with explaining("model", directory.name), hold_directory(directory):
            self._write(directory, replace(self._read(directory), updated_ms=now_ms(), **changes))  # type: ignore[arg-type]

    def finalize(self, model_id: str, status: ModelStatus) -> LoggedModel:
        """Say that a model is whole, or that it failed."""
        directory = self._find_active_dir(model_id)
        self._change(directory, status=status)
        return self._read(directory)

    def delete(self, model_id: str) -> None:
        """Mark a model as deleted."""
        self._change(self._find_active_dir(model_id), lifecycle_stage="deleted")

    def set_tags(self, model_id: str, tags: dict[str, str]) -> LoggedModel:
        """Set tags."""
        directory = self._find_active_dir(model_id)
        for key, value in tags.items():
            write_value(str(directory / "tags"), "tag", key, value)
        return self._read(directory)

    def delete_tag(self, model_id: str, key: str) -> None:
        """Remove a tag."""
        if not remove_value(str(self._find_active_dir(model_id) / "tags"), "tag", key):
            raise TrackingNotFoundError(f"the model `{model_id}` has no tag `{key}`")

    def log_params(self, model_id: str, params: dict[str, str]) -> None:
        """Keep parameters."""
        directory = self._find_active_dir(model_id)
        for key, value in params.items():
            write_value(str(directory / "params"), "parameter", key, value)

    def log_metric(self, model_id: str, metric: ModelMetric) -> None:
        """Append a point of a metric to a model."""
        check_key("metric", metric.key)
        path = self._find_active_dir(model_id) / "metrics" / metric.key
        with explaining("metric", metric.key):
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                os.write(descriptor, format_model_metric_line(metric).encode())
            finally:
                os.close(descriptor)

    def open_artifacts(self, model_id: str) -> ArtifactFiles:
        """Return a model's files, where its store has them: with the model, wherever the directory was moved.

        Raises TrackingError for files that are kept elsewhere, which is not a directory.
        """
        directory = self.find_dir(model_id)
        uri = self._read(directory).artifact_location
        scheme = urlsplit(uri).scheme
        if scheme not in ("", "file", "mlflow-artifacts"):
            raise TrackingError(f"the files of model `{model_id}` are kept elsewhere: `{clean_url(uri)}`")
        own = f"{directory.parents[1].name}/models/{model_id}/artifacts"
        place = None if uri.endswith(own) or scheme == "mlflow-artifacts" else find_directory(uri, cwd=self.root)
        return ArtifactFiles(place or directory / "artifacts")
