"""LightGBM: a booster as its own text, an estimator as those of scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from repro.models.flavors import Saved, get_version, is_of, name_class
from repro.models.flavors.estimator import dump_estimator


def recognizes(model: object) -> bool:
    """Tell whether a model is a booster or an estimator of LightGBM."""
    return is_of(model, "lightgbm", "Booster", "LGBMModel")


def save(model: object, directory: Path, example: object) -> Saved:
    """Write the model, under the keys that MLflow reads."""
    keys: dict[str, object] = {"lgb_version": get_version("lightgbm"), "model_class": name_class(model)}
    if is_of(model, "lightgbm", "Booster"):
        cast("Any", model).save_model(directory / "model.lgb")
        return Saved(keys={**keys, "data": "model.lgb"}, needs=("lightgbm",))
    dumped = dump_estimator(model, directory)
    return Saved(
        keys={**keys, "data": dumped.file, **dumped.keys},
        needs=("lightgbm", "sklearn", *dumped.needs),
        modules=dumped.modules,
    )
