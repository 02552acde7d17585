"""A model directory: what its MLmodel says, and whether its files are those that were saved."""

from __future__ import annotations

import json
import os
from pathlib import Path

from repro.errors import ModelError
from repro.formats.lockfile import FILE_NAME as LOCK_NAME
from repro.formats.mlmodel import FILE_NAME, MLModel, parse_mlmodel
from repro.formats.signature import Signature, format_signature
from repro.models.digests import find_altered
from repro.values import frozen

_LOOSE_NAMES = ("python_env.yaml", "conda.yaml", "requirements.txt")


@frozen
class ModelDirectory:
    """A directory with an MLmodel; `name` is what messages call it."""

    path: Path
    name: str
    model: MLModel

    @property
    def lock(self) -> Path | None:
        """Its lock, where it has one."""
        own = self.model.own
        path = self._locate(own.lock if own and own.lock else LOCK_NAME)
        return path if path.is_file() else None

    @property
    def loose_file(self) -> Path | None:
        """The file that says loosely what its environment is, where it has one: MLflow's, by what names a Python."""
        return next((self.path / name for name in _LOOSE_NAMES if (self.path / name).is_file()), None)

    def _locate(self, name: str) -> Path:
        return locate(self.path, name)


def locate(directory: Path, name: str) -> Path:
    """Return where a file that an MLmodel names is. Raises ModelError for a path that leads out of the directory."""
    path = directory / name
    if os.path.isabs(name) or not Path(os.path.normpath(path)).is_relative_to(os.path.normpath(directory)):
        raise ModelError(f"`{directory / FILE_NAME}` names `{name}`, which is not in the model's directory")
    return path


def read_directory(path: Path, *, name: str | None = None) -> ModelDirectory:
    """Return what a model directory says of itself. Raises ModelError."""
    try:
        text = (path / FILE_NAME).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(
            f"`{name or path}` is no model: it has no `{FILE_NAME}` that can be read",
            hint="name the directory that `save_model` or `log_model` has written",
        ) from error
    model = parse_mlmodel(text, where=str(path / FILE_NAME))
    return ModelDirectory(path=path.resolve(), name=name or path.resolve().name, model=model)


def check_files(directory: ModelDirectory) -> None:
    """Hold the files against the digests that were noted when the model was saved. Raises ModelError for a changed one.

    A model without digests, as MLflow's, is taken as it is.
    """
    own = directory.model.own
    altered = find_altered(directory.path, own.files) if own else None
    if altered:
        count = len(altered.changed) + len(altered.missing)
        changed = (f"{name} has other bytes" for name in altered.changed)
        raise ModelError(
            f"`{directory.name}` is not the model that was saved: {count} of its files differ",
            hint="take it again from where it was saved; `repro.save_model` notes what is meant to be new",
            details=(*changed, *(f"{name} is not there" for name in altered.missing)),
        )


def check_flavors(directory: ModelDirectory, flavor: str | None = None) -> None:
    """Raise ModelError where no flavor, or not the one wanted, can be loaded: with what is there, or is missing."""
    from repro.inside.model_loader import list_loadable

    flavors = directory.model.flavors
    known = list_loadable(flavors)
    if flavor and flavor not in flavors:
        raise ModelError(f"`{directory.name}` has no flavor `{flavor}`, only: {', '.join(sorted(flavors))}")
    if not known or (flavor and flavor not in known):
        which = f"its flavor `{flavor}`" if flavor else "none of its flavors"
        raise ModelError(
            f"`{directory.name}` cannot be loaded: {which} is one that Python can load here ({', '.join(flavors)})",
            hint=f"one of: {', '.join(known)}" if known else "a model with the flavor `python_function` can be",
        )
    for name in (flavor or known[0], "python_function"):
        for key in ("pickled_model", "data", "model_path"):
            file = flavors.get(name, {}).get(key)
            if isinstance(file, str) and not locate(directory.path, file).exists():
                raise ModelError(
                    f"`{directory.name}` is not whole: its `{FILE_NAME}` names `{file}`, which is not there",
                    hint="copy the whole directory, with every file in it",
                )
        locate(directory.path, str(flavors.get(name, {}).get("code") or ""))


def _format_part(text: str | None) -> object:
    return json.loads(text) if text else None


def format_schema(signature: Signature | None) -> dict[str, object] | None:
    """Return a signature as `inside/model_enforce.py` takes it: without the inputs that a model checks itself."""
    if signature is None:
        return None
    parts, wanted = format_signature(signature), ("params",) if signature.is_type_hint else ("inputs", "params")
    return {key: _format_part(parts.get(key)) for key in wanted}


def _find_type(directory: ModelDirectory) -> str | None:
    """Return the file of the example whose type a model's input has, where its function says so."""
    example = directory.model.example
    if not directory.model.others.get("type_hint_from_example") or example is None or example.type != "json_object":
        return None
    return locate(directory.path, example.artifact_path).relative_to(directory.path).as_posix()


def describe(directory: ModelDirectory, flavor: str | None = None) -> dict[str, object]:
    """Return what `inside/model_loader.py` takes to load a model; the `flavor` wanted, else the one it chooses."""
    model = directory.model
    return {
        "flavors": {name: dict(each) for name, each in model.flavors.items()},
        "flavor": flavor,
        "signature": format_schema(model.signature),
        "example": _find_type(directory),
    }
