"""What there is to know of a model before it is loaded: how it would be loaded, what it takes, and what it needs."""

from __future__ import annotations

from repro.environments.machine import Machine
from repro.errors import ReproError
from repro.formats.signature import Column, Schema, Tensor
from repro.inside.model_loader import list_loadable
from repro.models.digests import Altered, find_altered
from repro.models.directory import ModelDirectory, read_directory
from repro.models.environment import find_drift
from repro.models.resolve import find_model
from repro.models.trust import runs_code
from repro.snapshots.drift import Drift
from repro.values import frozen


@frozen
class Overview:
    """A model, and what was found when it was looked at; nothing of it was loaded.

    `loadable` are the flavors that Python can load here, the one that would be taken first. `drift` is what keeps the
    environment that was looked at from satisfying it, None where nothing says what it needs.
    """

    directory: ModelDirectory
    loadable: tuple[str, ...]
    altered: Altered
    runs_code: bool
    drift: Drift | None
    size_bytes: int

    def to_dict(self) -> dict[str, object]:
        """Return it for `--json`."""
        model, own = self.directory.model, self.directory.model.own
        lock, loose = self.directory.lock, self.directory.loose_file
        signature = model.signature
        return {
            "name": self.directory.name,
            "path": str(self.directory.path),
            "flavors": {name: dict(flavor) for name, flavor in model.flavors.items()},
            "loadable": list(self.loadable),
            "runs_code": self.runs_code,
            "inputs": _list_fields(signature.inputs if signature else None),
            "outputs": _list_fields(signature.outputs if signature else None),
            "params": [
                {"name": each.name, "type": each.type, "default": each.default}
                for each in (signature.params if signature else None) or ()
            ],
            "lock": str(lock) if lock else None,
            "lock_digest": own.digest if own else None,
            "environment_file": str(loose) if loose else None,
            "satisfied": None if self.drift is None else not self.drift,
            "changed": list(self.altered.changed),
            "missing": list(self.altered.missing),
            "size_bytes": self.size_bytes,
            "saved": model.utc_time_created,
            "run_id": model.run_id,
            "mlflow_version": model.mlflow_version,
        }


def _list_fields(schema: Schema | None) -> list[dict[str, object]]:
    return [_describe_field(each) for each in schema or ()]


def _describe_field(field: Column | Tensor) -> dict[str, object]:
    if isinstance(field, Tensor):
        return {"name": field.name, "type": field.dtype, "shape": list(field.shape)}
    return {"name": field.name, "type": field.type, "required": field.required}


def _find_drift(machine: Machine, directory: ModelDirectory, python: str) -> Drift | None:
    try:
        found = find_drift(machine, directory, python)
    except ReproError:
        return None  # its files say it wrongly: loading it will tell where
    return found[1] if found else None


def look_at_model(machine: Machine, uri: str, *, run_id: str | None, python: str) -> Overview:
    """Return what a model says of itself, held against its files and the environment of `python`.

    Raises ModelError where there is none, UsageError and TrackingError.
    """
    found = find_model(uri, run_id=run_id, store=machine.store, report=machine.report)
    directory = read_directory(found.path, name=found.name)
    own, loadable = directory.model.own, tuple(list_loadable(directory.model.flavors))
    return Overview(
        directory=directory,
        loadable=loadable,
        altered=find_altered(directory.path, own.files) if own else Altered(),
        runs_code=bool(loadable) and runs_code(directory),
        drift=_find_drift(machine, directory, python),
        size_bytes=sum(path.stat().st_size for path in directory.path.rglob("*") if path.is_file()),
    )
