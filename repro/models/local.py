"""A model in this process, with the interface of one that lives in its own environment."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from repro.errors import ModelError
from repro.formats.signature import Signature
from repro.inside import model_enforce, model_loader, saved_model
from repro.models.directory import ModelDirectory, describe, format_schema

if TYPE_CHECKING:
    from repro.environments.lookup import Environment


class LocalModel:
    """A model that this process has loaded: `predict` as its signature says, and what else it has by name."""

    def __init__(self, model: model_loader.Model, *, name: str, signature: Signature | None) -> None:
        self._model = model
        self._name = name
        self._schema = format_schema(signature)
        self.environment: Environment | None = None
        self.signature = signature

    @property
    def flavor(self) -> str:
        """The flavor that it was loaded as."""
        return str(self._model.flavor)

    @property
    def native(self) -> Any:
        """The object itself, such as scikit-learn's estimator."""
        return self._model.native

    def __repr__(self) -> str:
        kind = type(self._model.native)
        return f"<LocalModel `{self._name}` ({kind.__module__}.{kind.__qualname__})>"

    def predict(self, data: object, params: dict[str, object] | None = None, **options: object) -> Any:
        """Return the model's predictions for data that its signature allows; `params` are those of the signature.

        Raises ModelError for data that it does not allow, and what the model raises.
        """
        try:
            data = model_enforce.conform(data, self._schema)
            params = model_enforce.conform_params(params, self._schema)
        except model_enforce.SchemaError as error:
            raise ModelError(str(error)) from None
        return self._model.predict(data, params=params, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or "_model" not in self.__dict__:
            raise AttributeError(name)
        return self._model.find(name)

    def close(self) -> None:
        """Do nothing: there is no process to end."""

    def __enter__(self) -> LocalModel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _find_other(code: Path) -> tuple[str, str] | None:
    """Return a module of a model's code that this process has from another file, with other bytes, and that file."""
    roots = {each.partition(".")[0] for each in os.listdir(code)} - {"__main__"} if code.is_dir() else set()
    loaded = [(name, module) for name, module in list(sys.modules.items()) if name.partition(".")[0] in roots]
    for name, module in loaded:
        file, place = getattr(module, "__file__", None), code.joinpath(*name.split("."))
        own = place / "__init__.py" if place.is_dir() else place.with_name(f"{place.name}.py")
        if not isinstance(file, str) or not own.is_file():
            continue
        with suppress(OSError):
            if not os.path.samefile(own, file) and own.read_bytes() != Path(file).read_bytes():
                return name, file
    return None


def _check_modules(directory: ModelDirectory, flavor: str | None) -> None:
    """Raise ModelError where the model would be given code of the same name that is not its own."""
    code = model_loader.find_code(directory.model.flavors, flavor)
    other = _find_other(directory.path / str(code)) if code else None
    if other:
        raise ModelError(
            f"`{directory.name}` has a module `{other[0]}`, and this process has another of that name, `{other[1]}`",
            hint="with `restore=True` it is loaded in a process of its own",
        )


def load_here(directory: ModelDirectory, flavor: str | None = None) -> LocalModel:
    """Load a model in this process. Raises ModelError, also with what its library says."""
    _check_modules(directory, flavor)
    try:
        model = model_loader.load(str(directory.path), describe(directory, flavor), saved_model)
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())[:2000]
        raise ModelError(
            f"`{directory.name}` cannot be loaded in this environment: {said}",
            hint="with `restore=True` it is loaded in the environment that it names",
        ) from error
    return LocalModel(model, name=directory.name, signature=directory.model.signature)
