"""A model's input example as files: `input_example.json`, and the request that would send it to a server.

Both are as MLflow writes and reads them. A tuple of an input and a mapping is an input with parameters.
"""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Mapping, Sequence
from typing import Any

from repro.errors import ModelError
from repro.formats.mlmodel import Example
from repro.models.infer import (
    as_array,
    find_matrix,
    is_array,
    is_frame,
    is_kind,
    is_missing,
    is_scalar,
    is_sparse,
    list_columns,
)
from repro.values import frozen

FILE_NAME = "input_example.json"
SERVING_FILE_NAME = "serving_input_example.json"


@frozen
class EncodedExample:
    """The texts of both files, and the entry of the MLmodel that names them."""

    entry: Example
    text: str
    serving_text: str


def split_example(example: object) -> tuple[object, Mapping[str, object] | None]:
    """Return an example's input and its parameters, None where it has none."""
    if isinstance(example, tuple) and len(example) == 2 and isinstance(example[1], dict):
        return example[0], example[1]
    return example, None


def _as_json(value: Any, where: str) -> Any:
    """Return a value as JSON has it. Raises ModelError for what JSON has no word for."""
    if is_missing(value):
        return None
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    if isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): _as_json(each, where) for key, each in value.items()}
    if is_array(value) or isinstance(value, list | tuple):
        return [_as_json(each, where) for each in (value.tolist() if hasattr(value, "tolist") else value)]
    if is_kind(value, "numpy", "datetime64"):
        return str(value)
    if hasattr(value, "item") and is_scalar(value):
        return _as_json(value.item(), where)
    raise ModelError(f"{where} has a value of the type `{type(value).__name__}`, which JSON has no word for")


def _as_array_json(array: Any, where: str) -> Any:
    import_safe = array.astype("str") if array.dtype.kind == "M" else array
    return _as_json(import_safe, where)


def _encode_rows(names: Sequence[object], columns: Sequence[Sequence[object]], where: str) -> dict[str, object]:
    rows = [[_as_json(cell, where) for cell in row] for row in zip(*columns, strict=True)]
    return {"data": rows} if list(names) == list(range(len(names))) else {"columns": list(names), "data": rows}


def _encode_frame(frame: Any, where: str) -> dict[str, object]:
    names = [name if isinstance(name, str) else int(name) if _is_whole(name) else str(name) for name in frame.columns]
    return _encode_rows(names, [frame.iloc[:, number].tolist() for number in range(len(names))], where)


def _is_whole(name: object) -> bool:
    return isinstance(name, int) or hasattr(name, "__index__")


def _encode_sparse(matrix: Any) -> dict[str, object]:
    content = {key: getattr(matrix, key).tolist() for key in ("data", "indices", "indptr")}
    return {**content, "shape": list(matrix.shape)}


def _encode(value: Any, where: str) -> tuple[str, object, dict[str, object]]:
    """Return an input's type in MLflow's words, what the example's file holds, and the request's body."""
    value = as_array(value)
    if is_kind(value, "pandas", "Series"):
        value = value.to_frame()
    table = _encode_frame(value, where) if is_frame(value) else None
    if table is None and (columns := list_columns(value)):
        table = _encode_rows(list(columns), list(columns.values()), where)
    if table is not None:
        return "dataframe", table, {"dataframe_split": table}
    if is_sparse(value):
        matrix = value if getattr(value, "format", "") in ("csr", "csc") else value.tocsr()
        return f"sparse_matrix_{matrix.format}", _encode_sparse(matrix), {"inputs": matrix.toarray().tolist()}
    if is_array(value):
        content = _as_array_json(value, where)
    elif isinstance(value, Mapping) and value and all(is_array(as_array(each)) for each in value.values()):
        content = {str(name): _as_array_json(as_array(each), where) for name, each in value.items()}
    else:
        content = _as_json(value, where)
        return "ndarray" if find_matrix(value) else "json_object", content, {"inputs": content}
    return "ndarray", content, {"inputs": content}


def encode_example(example: object, *, where: str = "the input example") -> EncodedExample:
    """Return an input example as MLflow's files have it. Raises ModelError for what JSON has no word for."""
    value, params = split_example(example)
    kind, content, request = _encode(value, where)
    others: dict[str, object] = {}
    orient = None
    if kind == "dataframe":
        orient = "split" if isinstance(content, dict) and "columns" in content else "values"
    if params is not None:
        named = _as_json(params, f"{where}'s parameters")
        content, request, others = (
            {"inputs": content, "params": named},
            {**request, "params": named},
            {"params": "true"},
        )
    entry = Example(
        artifact_path=FILE_NAME,
        type=kind,
        serving_input_path=SERVING_FILE_NAME,
        pandas_orient=orient,
        others=others,
    )
    return EncodedExample(entry=entry, text=json.dumps(content), serving_text=json.dumps(request, indent=2))
