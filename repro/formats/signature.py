"""A model's signature as a value: the columns or tensors that go in and come out, and the parameters of `predict`.

MLflow keeps each part as a JSON text inside `MLmodel`. `parse_signature` and `format_signature` are each other's
inverse.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast

from repro.errors import ModelError
from repro.values import frozen

SCALARS = ("boolean", "integer", "long", "float", "double", "string", "binary", "datetime")
_NESTED = ("array", "object", "map", "any", "sparkml_vector")


@frozen
class Column:
    """A column of a table: `type` is one of SCALARS, or a nested one whose inner types `nested` keeps as they are.

    A schema of one column without a name stands for a list or a series.
    """

    type: str
    name: str | None = None
    required: bool = True
    nested: Mapping[str, object] | None = None


@frozen
class Tensor:
    """An array: `dtype` is numpy's name of it, `shape` its axes, -1 for one of any length."""

    dtype: str
    shape: tuple[int, ...]
    name: str | None = None


Schema = tuple[Column, ...] | tuple[Tensor, ...]


@frozen
class Parameter:
    """A parameter of `predict`; `shape` is None for one value, (-1,) for a list of any length."""

    name: str
    type: str
    default: object = None
    shape: tuple[int, ...] | None = None


@frozen
class Signature:
    """What goes into a model and what comes out; a part that is None is not known.

    A model whose `inputs` say a function's type hint is given its input as it is, and checks it itself.
    """

    inputs: Schema | None = None
    outputs: Schema | None = None
    params: tuple[Parameter, ...] | None = None
    is_type_hint: bool = False


def _read_part(value: object, where: str) -> list[Mapping[str, object]] | None:
    """Return the entries of a part, which is a JSON text (MLflow's way) or the list itself."""
    if value is None:
        return None
    try:
        entries = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError) as error:
        raise ModelError(f"`{where}` is not JSON: {error}") from error
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        raise ModelError(f"`{where}` is not a list of columns or tensors")
    return entries


def _read_shape(value: object, where: str) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(isinstance(axis, int) and not isinstance(axis, bool) for axis in value):
        raise ModelError(f"`{where}` has the shape `{value}`, which is no list of whole numbers")
    return tuple(value)


def _read_name(entry: Mapping[str, object]) -> str | None:
    name = entry.get("name")
    return None if name is None else str(name)


def _parse_column(entry: Mapping[str, object], where: str) -> Column:
    type_ = entry.get("type")
    if type_ not in SCALARS and type_ not in _NESTED:
        raise ModelError(f"`{where}` has a column of the type `{type_}`", hint=f"one of {', '.join(SCALARS)}")
    nested = {key: value for key, value in entry.items() if key not in ("type", "name", "required", "optional")}
    optional = bool(entry.get("optional", False))
    return Column(
        type=str(type_),
        name=_read_name(entry),
        required=bool(entry.get("required", not optional)),
        nested=nested or None,
    )


def _parse_tensor(entry: Mapping[str, object], where: str) -> Tensor:
    spec = entry.get("tensor-spec")
    if not isinstance(spec, dict) or not isinstance(spec.get("dtype"), str):
        raise ModelError(f"`{where}` has a tensor without a dtype")
    return Tensor(dtype=spec["dtype"], shape=_read_shape(spec.get("shape"), where), name=_read_name(entry))


def parse_schema(value: object, *, where: str) -> Schema | None:
    """Return the columns or the tensors of one part, None where it is not there. Raises ModelError."""
    entries = _read_part(value, where)
    if entries is None:
        return None
    tensors = [each.get("type") == "tensor" for each in entries]
    if all(tensors) and entries:
        return tuple(_parse_tensor(each, where) for each in entries)
    if any(tensors):
        raise ModelError(f"`{where}` has both columns and tensors")
    return tuple(_parse_column(each, where) for each in entries)


def _parse_parameter(entry: Mapping[str, object], where: str) -> Parameter:
    shape = entry.get("shape")
    return Parameter(
        name=str(entry.get("name")),
        type=str(entry.get("type", entry.get("dtype"))),
        default=entry.get("default"),
        shape=None if shape is None else _read_shape(shape, where),
    )


def parse_signature(
    content: Mapping[str, object], *, is_type_hint: bool = False, where: str = "signature"
) -> Signature:
    """Return the signature that an MLmodel's mapping holds. Raises ModelError, with the place in it."""
    params = _read_part(content.get("params"), f"{where}.params")
    return Signature(
        inputs=parse_schema(content.get("inputs"), where=f"{where}.inputs"),
        outputs=parse_schema(content.get("outputs"), where=f"{where}.outputs"),
        params=None if params is None else tuple(_parse_parameter(each, f"{where}.params") for each in params),
        is_type_hint=is_type_hint,
    )


def format_field(field: Column | Tensor) -> dict[str, object]:
    """Return a column or a tensor as MLflow keeps it."""
    named = {} if field.name is None else {"name": field.name}
    if isinstance(field, Tensor):
        return {"type": "tensor", "tensor-spec": {"dtype": field.dtype, "shape": list(field.shape)}, **named}
    return {"type": field.type, **(field.nested or {}), **named, "required": field.required}


def _format_parameter(parameter: Parameter) -> dict[str, object]:
    shape = None if parameter.shape is None else list(parameter.shape)
    return {"name": parameter.name, "default": parameter.default, "shape": shape, "type": parameter.type}


def format_schema(schema: Schema | None) -> str | None:
    """Return a part as MLflow keeps it: a JSON text."""
    fields = cast("tuple[Column | Tensor, ...] | None", schema)
    return None if fields is None else json.dumps([format_field(each) for each in fields])


def format_signature(signature: Signature) -> dict[str, str | None]:
    """Return the mapping for an MLmodel."""
    params = signature.params
    return {
        "inputs": format_schema(signature.inputs),
        "outputs": format_schema(signature.outputs),
        "params": json.dumps([_format_parameter(each) for each in params]) if params else None,
    }
