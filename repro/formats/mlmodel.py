"""MLflow's `MLmodel` file as a value: the flavors a model can be loaded as, its signature, and what it was saved with.

`parse_mlmodel` and `format_mlmodel` are each other's inverse; keys that nobody here knows are kept.
"""

from __future__ import annotations

from collections.abc import Mapping

from repro.errors import ModelError, ProjectError
from repro.formats.fields import dump_mapping, load_mapping
from repro.formats.signature import Signature, format_signature, parse_signature
from repro.values import field, frozen, list_fields

FILE_NAME = "MLmodel"
PYTHON_FUNCTION = "python_function"
Flavor = Mapping[str, object]


@frozen
class Example:
    """The input example that lies beside a model: its file, the request that would send it, and what kind it is."""

    artifact_path: str
    type: str
    serving_input_path: str | None = None
    pandas_orient: str | None = None
    others: Mapping[str, object] = field(default_factory=dict)


@frozen
class OwnPart:
    """What repro itself notes of a model: its lock and the lock's digest, where it has one, and each file's sha256."""

    lock: str | None = None
    digest: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)


@frozen
class PythonFunction:
    """The flavor that anything written in Python can be loaded as; paths are relative to the model's directory.

    `env` names its environment files by kind (`virtualenv`, `conda`), `others` is what its loader alone understands.
    """

    loader_module: str
    data: str | None = None
    code: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    python_version: str | None = None
    predict_fn: str | None = None
    others: Mapping[str, object] = field(default_factory=dict)


@frozen
class MLModel:
    """A model's description; `others` are top-level keys that nobody here knows."""

    flavors: Mapping[str, Flavor]
    signature: Signature | None = None
    example: Example | None = None
    own: OwnPart | None = None
    artifact_path: str | None = None
    run_id: str | None = None
    model_id: str | None = None
    model_uuid: str | None = None
    mlflow_version: str | None = None
    model_size_bytes: int | None = None
    utc_time_created: str | None = None
    metadata: Mapping[str, object] | None = None
    others: Mapping[str, object] = field(default_factory=dict)


_PLAIN = (
    "artifact_path", "run_id", "model_id", "model_uuid", "mlflow_version", "utc_time_created",
)  # fmt: skip
_KEYS = {*_PLAIN, "flavors", "signature", "saved_input_example_info", "repro", "model_size_bytes", "metadata"}
_EXAMPLE_KEYS = {*list_fields(Example)} - {"others"}


def _get_mapping(content: Mapping[str, object], key: str, where: str) -> dict[str, object] | None:
    value = content.get(key)
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ModelError(f"{where}: `{key}` is not a mapping")
    return {str(name): each for name, each in value.items()}


def _get_text(content: Mapping[str, object], key: str) -> str | None:
    value = content.get(key)
    return None if value is None else str(value)


def _parse_example(content: Mapping[str, object] | None) -> Example | None:
    if not content or not content.get("artifact_path"):
        return None
    return Example(
        artifact_path=str(content["artifact_path"]),
        type=str(content.get("type", "dataframe")),
        serving_input_path=_get_text(content, "serving_input_path"),
        pandas_orient=_get_text(content, "pandas_orient"),
        others={key: value for key, value in content.items() if key not in _EXAMPLE_KEYS},
    )


def _parse_own(content: Mapping[str, object] | None, where: str) -> OwnPart | None:
    if content is None:
        return None
    files = _get_mapping(content, "files", where) or {}
    lock, digest = _get_text(content, "lock"), _get_text(content, "digest")
    if (lock is None) != (digest is None):
        raise ModelError(f"{where}: `repro` does not name a lock and its digest")
    return OwnPart(
        lock=lock,
        digest=digest,
        files={name: str(value) for name, value in files.items()},
    )


def parse_mlmodel(text: str, *, where: str = FILE_NAME) -> MLModel:
    """Return what an MLmodel file says. Raises ModelError with the place of what is wrong."""
    try:
        content = load_mapping(text, where=where)
    except ProjectError as error:
        raise ModelError(error.message, hint=error.hint) from error
    flavors = _get_mapping(content, "flavors", where)
    if not flavors:
        raise ModelError(f"{where}: it names no `flavors`, so nothing says how the model is loaded")
    signature = _get_mapping(content, "signature", where)
    is_type_hint = content.get("is_signature_from_type_hint") is True
    size = content.get("model_size_bytes")
    return MLModel(
        flavors={name: _get_mapping(flavors, name, f"{where}: flavors") or {} for name in flavors},
        signature=parse_signature(signature, is_type_hint=is_type_hint, where=f"{where}: signature")
        if signature
        else None,
        example=_parse_example(_get_mapping(content, "saved_input_example_info", where)),
        own=_parse_own(_get_mapping(content, "repro", where), where),
        **{key: _get_text(content, key) for key in _PLAIN},
        model_size_bytes=size if isinstance(size, int) else None,
        metadata=_get_mapping(content, "metadata", where),
        others={key: value for key, value in content.items() if key not in _KEYS},
    )


def _format_example(example: Example) -> dict[str, object]:
    known = {key: getattr(example, key) for key in _EXAMPLE_KEYS if getattr(example, key) is not None}
    return {**example.others, **known}


def format_mlmodel(model: MLModel) -> str:
    """Return the text of an MLmodel file, as MLflow reads it."""
    content: dict[str, object] = dict(model.others)
    content |= {key: getattr(model, key) for key in _PLAIN if getattr(model, key) is not None}
    content["flavors"] = {name: dict(flavor) for name, flavor in model.flavors.items()}
    if model.model_size_bytes is not None:
        content["model_size_bytes"] = model.model_size_bytes
    if model.metadata is not None:
        content["metadata"] = dict(model.metadata)
    if model.signature:
        content["signature"] = format_signature(model.signature)
    if model.example:
        content["saved_input_example_info"] = _format_example(model.example)
    if model.own:
        locked = {"lock": model.own.lock, "digest": model.own.digest} if model.own.lock else {}
        content["repro"] = {**locked, "files": dict(model.own.files)}
    return dump_mapping(content)


def parse_python_function(model: MLModel, *, where: str = FILE_NAME) -> PythonFunction | None:
    """Return a model's python_function flavor, None where it has none; `data` is what its loader is given.

    MLflow 1.x names its environment by one file name (a conda.yaml), 2.x and later by kind. Raises ModelError.
    """
    flavor = model.flavors.get(PYTHON_FUNCTION)
    if flavor is None:
        return None
    if not isinstance(flavor.get("loader_module"), str):
        raise ModelError(f"{where}: `flavors.{PYTHON_FUNCTION}` names no `loader_module`")
    env = flavor.get("env")
    named = {str(kind): str(file) for kind, file in env.items()} if isinstance(env, dict) else {}
    known = {"loader_module", "data", "model_path", "code", "env", "python_version", "predict_fn"}
    return PythonFunction(
        loader_module=str(flavor["loader_module"]),
        data=_get_text(flavor, "data") or _get_text(flavor, "model_path"),
        code=_get_text(flavor, "code"),
        env={"conda": env} if isinstance(env, str) else named,
        python_version=_get_text(flavor, "python_version"),
        predict_fn=_get_text(flavor, "predict_fn"),
        others={key: value for key, value in flavor.items() if key not in known},
    )
