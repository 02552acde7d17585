"""What crosses to a process that scores (`inside/model_score.py`): inputs as trees with buffers, and its answers."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from repro.formats.scoring import Array, Frame, FrameColumn, Input, Parquet, ScoringError

Buffers = Sequence[bytes | bytearray | memoryview]

_FORMATS = {
    "<f8": "d", "<f4": "f", "<i8": "q", "<i4": "i", "<i2": "h", "|i1": "b", "|b1": "?",
    "<u8": "Q", "<u4": "I", "<u2": "H", "|u1": "B",
}  # fmt: skip


def _encode_values(values: bytes | list[object], dtype: str, buffers: list[bytes]) -> dict[str, object]:
    if isinstance(values, bytes):
        buffers.append(values)
        return {"dtype": dtype, "buffer": len(buffers) - 1}
    if any(isinstance(value, bytes) for value in values):
        texts = [base64.b64encode(value).decode() if isinstance(value, bytes) else value for value in values]
        return {"dtype": dtype, "values": texts, "bytes": True}
    return {"dtype": dtype, "values": values}


def _encode_column(column: FrameColumn, buffers: list[bytes]) -> dict[str, object]:
    return {"name": column.name, **_encode_values(column.values, column.dtype, buffers)}


def encode_input(value: Input, buffers: list[bytes]) -> dict[str, object]:
    """Return an input as a worker reads it; what belongs beside it is added to `buffers`."""
    if isinstance(value, Array):
        named = {} if value.names is None else {"names": value.names}
        return {"kind": "array", "shape": value.shape, **named, **_encode_values(value.values, value.dtype, buffers)}
    if isinstance(value, Frame):
        columns = [_encode_column(column, buffers) for column in value.columns]
        index = {} if value.index is None else {"index": value.index}
        return {"kind": "frame", "columns": columns, "rows": value.rows, **index}
    if isinstance(value, Parquet):
        buffers.append(value.content)
        return {"kind": "parquet", "buffer": len(buffers) - 1}
    if isinstance(value, dict) and any(isinstance(each, Array) for each in value.values()):
        return {"kind": "dict", "items": {name: encode_input(each, buffers) for name, each in value.items()}}
    return {"kind": "plain", "value": value}


def _read_array(tree: Mapping[str, Any], buffers: Buffers) -> object:
    """Return nested lists; a memoryview makes them of one or two axes at once."""
    shape = tuple(tree["shape"])
    flat = memoryview(buffers[tree["buffer"]]).cast(cast("Any", _FORMATS[tree["dtype"]]))
    if 0 in shape:
        return [] if shape[0] == 0 else [[] for _ in range(shape[0])]
    return cast("Any", memoryview(flat.cast("B"))).cast(_FORMATS[tree["dtype"]], shape).tolist()


def read_answer(tree: Mapping[str, Any], buffers: Buffers) -> object | Exception:
    """Return a call's answer as JSON can say it, or the error that the model has raised."""
    if "error" in tree:
        error = tree["error"]
        return ScoringError(
            "Encountered an unexpected error while evaluating the model. Verify that the input is compatible with the "
            f"model for inference. {error['type']}: {error['message']}"[:4000]
        )
    if "parquet" in tree:
        return bytes(buffers[tree["parquet"]])
    if "array" in tree:
        return _read_array(tree["array"], buffers)
    return cast("object", json.loads(buffers[tree["json"]]))


def read_answers(header: Mapping[str, Any], buffers: Buffers, count: int) -> list[object | Exception]:
    """Return the answers to so many calls. Raises ValueError for what none of us has written."""
    try:
        trees = header["answers"]
        if len(trees) != count:
            raise ValueError("it has answered other calls")
        return [read_answer(tree, buffers) for tree in trees]
    except (KeyError, IndexError, TypeError, AttributeError, RecursionError, MemoryError) as error:
        raise ValueError(f"it is no answer ({type(error).__name__})") from error
