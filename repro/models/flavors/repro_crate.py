"""`repro.crate`: a function and just the data it needs.

Not named `crate`, which MLflow gives to R.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

from repro.models.crate import Crate, is_crate
from repro.models.flavors import Saved
from repro.models.flavors.pickling import list_modules

_FILE = "crate.pkl"


def recognizes(model: object) -> bool:
    """Tell whether a model is a crate."""
    return is_crate(model)


def save(model: object, directory: Path, example: object) -> Saved:
    """Pickle the function with its data."""
    import cloudpickle

    crate = cast("Crate", model)
    pickled = crate.dump()
    (directory / _FILE).write_bytes(pickled)
    keys = {
        "data": _FILE,
        "function": crate.name,
        "crated": sorted(crate.data),
        "cloudpickle_version": str(cloudpickle.__version__),
    }
    return Saved(keys=keys, needs=("cloudpickle",), modules=list_modules(pickled))
