"""The logged models that a run has read and made, in the layout of MLflow 3's FileStore.

<run>/inputs/<id>/meta.yaml        which model it read; the id is MLflow's, MD5 over the model's and the run's
<run>/outputs/<model id>/meta.yaml which model it made, and at which step
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from repro.errors import ReproError, TrackingError
from repro.files import write_atomically
from repro.formats.fields import dump_mapping, load_mapping
from repro.tracking.run_files import explaining
from repro.values import frozen

_META = "meta.yaml"


@frozen
class ModelOutput:
    """A model that a run has made; `step` is the training step it stands for."""

    model_id: str
    step: int = 0


def _check_id(model_id: str) -> None:
    if not model_id.replace("-", "").replace("_", "").isalnum():
        raise TrackingError(f"`{model_id}` is no model's id")


def _write_once(directory: Path, content: dict[str, object]) -> None:
    with explaining("model", directory.name):
        if not (directory / _META).exists():
            directory.mkdir(parents=True, exist_ok=True)
            write_atomically(directory / _META, dump_mapping(content), durable=False)


def keep_model_inputs(run_dir: Path, model_ids: Iterable[str]) -> None:
    """Keep that a run has read models; once is enough. Raises TrackingError."""
    import hashlib

    for model_id in model_ids:
        _check_id(model_id)
        edge_id = hashlib.md5((model_id + run_dir.name).encode(), usedforsecurity=False).hexdigest()
        ends = {"source_type": "MODEL", "source_id": model_id, "destination_type": "RUN", "destination_id": model_id}
        _write_once(run_dir / "inputs" / edge_id, {**ends, "tags": {}})


def keep_model_outputs(run_dir: Path, outputs: Iterable[ModelOutput]) -> None:
    """Keep that a run has made models; once is enough. Raises TrackingError."""
    for output in outputs:
        _check_id(output.model_id)
        ends = {
            "source_type": "RUN_OUTPUT", "source_id": output.model_id,
            "destination_type": "MODEL_OUTPUT", "destination_id": output.model_id,
        }  # fmt: skip
        _write_once(run_dir / "outputs" / output.model_id, {**ends, "step": output.step, "tags": {}})


def _read_edges(directory: Path) -> Iterator[dict[str, object]]:
    """Yield what the files of a directory say; what is damaged is left out."""
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return
    for name in names:
        path = directory / name / _META
        with suppress(OSError, ReproError):
            yield load_mapping(path.read_text(encoding="utf-8"), where=str(path))


def read_model_inputs(run_dir: Path) -> tuple[str, ...]:
    """Return the ids of the models that a run has read."""
    edges = _read_edges(run_dir / "inputs")
    return tuple(str(edge.get("source_id")) for edge in edges if edge.get("source_type") == "MODEL")


def _as_step(value: object) -> int:
    return value if isinstance(value, int) else 0


def read_model_outputs(run_dir: Path) -> tuple[ModelOutput, ...]:
    """Return the models that a run has made."""
    edges = _read_edges(run_dir / "outputs")
    return tuple(
        ModelOutput(model_id=str(edge.get("destination_id")), step=_as_step(edge.get("step")))
        for edge in edges
        if edge.get("destination_type") == "MODEL_OUTPUT"
    )
