"""XGBoost: a booster, or an estimator of its own, in its native format."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from repro.models.flavors import Saved, get_version, name_class

_FORMAT = "ubj"


def recognizes(model: object) -> bool:
    """Tell whether a model is one of XGBoost's own; a class that derives from it has more than the format holds."""
    kind = type(model)
    return kind.__module__.partition(".")[0] == "xgboost" and hasattr(kind, "save_model")


def save(model: object, directory: Path, example: object) -> Saved:
    """Write the model, under the keys that MLflow reads."""
    file = f"model.{_FORMAT}"
    cast("Any", model).save_model(directory / file)
    keys = {
        "data": file,
        "model_class": name_class(model),
        "model_format": _FORMAT,
        "xgb_version": get_version("xgboost"),
    }
    needs = ("xgboost",) if name_class(model).endswith(".Booster") else ("xgboost", "sklearn")
    return Saved(keys=keys, needs=needs)
