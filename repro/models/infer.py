"""Infer a model's signature from what it is asked and what it answers, with or without numpy and pandas.

Tables become columns, arrays become tensors whose first axis has any length, as MLflow has it.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from repro.errors import ModelError
from repro.formats.signature import Column, Parameter, Schema, Signature, Tensor

_SCALARS = {
    "bool": "boolean", "int": "long", "float": "double", "str": "string", "bytes": "binary", "bytearray": "binary",
    "datetime": "datetime", "Timestamp": "datetime", "datetime64": "datetime", "date": "datetime",
    "bool_": "boolean", "str_": "string", "bytes_": "binary",
    "int8": "integer", "int16": "integer", "int32": "integer", "int64": "long",
    "uint8": "integer", "uint16": "integer", "uint32": "long",
    "float16": "float", "float32": "float", "float64": "double",
}  # fmt: skip
_MISSING = ("NoneType", "NAType", "NaTType")
# What a column of numbers may hold beside each other, and what they then are.
_WIDER = (("boolean",), ("integer",), ("integer", "long"), ("float",), ("double", "float", "integer", "long"))


def is_kind(value: object, library: str, *names: str) -> bool:
    """Tell whether a value is of a library's class of one of these names; the library is not imported."""
    return any(each.__module__.partition(".")[0] == library and each.__name__ in names for each in type(value).__mro__)


def is_frame(value: object) -> bool:
    """Tell whether a value is a DataFrame of pandas."""
    return is_kind(value, "pandas", "DataFrame")


def is_array(value: object) -> bool:
    """Tell whether a value is an array of numpy."""
    return is_kind(value, "numpy", "ndarray")


def is_sparse(value: object) -> bool:
    """Tell whether a value is a sparse matrix of scipy."""
    return type(value).__module__.startswith("scipy.sparse") and hasattr(value, "tocsr")


def is_scalar(value: object) -> bool:
    """Tell whether a value is a single one, or a missing one."""
    return type(value).__name__ in _SCALARS or is_missing(value)


def is_missing(value: object) -> bool:
    """Tell whether a value stands for none: None, NaN, and pandas' own."""
    return type(value).__name__ in _MISSING or (isinstance(value, float) and value != value)  # noqa: PLR0124


def as_array(value: Any) -> Any:
    """Return a tensor of PyTorch as an array; any other value as it is."""
    return value.detach().cpu().numpy() if is_kind(value, "torch", "Tensor") else value


def _name_dtype(dtype: Any, where: str) -> str:
    """Return numpy's name of a dtype, without the size of texts. Raises ModelError for one that no schema has."""
    if dtype.kind in "US":
        return "str" if dtype.kind == "U" else "bytes"
    if dtype.kind == "V":
        raise ModelError(f"{where} is an array of the dtype `{dtype}`, which no signature has a word for")
    return str(dtype.name)


def _make_tensor(value: Any, where: str, *, name: str | None = None) -> Tensor:
    dtype = value.data.dtype if is_sparse(value) else value.dtype
    if not value.shape:
        raise ModelError(f"{where} is an array without an axis", hint="give an array of rows")
    return Tensor(dtype=_name_dtype(dtype, where), shape=(-1, *value.shape[1:]), name=name)


def _name_column_type(dtype: Any) -> str | None:
    """Return the type of a column by its dtype (MLflow's table), None where its values have to be looked at."""
    size = getattr(dtype, "itemsize", 8)
    match dtype.kind:
        case "b":
            return "boolean"
        case "i":
            return "integer" if size <= 4 else "long"
        case "u" if size < 8:
            return "integer" if size < 4 else "long"
        case "f" if size <= 8:
            return "float" if size <= 4 else "double"
        case "M":
            return "datetime"
        case "U" | "S":
            return "string" if dtype.kind == "U" else "binary"
    return "string" if type(dtype).__name__ == "StringDtype" else None


def _join_types(types: set[str], where: str) -> str:
    if len(types) == 1:
        return types.pop()
    for kinds in _WIDER:
        if types <= set(kinds):
            return "double" if "double" in kinds else "long"
    raise ModelError(f"{where} has values of several types: {', '.join(sorted(types))}")


def _describe_nested(values: Sequence[object], where: str) -> dict[str, object]:
    """Return the type of values that are lists or mappings themselves, as MLflow's JSON has it."""
    if all(isinstance(each, Mapping) for each in values):
        keys = dict.fromkeys(key for each in values if isinstance(each, Mapping) for key in each)
        return {"type": "object", "properties": {str(key): _describe_property(values, key, where) for key in keys}}
    if all(_is_list(each) for each in values):
        items = [item for each in values if isinstance(each, Iterable) for item in each]
        return {"type": "array", "items": _describe_values(items, where)}
    return {"type": _join_types({_name_scalar(each, where) for each in values}, where)}


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple) or is_array(value)


def _describe_property(values: Sequence[object], key: object, where: str) -> dict[str, object]:
    found = [each[key] for each in values if isinstance(each, Mapping) and key in each]
    is_required = len(found) == len(values) and not any(map(is_missing, found))
    return {**_describe_values(found, f"{where}.{key}"), "required": is_required}


def _name_scalar(value: object, where: str) -> str:
    name = _SCALARS.get(type(value).__name__)
    if name is None:
        raise ModelError(f"{where} has a value of the type `{type(value).__name__}`, which no signature has a word for")
    return name


def _describe_values(values: Iterable[object], where: str) -> dict[str, object]:
    """Return the type of a column's values, those that are missing aside."""
    there = [each for each in values if not is_missing(each)]
    return _describe_nested(there, where) if there else {"type": "any"}


def _make_column(values: Sequence[object], where: str, *, name: str | None) -> Column:
    described = _describe_values(values, where)
    kind = str(described.pop("type"))
    has_all = name is None or not any(map(is_missing, values))
    return Column(type=kind, name=name, required=has_all, nested=described or None)


def _make_frame_column(series: Any, name: str | None, where: str) -> Column:
    kind = _name_column_type(series.dtype)
    if kind is None and series.dtype.kind != "O":
        raise ModelError(f"{where} has the dtype `{series.dtype}`, which no signature has a word for")
    if kind is None:
        return _make_column(series.tolist(), where, name=name)
    return Column(type=kind, name=name, required=name is None or not bool(series.isna().any()))


def _make_frame_columns(frame: Any, where: str) -> tuple[Column, ...]:
    """Return a table's columns; where their names are no texts, they go by their order."""
    is_named = all(isinstance(name, str) for name in frame.columns)
    return tuple(
        _make_frame_column(frame.iloc[:, number], name if is_named else None, f"the column `{name}` of {where}")
        for number, name in enumerate(frame.columns)
    )


def list_columns(value: object) -> dict[str, list[object]] | None:
    """Return the columns of a table without pandas, None for any other value.

    It is a list of rows by name, a mapping of columns of one length, or one row by name.
    """
    if isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
        names = dict.fromkeys(name for each in value for name in each)
        return {str(name): [each.get(name) for each in value] for name in names}
    if not isinstance(value, Mapping) or not value:
        return None
    if all(is_scalar(each) for each in value.values()):
        return {str(name): [each] for name, each in value.items()}
    if not all(isinstance(each, list) and all(map(is_scalar, each)) for each in value.values()):
        return None
    return {str(name): list(each) for name, each in value.items()} if len({*map(len, value.values())}) == 1 else None


def find_matrix(value: object) -> tuple[str, tuple[int, ...]] | None:
    """Return the dtype and the shape of lists of numbers of one length, None for any other value."""
    if not isinstance(value, list) or not value or not all(isinstance(row, list) and row for row in value):
        return None
    cells = [cell for row in value for cell in row]
    if len({*map(len, value)}) != 1 or not all(type(cell) in (int, float) for cell in cells):
        return None
    return ("int64" if all(type(cell) is int for cell in cells) else "float64"), (-1, len(value[0]))


def name_plain_input(value: object) -> str | None:
    """Return `list` or `series` for what MLflow would make a table of one column without a name of; else None."""
    if is_kind(value, "pandas", "Series"):
        return "series"
    if isinstance(value, list) and find_matrix(value) is None and list_columns(value) is None:
        return "list"
    return None


def infer_schema(value: object, *, where: str = "the data") -> Schema:
    """Return the columns or tensors of a value. Raises ModelError for what no schema has a word for."""
    value = as_array(value)
    if is_frame(value):
        return _make_frame_columns(value, where)
    if is_kind(value, "pandas", "Series"):
        name = getattr(value, "name", None)
        return (_make_frame_column(value, name if isinstance(name, str) else None, where),)
    if is_array(value) or is_sparse(value):
        return (_make_tensor(value, where),)
    if isinstance(value, Mapping) and value and all(is_array(as_array(each)) for each in value.values()):
        return tuple(_make_tensor(as_array(each), where, name=str(name)) for name, each in value.items())
    if matrix := find_matrix(value):
        return (Tensor(dtype=matrix[0], shape=matrix[1]),)
    columns = list_columns(value)
    if columns is None and isinstance(value, Mapping) and value:
        columns = {str(name): [each] for name, each in value.items()}
    if columns is not None:
        return tuple(_make_column(each, f"the column `{name}` of {where}", name=name) for name, each in columns.items())
    values = value if isinstance(value, list) else [value]
    return (_make_column(values, where, name=None),)


def _make_parameter(name: str, value: object) -> Parameter:
    where = f"the parameter `{name}`"
    values = value if isinstance(value, list | tuple) else [value]
    kind = _join_types({_name_scalar(each, where) for each in values}, where) if values else "string"
    default = value.isoformat() if isinstance(value, datetime.date) else value
    return Parameter(name=name, type=kind, default=default, shape=None if values == [value] else (-1,))


def infer_signature(
    model_input: object = None, model_output: object = None, params: Mapping[str, object] | None = None
) -> Signature:
    """Return the signature of a model that answers `model_input` with `model_output`; each may be left out.

    They are frames, series, arrays, tensors, sparse matrices, mappings of arrays, or, without any library, lists of
    rows, mappings of columns, lists of values and nested lists of numbers. Raises ModelError for what is none of these.
    """
    return Signature(
        inputs=None if model_input is None else infer_schema(model_input, where="the input"),
        outputs=None if model_output is None else infer_schema(model_output, where="the output"),
        params=tuple(_make_parameter(name, value) for name, value in params.items()) if params else None,
    )
