"""Log a model: saved among the artifacts of the active run."""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from repro.errors import ModelError, TrackingError
from repro.formats.mlmodel import MLModel
from repro.formats.signature import Signature
from repro.models.save import Wish, write_model
from repro.tracking.active_run import ActiveRun, require_run
from repro.values import frozen

_HISTORY = "mlflow.log-model.history"
_MOST_CHARACTERS = 5000  # of a tag's value, on any server


@frozen
class ModelInfo:
    """A model that was logged: the URI that loads it, the run that has it, and what its MLmodel says."""

    uri: str
    run_id: str
    artifact_path: str
    model_uuid: str
    signature: Signature | None

    @property
    def model_uri(self) -> str:
        """The URI, by MLflow's name for it."""
        return self.uri


def _describe(model: MLModel) -> dict[str, object]:
    """Return what a run's history says of a model: enough for MLflow's page, short enough for a tag."""
    flavors = {
        name: {key: value for key, value in flavor.items() if isinstance(value, str | int)}
        for name, flavor in model.flavors.items()
    }
    return {
        "artifact_path": model.artifact_path,
        "flavors": flavors,
        "model_uuid": model.model_uuid,
        "run_id": model.run_id,
        "utc_time_created": model.utc_time_created,
    }


def _read_history(run: ActiveRun) -> list[object]:
    try:
        history = json.loads(run.data.tags.get(_HISTORY, "[]"))
    except ValueError:
        return []
    return history if isinstance(history, list) else []


def _keep_history(run: ActiveRun, model: MLModel) -> None:
    """Add a model to the run's history, from which the oldest go where it becomes too long for a tag."""
    history = [*_read_history(run), _describe(model)]
    while len(text := json.dumps(history)) > _MOST_CHARACTERS and len(history) > 1:
        del history[0]
    run.client.set_tag(run.run_id, _HISTORY, text)


def _check_artifact_path(path: str) -> str:
    parts = path.split("/")
    if not path or path.startswith("/") or any(part in ("", ".", "..") for part in parts):
        raise TrackingError(f"`{path}` is no place among a run's artifacts", hint="a path such as `model`")
    return path


def log_model(
    model: object,
    artifact_path: str = "model",
    *,
    flavor: str | None = None,
    signature: object = None,
    input_example: object = None,
    code_paths: Sequence[str | os.PathLike[str]] | None = None,
    dependencies: Sequence[str] | None = None,
    snapshot: bool = True,
    metadata: Mapping[str, object] | None = None,
) -> ModelInfo:
    """Save a model among the active run's artifacts, and return where; where no run is active, one is started.

    The options are those of `save_model`. Raises ModelError, UsageError and TrackingError.
    """
    run = require_run()
    wish = Wish(
        flavor=flavor,
        signature=signature,
        input_example=input_example,
        code_paths=code_paths or (),
        dependencies=dependencies,
        snapshot=snapshot,
        metadata=metadata,
    )
    place = _check_artifact_path(artifact_path)
    try:
        with tempfile.TemporaryDirectory(prefix="repro-model-") as directory:
            written = write_model(model, Path(directory), wish, run_id=run.run_id, artifact_path=place)
            run.client.log_artifacts(run.run_id, directory, place)
    except OSError as error:
        raise ModelError(f"the model cannot be logged ({error.strerror or error})") from error
    described = written.model
    _keep_history(run, described)
    for note in written.notes:
        warnings.warn(note, UserWarning, stacklevel=2)
    return ModelInfo(
        uri=f"runs:/{run.run_id}/{place}",
        run_id=run.run_id,
        artifact_path=place,
        model_uuid=described.model_uuid or "",
        signature=described.signature,
    )
