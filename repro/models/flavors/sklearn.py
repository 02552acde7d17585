"""scikit-learn: any estimator or pipeline; a file of skops where that can hold it, else a pickle."""

from __future__ import annotations

from pathlib import Path

from repro.models.flavors import Saved, get_version, is_of
from repro.models.flavors.estimator import dump_estimator


def recognizes(model: object) -> bool:
    """Tell whether a model is an estimator."""
    return not isinstance(model, type) and is_of(model, "sklearn", "BaseEstimator")


def save(model: object, directory: Path, example: object) -> Saved:
    """Write the estimator, under the keys that MLflow reads."""
    dumped = dump_estimator(model, directory)
    predict = next((name for name in ("predict", "transform", "fit_predict") if hasattr(model, name)), "predict")
    keys = {
        "pickled_model": dumped.file,
        "sklearn_version": get_version("sklearn"),
        "predict_fn": predict,
        **dumped.keys,
    }
    return Saved(keys=keys, needs=("sklearn", *dumped.needs), modules=dumped.modules)
