"""Whether loading a model may run code that somebody else has written."""

from __future__ import annotations

from collections.abc import Mapping

from repro import settings
from repro.errors import ModelError
from repro.inside.model_loader import find_code, list_loadable
from repro.models.directory import ModelDirectory


def runs_code(directory: ModelDirectory, flavor: str | None = None) -> bool:
    """Tell whether a model's format can run code when it is loaded: pickles and loaders do, numbers do not."""
    flavors = directory.model.flavors
    name = flavor or next(iter(list_loadable(flavors)), "")
    own = flavors.get(name, {})
    if find_code(flavors, name):
        return True
    if name == "sklearn":
        return own.get("serialization_format") != "skops" or bool(own.get("skops_trusted_types"))
    if name == "lightgbm":  # a booster's text, and pickles of its estimators
        return "serialization_format" in own
    return name != "xgboost"


def refuse_code(
    directory: ModelDirectory, flavor: str | None, *, environ: Mapping[str, str], is_foreign: bool = False
) -> None:
    """Raise ModelError where loading a model could run code and may not: at all, or here for one that `is_foreign`."""
    if not runs_code(directory, flavor):
        return
    if not settings.allows_model_code(environ):
        raise ModelError(
            f"loading `{directory.name}` may run code, which MLFLOW_ALLOW_MODEL_CODE_EXECUTION forbids",
            hint="models in native formats, such as skops and xgboost's own, run none",
        )
    if is_foreign:
        raise ModelError(
            f"`{directory.name}` comes from a server, and loading it in this process may run code that it holds",
            hint="`trust=True` where you trust who has saved it; `restore=True` loads it in a process of its own",
        )
