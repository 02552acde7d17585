"""Save a model so that it can be loaded in the environment that it needs, here and by MLflow.

<path>/MLmodel                    how it is loaded, its signature, and the digest of each file
       flavor.json                what its loader has to know
       code/                      the loader, which needs nothing of repro, and the user's `code_paths`
       requirements-lock.txt      the snapshot of the environment
       requirements.txt           what of it is used, as exact pins; python_env.yaml and conda.yaml for MLflow
       input_example.json, serving_input_example.json
       ...                        the model's own files

It is written beside its place and moved there last.
"""

from __future__ import annotations

import copy
import importlib.util
import json
import os
import uuid
import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from repro.errors import ModelError, ProjectError, ReproError
from repro.files import new_nonce, remove_tree, replace_directory, write_atomically
from repro.formats.conda_env import FILE_NAME as CONDA_ENV
from repro.formats.conda_env import format_conda_env
from repro.formats.lockfile import FILE_NAME as LOCK
from repro.formats.lockfile import format_snapshot
from repro.formats.mlmodel import FILE_NAME, PYTHON_FUNCTION, MLModel, OwnPart, format_mlmodel
from repro.formats.python_env import FILE_NAME as PYTHON_ENV
from repro.formats.python_env import format_python_env
from repro.formats.signature import Signature, parse_signature
from repro.models import code_files
from repro.models.digests import compute_digests
from repro.models.example import FILE_NAME as EXAMPLE
from repro.models.example import SERVING_FILE_NAME, EncodedExample, encode_example, split_example
from repro.models.flavors import Saved, choose_flavor, name_class
from repro.models.infer import infer_signature, name_plain_input
from repro.models.needs import Needs, find_needs, find_unshipped
from repro.values import frozen, replace

REQUIREMENTS = "requirements.txt"
FLAVOR = "flavor.json"


@frozen
class Wish:
    """What a caller says of a model beside the model: see `save_model`."""

    flavor: str | None = None
    signature: object = None
    input_example: object = None
    code_paths: Sequence[str | os.PathLike[str]] = ()
    dependencies: Sequence[str] | None = None
    snapshot: bool = True
    metadata: Mapping[str, object] | None = None


@frozen
class Written:
    """A model that was written: its description, and what its maker should be warned of."""

    model: MLModel
    notes: tuple[str, ...]


def _read_signature(given: object) -> Signature | None:
    """Return the signature that a caller gives: ours, MLflow's, or a mapping as an MLmodel has it."""
    if isinstance(given, Signature):
        return given
    content = given.to_dict() if hasattr(given, "to_dict") else given
    if isinstance(content, Mapping):
        return parse_signature(content)
    raise ModelError(
        f"a signature is not a `{type(given).__name__}`", hint="repro.infer_signature(model_input, model_output)"
    )


def _import_file(path: Path) -> Any:
    """Return a file as a module that nobody else gets."""
    spec = importlib.util.spec_from_file_location("repro_saved_model", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"`{path}` is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _load_again(directory: Path, loader: Path) -> Any:
    """Return the model as its loader reads it. Raises ModelError for one that it cannot read."""
    try:
        return _import_file(loader)._load_pyfunc(str(directory))
    except Exception as error:  # any library's
        raise ModelError(
            f"what was saved cannot be loaded again ({type(error).__name__}: {error})",
            hint="wrap a function with `repro.crate`, or name another flavor with `flavor=`",
        ) from error


def _answer(model: Any, example: object, notes: list[str]) -> object:
    """Return what a model answers to its input example, None where it cannot, which is noted."""
    value, params = split_example(copy.deepcopy(example))  # a model may change what it is asked
    try:
        return model.predict(value, params=dict(params)) if params else model.predict(value)
    except Exception as error:  # any library's
        notes.append(f"the model cannot predict its own input example ({type(error).__name__}: {error})")
        return None


def _infer(example: object, answer: object, notes: list[str]) -> Signature | None:
    """Return the signature that an example and its answer show; an input that has none is noted."""
    value, params = split_example(example)
    try:
        signature = infer_signature(value, params=params)
    except ModelError as error:
        notes.append(f"the model is saved without a signature: {error.message}")
        return None
    try:
        return replace(signature, outputs=infer_signature(None, answer).outputs)
    except ModelError:
        return signature


def _sign(directory: Path, saved: Saved, wish: Wish, notes: list[str]) -> Signature | None:
    given = None if wish.signature in (None, False) else _read_signature(wish.signature)
    if wish.input_example is None:
        return given
    answer = _answer(_load_again(directory, saved.loader), wish.input_example, notes)
    return given if given or wish.signature is False else _infer(wish.input_example, answer, notes)


def _write(directory: Path, name: str, text: str) -> None:
    (directory / name).write_text(text, encoding="utf-8")


def _write_example(directory: Path, example: object, notes: list[str]) -> EncodedExample | None:
    if example is None:
        return None
    try:
        encoded = encode_example(example)
    except ModelError as error:
        notes.append(f"the model is saved without its input example: {error.message}")
        return None
    _write(directory, EXAMPLE, encoded.text + "\n")
    _write(directory, SERVING_FILE_NAME, encoded.serving_text + "\n")
    return encoded


def _write_environment(directory: Path, needs: Needs, *, whole: bool) -> None:
    """Write the lock, and the files that MLflow makes an environment from."""
    urls = [f"--extra-index-url {url}" for url in needs.snapshot.index_urls]
    left_out = [f"# no index has it: {pin}" for pin in needs.left_out]
    _write(directory, REQUIREMENTS, "".join(f"{line}\n" for line in (*left_out, *urls, *needs.pins)))
    tools = needs.tools or ("pip",)  # MLflow installs with the environment's own
    python_pins = [*tools, f"-r {REQUIREMENTS}"]
    _write(directory, PYTHON_ENV, format_python_env(python=needs.python, pins=python_pins))
    conda_pins = list(dict.fromkeys((*needs.tools, *urls, *needs.pins)))
    _write(directory, CONDA_ENV, format_conda_env(python=needs.python, pins=conda_pins))
    if whole:
        _write(directory, LOCK, format_snapshot(needs.snapshot))


def _make_flavors(name: str, saved: Saved, *, loader_module: str, python: str | None) -> dict[str, dict[str, object]]:
    function: dict[str, object] = {
        "loader_module": loader_module,
        "code": code_files.DIRECTORY,
        "env": {"conda": CONDA_ENV, "virtualenv": PYTHON_ENV},
        **({"python_version": python} if python else {}),
    }
    return {name: {**saved.keys, "code": code_files.DIRECTORY}, PYTHON_FUNCTION: function}


def _note_what_is_missing(saved: Saved, code_paths: Sequence[str | os.PathLike[str]]) -> list[str]:
    return [
        f"the model needs the module `{module}`, which is not installed: "
        f"it is found elsewhere with `code_paths=[{path!r}]` alone"
        for module, path in find_unshipped(saved.modules, code_paths)
    ]


def _save_data(model: object, directory: Path, wish: Wish) -> tuple[str, Saved]:
    """Write the model's own files and return its flavor's name, and what that says of them."""
    name, flavor = choose_flavor(model, wish.flavor)
    try:
        example = split_example(wish.input_example)[0]
        saved = flavor.save(model, directory, example)
        if kind := name_plain_input(example):
            saved = replace(saved, keys={**saved.keys, "input": kind})
        _write(directory, FLAVOR, json.dumps({"flavor": name, **saved.keys}, sort_keys=True, indent=2) + "\n")
        return name, saved
    except ReproError:
        raise
    except Exception as error:  # any library's
        raise ModelError(
            f"the flavor `{name}` cannot save a `{name_class(model)}` ({type(error).__name__}: {error})"
        ) from error


def write_model(
    model: object, directory: Path, wish: Wish, *, run_id: str | None, artifact_path: str | None
) -> Written:
    """Write a model into an empty directory. Raises ModelError and UsageError."""
    notes: list[str] = []
    name, saved = _save_data(model, directory, wish)
    loader_module = code_files.copy_loader(saved.loader, directory, name)
    code_files.copy_code(wish.code_paths, directory)
    signature = _sign(directory, saved, wish, notes)
    example = _write_example(directory, wish.input_example, notes)
    needs = find_needs(modules=saved.needs, dependencies=wish.dependencies, whole=wish.snapshot)
    _write_environment(directory, needs, whole=wish.snapshot)
    notes += _note_what_is_missing(saved, wish.code_paths)
    digests = compute_digests(directory)
    described = MLModel(
        flavors=_make_flavors(name, saved, loader_module=loader_module, python=needs.python),
        signature=signature,
        example=example.entry if example else None,
        own=OwnPart(
            lock=LOCK if wish.snapshot else None,
            digest=needs.snapshot.compute_digest() if wish.snapshot else None,
            files=digests,
        ),
        artifact_path=artifact_path,
        run_id=run_id,
        model_uuid=uuid.uuid4().hex,
        model_size_bytes=sum((directory / path).stat().st_size for path in digests),
        utc_time_created=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f"),
        metadata=wish.metadata,
    )
    try:
        write_atomically(directory / FILE_NAME, format_mlmodel(described))
    except ProjectError as error:
        raise ModelError(f"the model cannot be described: {error.message}", hint=error.hint) from error
    return Written(model=described, notes=tuple(notes))


def _check_place(path: Path, *, overwrite: bool) -> None:
    """Raise ModelError where something lies that may not be replaced."""
    if not os.path.lexists(path) or (path.is_dir() and not any(path.iterdir())):
        return
    if not path.is_dir():
        raise ModelError(f"`{path}` is there and is no directory")
    if not overwrite:
        raise ModelError(f"`{path}` is there already", hint="another path, or `overwrite=True` to replace the model")
    if not (path / FILE_NAME).is_file():
        raise ModelError(f"`{path}` is there and is no model: it has no `{FILE_NAME}`", hint="another path")


def save_model(
    model: object,
    path: str | os.PathLike[str] = "model",
    *,
    flavor: str | None = None,
    signature: object = None,
    input_example: object = None,
    code_paths: Sequence[str | os.PathLike[str]] | None = None,
    dependencies: Sequence[str] | None = None,
    snapshot: bool = True,
    metadata: Mapping[str, object] | None = None,
    overwrite: bool = False,
) -> Path:
    """Save a model in the directory `path`, with the snapshot of the environment, and return the directory.

    `flavor` is the one that knows the model's type unless it is named. The `signature`, which may also be MLflow's, is
    inferred from `input_example` and the model's answer to it; False is none. `code_paths` are files and directories
    that are copied along. What is used of the environment is what was imported, or the distributions that
    `dependencies` names. Without `snapshot` there is no lock. A model that is there is replaced with `overwrite` only,
    in one step. Raises ModelError and UsageError.
    """
    path = os.path.expanduser(path)  # as where it is loaded
    place = Path(os.path.realpath(path))
    _check_place(place, overwrite=overwrite)
    wish = Wish(
        flavor=flavor,
        signature=signature,
        input_example=input_example,
        code_paths=code_paths or (),
        dependencies=dependencies,
        snapshot=snapshot,
        metadata=metadata,
    )
    temporary = place.with_name(f".{new_nonce()}.tmp")
    try:
        temporary.mkdir(parents=True)
        written = write_model(model, temporary, wish, run_id=None, artifact_path=None)
        if overwrite:
            replace_directory(temporary, place)
        else:
            temporary.rename(place)  # fails where another has come meanwhile
    except OSError as error:
        raise ModelError(f"the model cannot be saved in `{place}` ({error.strerror or error})") from error
    finally:
        remove_tree(temporary)
    for note in written.notes:
        warnings.warn(note, UserWarning, stacklevel=2)
    return Path(path)
