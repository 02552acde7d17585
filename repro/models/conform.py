"""Make what a request holds into what the model takes: by the names, types and shapes of its signature.

Numbers go to the model as they are, with a DataFrame around them only where it wants one.
"""

from __future__ import annotations

import base64
import binascii
import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from itertools import chain

from repro.formats.scoring import (
    FORMATS,
    OBJECT,
    Array,
    Frame,
    FrameColumn,
    Input,
    Parquet,
    RawTable,
    ScoringBody,
    ScoringError,
    count_rows,
    find_columns,
    infer_text,
    make_array,
    make_frame,
    pack,
    read_table,
    unpack,
)
from repro.formats.signature import Column, Parameter, Schema, Signature, Tensor, format_field
from repro.inside.model_enforce import SchemaError, fit_nested, is_nested

_DTYPES = {"double": "<f8", "float": "<f4", "long": "<i8", "integer": "<i4", "boolean": "|b1"}
_INTS: set[type] = {int}
_NUMBERS: set[type] = {int, float}
_PLAIN_KINDS: Mapping[str, set[type]] = {
    "<f8": _NUMBERS, "<f4": _NUMBERS, "<i8": _INTS, "<i4": _INTS, "|b1": {bool},
}  # fmt: skip
_RANKS = {"|b1": 0, "<i4": 1, "<i8": 2, "<f4": 3, "<f8": 4}
_EPOCH = datetime(1970, 1, 1)
_TEXT_TYPES = ("string", "binary", "datetime")


def _refuse(message: str) -> ScoringError:
    return ScoringError(message, error_code="INVALID_PARAMETER_VALUE")


def _describe(values: Sequence[object], fits: Callable[[object], bool]) -> str:
    number, value = next((number, value) for number, value in enumerate(values) if not fits(value))
    text = "a missing value" if value is None else f"`{value!r:.60}`"
    return f"{text} in row {number}"


def _fits_float(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _fits_int(value: object) -> bool:
    return type(value) is int or (isinstance(value, float) and value.is_integer())


def _pack_floats(column: Column, values: Sequence[object]) -> bytes:
    dtype = _DTYPES[column.type]
    kinds = set(map(type, values))
    if not kinds <= {int, float, type(None)}:
        raise _refuse(f"column `{column.name}` is `{column.type}`, and has {_describe(values, _fits_float)}")
    try:
        if type(None) in kinds:
            values = [math.nan if value is None else value for value in values]
        return pack(values, dtype)
    except OverflowError:
        raise _refuse(f"column `{column.name}` has a number too large for `{column.type}`") from None


def _pack_ints(column: Column, values: Sequence[object]) -> bytes:
    if set(map(type, values)) != {int}:
        if not all(map(_fits_int, values)):
            raise _refuse(f"column `{column.name}` is `{column.type}`, and has {_describe(values, _fits_int)}")
        values = [int(value) for value in values]  # type: ignore[call-overload]
    try:
        return pack(values, _DTYPES[column.type])
    except OverflowError:
        raise _refuse(f"column `{column.name}` has a number too large for `{column.type}`") from None


def _pack_truths(column: Column, values: Sequence[object]) -> bytes:
    if set(map(type, values)) - {bool}:
        found = _describe(values, lambda value: type(value) is bool)
        raise _refuse(f"column `{column.name}` is `boolean`, and has {found}")
    return pack(values, "|b1")


def _count_ns(text: str) -> int:
    moment = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
    if moment.tzinfo is not None:
        moment = moment.astimezone(timezone.utc).replace(tzinfo=None)
    past = moment - _EPOCH
    return ((past.days * 86_400 + past.seconds) * 1_000_000 + past.microseconds) * 1000


def _pack_moments(column: Column, values: Sequence[object]) -> bytes:
    moments = array("q")
    for number, value in enumerate(values):
        try:
            moments.append(-(1 << 63) if value is None else _count_ns(str(value)))
        except (ValueError, OverflowError):
            raise _refuse(f"column `{column.name}` is `datetime`, and has `{value!r:.60}` in row {number}") from None
    return moments.tobytes()


def _check_texts(column: Column, values: Sequence[object]) -> list[object]:
    if set(map(type, values)) - {str, type(None)}:
        found = _describe(values, lambda value: value is None or isinstance(value, str))
        raise _refuse(f"column `{column.name}` is `{column.type}`, and has {found}")
    return list(values)


def _decode_bytes(column: Column, values: Sequence[object]) -> list[object]:
    try:
        return [
            None if value is None else base64.b64decode(str(value), validate=True)
            for value in _check_texts(column, values)
        ]
    except (binascii.Error, ValueError):
        raise _refuse(f"column `{column.name}` is `binary`, which is base64 in a request") from None


def _fit_cells(column: Column, values: Sequence[object]) -> list[object]:
    entry = format_field(column)
    try:
        return [fit_nested(value, entry, f"{column.name}[{row}]") for row, value in enumerate(values)]
    except SchemaError as error:
        raise _refuse(str(error)) from error


def _convert_column(column: Column, values: Sequence[object], *, is_text: bool) -> FrameColumn:
    name = str(column.name)
    if is_text:
        texts = [str(value) for value in values]
        values = [text or None for text in texts] if column.type in _TEXT_TYPES else infer_text(texts)
    if column.type in ("double", "float"):
        return FrameColumn(name=name, dtype=_DTYPES[column.type], values=_pack_floats(column, values))
    if column.type in ("long", "integer"):
        return FrameColumn(name=name, dtype=_DTYPES[column.type], values=_pack_ints(column, values))
    if column.type == "boolean":
        return FrameColumn(name=name, dtype="|b1", values=_pack_truths(column, values))
    if column.type == "datetime":
        return FrameColumn(name=name, dtype="<M8[ns]", values=_pack_moments(column, values))
    if column.type == "binary":
        return FrameColumn(name=name, dtype=OBJECT, values=_decode_bytes(column, values))
    kept = _check_texts(column, values) if column.type == "string" else _fit_cells(column, values)
    return FrameColumn(name=name, dtype=OBJECT, values=kept)


def _enforce_columns(table: RawTable, columns: Sequence[Column]) -> Frame:
    """Return a table with the signature's columns in its order; further ones are dropped, as by MLflow."""
    missing = [column.name for column in columns if column.required and column.name not in table.columns]
    if missing:
        extra = [name for name in table.columns if name not in {column.name for column in columns}]
        more = f" Note that there were extra inputs: {extra[:20]}." if extra else ""
        raise _refuse(f"Model is missing inputs {missing}.{more}")
    typed = [
        _convert_column(column, table.columns[column.name], is_text=table.is_text)
        for column in columns
        if column.name is not None and column.name in table.columns
    ]
    return Frame(columns=tuple(typed), rows=table.rows, index=table.index)


def _choose_dtype(dtypes: set[str]) -> str | None:
    """Return the type of an array of such columns, as numpy finds it; None where it would be one of objects."""
    if not dtypes <= _RANKS.keys() or ("|b1" in dtypes and len(dtypes) > 1) or not dtypes:
        return None
    widest = max(dtypes, key=_RANKS.__getitem__)
    return "<f8" if widest == "<f4" and len(dtypes) > 1 else widest


def unwrap_frame(frame: Frame) -> Array | Frame:
    """Return the numbers of a frame alone; a frame with other columns stays one."""
    dtype = _choose_dtype({column.dtype for column in frame.columns})
    if dtype is None or frame.index is not None:
        return frame
    shape = (frame.rows, len(frame.columns))
    rows = zip(*(unpack(column.values, column.dtype) for column in frame.columns), strict=True)
    return Array(dtype=dtype, shape=shape, values=pack(list(chain.from_iterable(rows)), dtype))


def _fit_tensor(value: object, tensor: Tensor, where: str) -> Array:
    array_ = make_array(value, where)
    wanted = tensor.shape
    fits = len(wanted) == len(array_.shape) and all(
        axis in (-1, found) for axis, found in zip(wanted, array_.shape, strict=True)
    )
    if not fits:
        raise _refuse(f"Shape of input {array_.shape} does not match expected shape {wanted}.")
    return _cast_array(array_, tensor.dtype, where)


_TENSOR_DTYPES = {"float64": "<f8", "float32": "<f4", "int64": "<i8", "int32": "<i4", "bool": "|b1"}


def _cast_array(given: Array, dtype: str, where: str) -> Array:
    wanted = _TENSOR_DTYPES.get(dtype)
    if wanted is None:
        return given  # what it is made into is the model's affair: a text, an image's bytes
    if given.dtype == wanted:
        return given
    if given.dtype not in _RANKS or (given.dtype.startswith("<f") and not wanted.startswith("<f")):
        raise _refuse(f"`{where}` is of the type `{given.dtype}`, and the model takes `{dtype}`")
    try:
        values = pack(unpack(given.values, given.dtype), wanted)
    except OverflowError:
        raise _refuse(f"`{where}` has a number too large for `{dtype}`") from None
    return replace(given, dtype=wanted, values=values)


def _conform_tensors(body: ScoringBody, tensors: Sequence[Tensor]) -> Input:
    content = body.content
    if len(tensors) == 1 and tensors[0].name is None:
        table = read_table(body)
        if table is not None:
            content = [list(row) for row in zip(*table.columns.values(), strict=True)]
        return _fit_tensor(content, tensors[0], body.format)
    table = read_table(body) or find_columns(body)
    if table is None:
        raise _refuse(f"Model is missing inputs {[each.name for each in tensors]}: the input has no names.")
    missing = [each.name for each in tensors if each.name not in table.columns]
    if missing:
        raise _refuse(f"Model is missing inputs {missing}.")
    return {
        str(each.name): _fit_tensor(list(table.columns[str(each.name)]), each, f"{body.format}.{each.name}")
        for each in tensors
    }


def _name_by_position(table: RawTable, columns: Sequence[Column]) -> Frame:
    if len(table.columns) < len(columns):
        raise _refuse(f"Model inference is missing inputs: it takes {len(columns)} columns, not {len(table.columns)}")
    typed = [
        replace(_convert_column(replace(column, name=str(name)), values, is_text=table.is_text), name=name)
        for column, (name, values) in zip(columns, table.columns.items(), strict=False)  # further ones are dropped
    ]
    return Frame(columns=tuple(typed), rows=table.rows, index=table.index)


def _pack_rows(body: ScoringBody, columns: Sequence[Column]) -> Array | None:
    """Return rows of numbers that are just what the signature says, in one go; None for a body that takes more care."""
    content = body.content
    types = {column.type for column in columns}
    dtype = _DTYPES.get(types.pop()) if len(types) == 1 else None
    if dtype is None or body.format != "dataframe_split" or not isinstance(content, dict) or len(content) != 2:
        return None
    names = [column.name for column in columns]
    rows = content.get("data")
    if content.get("columns") != names or not isinstance(rows, list) or not rows:
        return None
    if not all(type(row) is list and len(row) == len(names) for row in rows):
        return None
    flat = [*chain.from_iterable(rows)]
    if not set(map(type, flat)) <= _PLAIN_KINDS[dtype]:
        return None
    try:
        values = pack(flat, dtype)
    except OverflowError:
        return None
    return Array(dtype=dtype, shape=(len(rows), len(names)), values=values, names=tuple(map(str, names)))


def _find_row(body: ScoringBody, columns: Sequence[Column]) -> RawTable | None:
    """Return the one row that a dictionary is where lists are cells; None for another body."""
    content = body.content
    if not isinstance(content, dict) or body.format not in ("inputs", "instances"):
        return None
    if not any(is_nested(format_field(column)) for column in columns):
        return None
    return RawTable(columns={str(name): [value] for name, value in content.items()}, rows=1)


def _count_columns(body: ScoringBody) -> RawTable:
    """Return a table of rows without names, or of one column, as pandas makes it: its columns are counted from 0."""
    rows = body.content if isinstance(body.content, list) else [body.content]
    if not any(isinstance(row, list) for row in rows):
        return RawTable(columns={0: rows}, rows=len(rows))
    if len({len(row) if isinstance(row, list) else None for row in rows}) != 1:
        raise ScoringError(f"`{body.format}` has rows of different lengths")
    return RawTable(columns=dict(enumerate(zip(*rows, strict=True))), rows=len(rows))


def _conform_columns(body: ScoringBody, columns: Sequence[Column]) -> Input:
    if (rows := _pack_rows(body, columns)) is not None:
        return rows
    has_names = any(column.name is not None for column in columns)
    table = _find_row(body, columns) or read_table(body) or find_columns(body)
    if table is None and len(columns) == 1 and has_names and isinstance(body.content, list):
        table = RawTable(columns={str(columns[0].name): body.content}, rows=len(body.content))
    if table is None and has_names:
        names = [column.name for column in columns if column.required]
        raise _refuse(f"Model is missing inputs {names}: rows of `{body.format}` have no names.")
    if table is None:
        table = _count_columns(body)
    if table.rows == 0:
        raise _refuse("the input has no rows")
    return _enforce_columns(table, columns) if has_names else _name_by_position(table, columns)


def _keep(content: object) -> Input:
    if content is None or isinstance(content, str | int | float | dict | list):
        return content
    raise ScoringError(f"an input cannot be a {type(content).__name__}")


def _read_freely(body: ScoringBody) -> Input:
    """Return the input of a model that says nothing about it, as MLflow reads it."""
    table = read_table(body)
    if table is not None:
        if table.rows == 0:
            raise ScoringError("the input has no rows")
        return make_frame(table)
    content = body.content
    if body.format == "inputs" and isinstance(content, dict):
        return {str(name): make_array(value, str(name)) for name, value in content.items()}
    named = find_columns(body)
    if named is not None and body.format == "instances":
        return {str(name): make_array(list(values), str(name)) for name, values in named.columns.items()}
    if named is not None:
        return _keep(content)
    return make_array(content, body.format) if isinstance(content, list) else _keep(content)


def _take_raw(body: ScoringBody) -> Input:
    """Return the input of a model that checks it itself, by its function's type hint."""
    if body.format != "inputs":
        raise _refuse(f"a model with a type hint takes `inputs`, and not `{body.format}`")
    return _keep(body.content)


def _is_all_tensors(schema: Schema) -> bool:
    return bool(schema) and isinstance(schema[0], Tensor)


def conform_input(body: ScoringBody, signature: Signature | None, *, wants_frame: bool) -> Input:
    """Return the input of the model; one that is not `wants_frame` has plain numbers as an array.

    Raises ScoringError, which names the columns.
    """
    if body.format == "llm" or isinstance(body.content, Parquet):
        return body.content if isinstance(body.content, Parquet) else _keep(body.content)
    if signature and signature.is_type_hint and body.format in FORMATS:
        return _take_raw(body)
    schema = signature.inputs if signature else None
    if not schema or (signature and signature.is_type_hint):
        value = _read_freely(body)
    elif _is_all_tensors(schema):
        value = _conform_tensors(body, [each for each in schema if isinstance(each, Tensor)])
    else:
        value = _conform_columns(body, [each for each in schema if isinstance(each, Column)])
    if isinstance(value, Array) and value.shape and count_rows(value) == 0:
        raise ScoringError("the input has no rows")
    if wants_frame:
        return value
    if isinstance(value, Array) and value.names:
        return replace(value, names=None)
    return unwrap_frame(value) if isinstance(value, Frame) else value


_CHECKS: Mapping[str, Callable[[object], bool]] = {
    "boolean": lambda value: type(value) is bool,
    "integer": lambda value: type(value) is int,
    "long": lambda value: type(value) is int,
    "float": lambda value: type(value) in (int, float),
    "double": lambda value: type(value) in (int, float),
    "string": lambda value: isinstance(value, str),
}


def _fit_param(parameter: Parameter, value: object) -> object:
    fits = _CHECKS.get(parameter.type)
    values = value if parameter.shape is not None and isinstance(value, list) else [value]
    if (parameter.shape is not None and not isinstance(value, list)) or (fits and not all(map(fits, values))):
        many = " (a list)" if parameter.shape is not None else ""
        raise _refuse(f"the parameter `{parameter.name}` is `{parameter.type}`{many}, and not `{value!r:.60}`")
    return value


def conform_params(
    given: Mapping[str, object] | None, parameters: Sequence[Parameter] | None
) -> dict[str, object] | None:
    """Return the parameters of a call with their defaults; what the signature does not name is left out, as by MLflow.

    Raises ScoringError.
    """
    if not parameters or not given:
        return None
    named = {parameter.name: parameter.default for parameter in parameters}
    return named | {each.name: _fit_param(each, given[each.name]) for each in parameters if each.name in given}
