"""Any object with `predict`, pickled."""

from __future__ import annotations

from pathlib import Path

from repro.models.flavors import Saved, name_class
from repro.models.flavors.pickling import dump


def recognizes(model: object) -> bool:
    """Tell whether an object can predict."""
    return not isinstance(model, type) and callable(getattr(model, "predict", None))


def save(model: object, directory: Path, example: object) -> Saved:
    """Pickle the object."""
    pickled = dump(model, directory / "model.pkl")
    keys = {"data": "model.pkl", "model_class": name_class(model), "serialization_format": pickled.serialization}
    return Saved(keys=keys, needs=(pickled.serialization,), modules=pickled.modules)
