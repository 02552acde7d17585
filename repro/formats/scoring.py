"""MLflow's scoring protocol as values: what a request's body holds, and the bodies of answers and errors.

A body is a JSON object with exactly one of FORMATS, and `params`; one with a key of LLM_KEYS is an input as it is.
What it holds becomes an `Array`, a `Frame`, a dict of arrays, or stays plain JSON: no numpy is needed here.
"""

from __future__ import annotations

import csv
import io
import math
from array import array
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, cast

from repro.errors import ModelError
from repro.values import frozen, replace

FORMATS = ("dataframe_split", "dataframe_records", "instances", "inputs")
LLM_KEYS = ("messages", "prompt", "input")
JSON_TYPE, CSV_TYPE, PARQUET_TYPE = "application/json", "text/csv", "application/vnd.apache.parquet"
CONTENT_TYPES = (CSV_TYPE, JSON_TYPE, PARQUET_TYPE)
TIMEOUT_TEXT = "Request processing time exceeded limit"  # MLflow's words

OBJECT, TEXT = "O", "U"
TYPECODES = {"<f8": "d", "<f4": "f", "<i8": "q", "<i4": "i", "|b1": "b"}
_MISSING = frozenset(
    {"", "#N/A", "#NA", "-NaN", "-nan", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"}
)  # what pandas.read_csv takes for a missing value
_TRUTHS = {"True": True, "TRUE": True, "true": True, "False": False, "FALSE": False, "false": False}


class ScoringError(ModelError):
    """A request cannot be answered; `status` is HTTP's number for why, `error_code` MLflow's word, `text` a plain body.

    `retry_after_s` says when to ask again.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        error_code: str = "BAD_REQUEST",
        is_text: bool = False,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error_code = error_code
        self.is_text = is_text
        self.retry_after_s = retry_after_s


@frozen
class Array:
    """An array in C order: `dtype` is numpy's text of it; the values are bytes, and of OBJECT and TEXT a flat list.

    One with `names` is a table whose columns have one type.
    """

    dtype: str
    shape: tuple[int, ...]
    values: bytes | list[object]
    names: tuple[str, ...] | None = None


@frozen
class FrameColumn:
    """A column of a frame; the values are bytes, and of OBJECT a list."""

    name: str | int
    dtype: str
    values: bytes | list[object]


@frozen
class Frame:
    """A table; without an `index` its rows are counted from 0."""

    columns: tuple[FrameColumn, ...]
    rows: int
    index: tuple[object, ...] | None = None


@frozen
class RawTable:
    """A table as a request has it: the values of each column, not typed yet; of CSV (`is_text`) each is a text."""

    columns: Mapping[str | int, Sequence[object]]
    rows: int
    index: tuple[object, ...] | None = None
    is_text: bool = False


@frozen
class Parquet:
    """A Parquet file, which the model's own environment reads."""

    content: bytes


@frozen
class ScoringBody:
    """What a request asks: its input, in which of FORMATS it came (`llm`, `csv`, `parquet`, `columns`), its params."""

    format: str
    content: object
    params: Mapping[str, object] | None = None


Input = Array | Frame | Parquet | Mapping[str, object] | Sequence[object] | str | int | float | bool | None


def _parse_llm(content: Mapping[str, object], known_params: Sequence[str]) -> ScoringBody:
    params = {key: value for key, value in content.items() if key in known_params}
    data = {key: value for key, value in content.items() if key not in known_params}
    return ScoringBody(format="llm", content=data, params=params or None)


def parse_body(content: object, *, known_params: Sequence[str] = ()) -> ScoringBody:
    """Return what a decoded JSON body asks; `known_params` are those of the signature. Raises ScoringError."""
    expected = f"The input must be a JSON dictionary with exactly one of the input fields {', '.join(FORMATS)}"
    if not isinstance(content, dict):
        raise ScoringError(f"{expected}. Received a {type(content).__name__}.")
    if any(key in content for key in LLM_KEYS):
        return _parse_llm(content, known_params)
    named = [key for key in FORMATS if key in content]
    if len(named) != 1:
        raise ScoringError(f"{expected}. Received dictionary with input fields: {list(content)[:20]}.")
    params = content.get("params")
    if params is not None and not isinstance(params, dict):
        raise ScoringError(f"`params` must be a dictionary. Received a {type(params).__name__}.")
    return ScoringBody(format=named[0], content=content[named[0]], params=params)


def parse_columns_body(content: object, *, known_params: Sequence[str] = ()) -> ScoringBody:
    """Return what R's `/predict` asks: a data frame's columns (`{"x": [1, 2]}`, or scalars), or a body as above.

    Raises ScoringError.
    """
    if not isinstance(content, dict) or not content:
        raise ScoringError('the body must be a JSON dictionary of columns, e.g. `{"x": [1, 2]}`')
    if any(key in FORMATS for key in content):
        return parse_body(content, known_params=known_params)
    columns = {key: value if isinstance(value, list) else [value] for key, value in content.items()}
    return ScoringBody(format="columns", content=columns)


def parse_content_type(header: str) -> str:
    """Return the media type of a Content-Type header. Raises ScoringError (415), in MLflow's words."""
    mime, *pairs = [part.strip() for part in header.split(";")]
    values = {
        key.strip().lower(): value.strip().strip('"') for key, _, value in (pair.partition("=") for pair in pairs)
    }
    if values.pop("charset", "utf-8").lower() not in ("utf-8", "utf8"):
        raise ScoringError("The scoring server only supports UTF-8", status=415, is_text=True)
    if others := sorted(values):
        text = f"Unrecognized content type parameters: {', '.join(others)}. MLflow 2.0 has replaced them: see the keys"
        raise ScoringError(f"{text} {', '.join(FORMATS)} of the body.", status=415, is_text=True)
    if mime.lower() not in CONTENT_TYPES:
        text = "This predictor only supports the following content types: Types: "
        raise ScoringError(f"{text}{list(CONTENT_TYPES)}. Got '{header}'.", status=415, is_text=True)
    return mime.lower()


def _check_lengths(columns: Mapping[str | int, Sequence[object]]) -> int:
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise ScoringError("The length of values for each input/column name are not the same")
    return lengths.pop() if lengths else 0


def _read_split(content: object) -> RawTable:
    if not isinstance(content, dict):
        raise ScoringError(f"Dataframe split format must be a dictionary. Got {type(content).__name__}.")
    if "data" not in content or content.keys() - {"columns", "data", "index"}:
        found = sorted(map(str, content))[:20]
        text = "Dataframe split format must have 'data' field and optionally 'columns' and 'index' fields."
        raise ScoringError(f"{text} Got {found}.")
    rows, names, index = content["data"], content.get("columns"), content.get("index")
    if not isinstance(rows, list):
        raise ScoringError("`dataframe_split.data` is no list of rows")
    if rows and not any(isinstance(row, list) for row in rows):
        rows = [[value] for value in rows]  # one column, as pandas has it
    if names is None:
        names = list(range(len(rows[0]) if rows and isinstance(rows[0], list) else 0))
    if not isinstance(names, list) or not all(isinstance(name, str) or type(name) is int for name in names):
        raise ScoringError("`dataframe_split.columns` is no list of names")
    if len(set(names)) != len(names):
        raise ScoringError("`dataframe_split.columns` has a name twice")
    for number, row in enumerate(rows):
        if type(row) is not list or len(row) != len(names):
            had = f"{len(row)} values" if isinstance(row, list) else f"a {type(row).__name__}"
            raise ScoringError(f"`dataframe_split.data` has {had} in row {number}, and {len(names)} columns")
    if index is not None and (not isinstance(index, list) or len(index) != len(rows)):
        raise ScoringError("`dataframe_split.index` has not one value for each row")
    values = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return RawTable(
        columns=dict(zip(names, values, strict=True)), rows=len(rows), index=tuple(index) if index else None
    )


def _read_records(content: object, where: str) -> RawTable:
    if not isinstance(content, list):
        raise ScoringError(f"{where} must be a list of records. Got {type(content).__name__}.")
    if not all(type(record) is dict for record in content):
        raise ScoringError(f"{where} must be a list of dictionaries, one for each row")
    if not content:
        return RawTable(columns={}, rows=0)
    names = content[0].keys()
    if any(record.keys() != names for record in content):
        names = dict.fromkeys(chain.from_iterable(content))
        return RawTable(columns={name: [row.get(name) for row in content] for name in names}, rows=len(content))
    return RawTable(columns={name: [row[name] for row in content] for name in names}, rows=len(content))


def read_csv(content: bytes) -> RawTable:
    """Return the table of a CSV body, whose first line names the columns. Raises ScoringError."""
    try:
        lines = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ScoringError(f"Failed to parse input as CSV in UTF-8: {error}") from error
    rows = [line for line in lines[1:] if line]
    if not lines or not lines[0]:
        raise ScoringError("Failed to parse input as CSV: it has no line that names the columns")
    names = lines[0]
    if len(set(names)) != len(names):
        raise ScoringError("Failed to parse input as CSV: it has a column twice")
    for number, row in enumerate(rows):
        if len(row) != len(names):
            raise ScoringError(
                f"Failed to parse input as CSV: row {number} has {len(row)} values for {len(names)} columns"
            )
    values = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return RawTable(columns=dict(zip(names, values, strict=True)), rows=len(rows), is_text=True)


def read_table(body: ScoringBody) -> RawTable | None:
    """Return the table that a body holds, None where it holds arrays or something else. Raises ScoringError."""
    content = body.content
    if isinstance(content, RawTable):
        return content
    if body.format == "dataframe_split":
        return _read_split(content)
    if body.format == "dataframe_records":
        return _read_records(content, "Dataframe records format")
    if body.format == "columns" and isinstance(content, dict):
        return RawTable(columns=content, rows=_check_lengths(content))
    return None


def find_columns(body: ScoringBody) -> RawTable | None:
    """Return the table that named lists are (`instances` of dictionaries, `inputs` of lists), else None.

    Raises ScoringError.
    """
    content = body.content
    if body.format == "instances" and isinstance(content, list) and content and isinstance(content[0], dict):
        return _read_records(content, "`instances`")
    if body.format == "inputs" and isinstance(content, list) and content and isinstance(content[0], dict):
        return _read_records(content, "`inputs`")
    if body.format in ("instances", "inputs") and isinstance(content, dict):
        columns: dict[str | int, Sequence[object]] = {
            str(key): value if isinstance(value, list) else [value] for key, value in content.items()
        }
        return RawTable(columns=columns, rows=_check_lengths(columns))
    return None


def pack(values: Sequence[object], dtype: str) -> bytes:
    """Return numbers or truths as the bytes of an array. Raises OverflowError and TypeError."""
    return array(TYPECODES[dtype], cast("Any", values)).tobytes()


def _pack_missing(values: Sequence[object]) -> bytes:
    return pack([math.nan if value is None else value for value in values], "<f8")


def unpack(values: bytes | list[object], dtype: str) -> list[Any]:
    """Return the values of an array, flat."""
    return values if isinstance(values, list) else memoryview(values).cast(cast("Any", TYPECODES[dtype])).tolist()


_NUMBERS = frozenset({int, float, type(None)})


def infer_values(values: Sequence[object]) -> tuple[str, bytes | list[object]]:
    """Return the type that pandas finds in JSON's values, and them; a missing number is NaN."""
    kinds = set(map(type, values))
    try:
        if kinds in ({float}, {int, float}):
            return "<f8", pack(values, "<f8")
        if kinds == {int}:
            return "<i8", pack(values, "<i8")
        if kinds == {bool}:
            return "|b1", pack(values, "|b1")
        if kinds <= _NUMBERS and kinds != {type(None)} and kinds:
            return "<f8", _pack_missing(values)
    except OverflowError:
        pass  # a whole number too large for any: pandas has it as an object
    return OBJECT, list(values)


def _read_text(value: str) -> object:
    return None if value in _MISSING else value


def infer_text(values: Sequence[str]) -> list[object]:
    """Return a column of CSV as whole numbers, numbers, truths or texts, whichever all of it can be."""
    known = [_read_text(value) for value in values]
    present = [str(value) for value in known if value is not None]
    if present and len(present) == len(known) and all(value in _TRUTHS for value in present):
        return [_TRUTHS[value] for value in present]
    if any("_" in value for value in present):  # a number to Python alone
        return known
    for kind in (int, float):
        try:
            return [None if value is None else kind(str(value)) for value in known]
        except ValueError:
            continue
    return known


def make_frame(table: RawTable) -> Frame:
    """Return a table with the types that its values have."""
    columns = []
    for name, values in table.columns.items():
        dtype, packed = infer_values(infer_text(values) if table.is_text else values)  # type: ignore[arg-type]
        columns.append(FrameColumn(name=name, dtype=dtype, values=packed))
    return Frame(columns=tuple(columns), rows=table.rows, index=table.index)


def make_array(value: object, where: str) -> Array:
    """Return nested lists as an array. Raises ScoringError where their lengths differ."""
    shape: list[int] = []
    flat: list[object] = [value]
    while flat and isinstance(flat[0], list):
        length = len(flat[0])
        for each in flat:
            if type(each) is not list or len(each) != length:
                raise ScoringError(f"`{where}` has lists of different lengths where an array is wanted")
        shape.append(length)
        flat = list(chain.from_iterable(flat))  # type: ignore[arg-type]
    if any(isinstance(each, list) for each in flat):
        raise ScoringError(f"`{where}` has lists beside values where an array is wanted")
    kinds = set(map(type, flat))
    if type(None) in kinds:
        return Array(dtype=OBJECT, shape=tuple(shape), values=flat)
    dtype, values = infer_values(flat)
    if dtype == OBJECT and kinds == {str}:
        dtype = TEXT
    return Array(dtype=dtype if flat else "<f8", shape=tuple(shape), values=values if flat else b"")


def count_rows(value: Input) -> int:
    """Return how many rows an input has, 1 where it has none to count."""
    if isinstance(value, Frame):
        return value.rows
    return value.shape[0] if isinstance(value, Array) and value.shape else 1


def find_kind(value: Input) -> object:
    """Return what inputs share that can be joined into one, a value for a dict's key; None for one that cannot."""
    if isinstance(value, Array):
        return (value.dtype, value.shape[1:], value.names) if value.shape and isinstance(value.values, bytes) else None
    if not isinstance(value, Frame) or value.index is not None:
        return None
    parts: list[object] = []
    for column in value.columns:
        kinds = None if isinstance(column.values, bytes) else frozenset(map(type, column.values))
        if kinds and not kinds <= {str, type(None)}:
            return None
        parts.append((column.name, column.dtype, kinds))
    return tuple(parts)


def _join_arrays(arrays: Sequence[Array]) -> Array:
    first = arrays[0]
    shape = (sum(each.shape[0] for each in arrays), *first.shape[1:])
    return replace(first, shape=shape, values=b"".join(cast("bytes", each.values) for each in arrays))


def _join_frames(frames: Sequence[Frame]) -> Frame:
    columns = []
    for number, column in enumerate(frames[0].columns):
        parts = [frame.columns[number].values for frame in frames]
        is_raw = isinstance(column.values, bytes)
        joined: bytes | list[object] = b"".join(cast("list[bytes]", parts)) if is_raw else [*chain.from_iterable(parts)]
        columns.append(FrameColumn(name=column.name, dtype=column.dtype, values=joined))
    return Frame(columns=tuple(columns), rows=sum(each.rows for each in frames))


def join_inputs(values: Sequence[Input]) -> Array | Frame:
    """Return one input with the rows of several of one kind, in their order."""
    if isinstance(values[0], Array):
        return _join_arrays(cast("Sequence[Array]", values))
    return _join_frames(cast("Sequence[Frame]", values))


def format_error(error: ScoringError) -> dict[str, str]:
    """Return MLflow's body of an error."""
    return {"error_code": error.error_code, "message": error.message}
