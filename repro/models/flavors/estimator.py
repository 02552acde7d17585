"""Write an estimator of scikit-learn's kind: with skops where that can hold it, else pickled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from repro.models.flavors.pickling import dump
from repro.values import frozen


def _dump_skops(model: object, path: Path) -> list[str]:
    """Write a skops file and return the types in it that a reader has to trust.

    Raises whatever skops does, ImportError where it is not installed, and ValueError for a type of the script's own.
    """
    import skops.io

    skops.io.dump(model, path)
    types = sorted(map(str, skops.io.get_untrusted_types(file=path)))
    if own := [name for name in types if name.startswith("__main__.")]:
        raise ValueError(f"{', '.join(own)} would not be found elsewhere")
    skops.io.load(path, trusted=types)
    return types


@frozen
class Dumped:
    """An estimator's file, what the MLmodel says of how it is read, what that imports, and what it names itself."""

    file: str
    keys: Mapping[str, object]
    needs: tuple[str, ...]
    modules: frozenset[str]


def dump_estimator(model: object, directory: Path) -> Dumped:
    """Write an estimator.

    Raises ModelError.
    """
    file = directory / "model.skops"
    try:
        trusted = _dump_skops(model, file)
    except Exception:  # skops has no word for everything, and is not everywhere
        file.unlink(missing_ok=True)
        pickled = dump(model, directory / "model.pkl")
        keys = {"serialization_format": pickled.serialization}
        return Dumped(file="model.pkl", keys=keys, needs=(pickled.serialization,), modules=pickled.modules)
    return Dumped(
        file=file.name,
        keys={"serialization_format": "skops", "skops_trusted_types": trusted},
        needs=("skops",),
        modules=frozenset(name.rpartition(".")[0] for name in trusted),
    )
