"""The files that `repro predict` reads and writes: JSON, CSV and Parquet."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Sequence
from enum import Enum
from pathlib import Path, PurePath
from typing import Any

from repro.errors import ModelError, UsageError
from repro.files import write_atomically
from repro.formats.scoring import FORMATS, LLM_KEYS, Parquet, ScoringBody, parse_body, parse_columns_body, read_csv

PREDICTION = "prediction"


class FileType(Enum):
    """What a file holds."""

    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"


def find_type(path: str | None, given: str | None = None, *, option: str = "") -> FileType:
    """Return a file's type: the one given by an `option`, else by its ending, else for no file JSON.

    Raises UsageError.
    """
    known = ", ".join(each.value for each in FileType)
    try:
        if given is not None:
            return FileType(given)
        return FileType.JSON if path is None else FileType(PurePath(path).suffix.lstrip(".").lower())
    except ValueError:
        name = f"`{given}`" if given is not None else f"`{path}`"
        how = f"by ending or `{option}`" if option else "by ending"
        raise UsageError(f"{name} is of no type that is known", hint=f"one of {known}, {how}") from None


def read_input(path: str) -> bytes:
    """Return a file's content. Raises UsageError."""
    try:
        return Path(os.path.expanduser(path)).read_bytes()
    except OSError as error:
        raise UsageError(f"`{path}` cannot be read ({error.strerror})") from error


def check_output(path: str) -> str:
    """Return where an answer can be written, before a model is asked for it. Raises UsageError."""
    path = os.path.expanduser(path)
    if os.path.isdir(path):
        raise UsageError(f"`{path}` cannot be written (it is a directory)")
    if not os.path.isdir(os.path.dirname(path) or "."):
        raise UsageError(f"`{path}` cannot be written (`{os.path.dirname(path)}` is no directory)")
    return path


def write_output(path: str, content: bytes) -> None:
    """Write an answer, whole or not at all. Raises UsageError."""
    try:
        write_atomically(path, content)
    except OSError as error:
        raise UsageError(f"`{path}` cannot be written ({error.strerror})") from error


def _parse_json(content: bytes, where: str, known_params: Sequence[str]) -> ScoringBody:
    try:
        value = json.loads(content.decode("utf-8-sig"))
    except RecursionError:
        raise ModelError(f"{where} is nested too deeply") from None
    except ValueError as error:
        raise ModelError(f"{where} is no JSON: {error}") from error
    if isinstance(value, dict) and not any(key in value for key in (*FORMATS, *LLM_KEYS)):
        if {"columns", "data"} <= value.keys():
            return ScoringBody(format="dataframe_split", content=value)
        return parse_columns_body(value, known_params=known_params)
    if isinstance(value, list):
        is_table = bool(value) and all(isinstance(each, dict) for each in value)
        return ScoringBody(format="dataframe_records" if is_table else "inputs", content=value)
    return parse_body(value, known_params=known_params)


def parse_input(content: bytes, type_: FileType, *, where: str, known_params: Sequence[str] = ()) -> ScoringBody:
    """Return what a file asks. JSON is a body of MLflow's protocol, or its table or list alone. Raises ModelError."""
    if type_ is FileType.PARQUET:
        return ScoringBody(format="parquet", content=Parquet(content=content))
    if type_ is FileType.CSV:
        return ScoringBody(format="csv", content=read_csv(content))
    return _parse_json(content, where, known_params)


def _hide_missing(value: object) -> object:
    """Return a value in which what JSON cannot say, NaN and infinity, is null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_hide_missing(each) for each in value]
    return {key: _hide_missing(each) for key, each in value.items()} if isinstance(value, dict) else value


def _list_rows(answer: object) -> tuple[list[str], list[list[Any]]]:
    """Return an answer as a table: its columns and rows."""
    values: list[Any] = answer if isinstance(answer, list) else [answer]
    if values and all(isinstance(each, dict) for each in values):
        names = list(dict.fromkeys(str(key) for each in values for key in each))
        return names, [[each.get(name) for name in names] for each in values]
    if values and all(isinstance(each, list) for each in values):
        width = max(map(len, values))
        return [str(number) for number in range(width)], values
    return [PREDICTION], [[each] for each in values]


def format_answer(answer: object, type_: FileType) -> bytes:
    """Return an answer as the content of a file; numbers are written so that they are read back the same.

    Raises ModelError for one that the type cannot say.
    """
    if isinstance(answer, bytes):
        return answer
    if type_ is FileType.JSON:
        try:
            text = json.dumps({"predictions": answer}, allow_nan=False)
        except ValueError:
            text = json.dumps({"predictions": _hide_missing(answer)})
        return f"{text}\n".encode()
    names, rows = _list_rows(answer)
    if any(isinstance(each, list | dict) for row in rows for each in row):
        raise ModelError("the model's answer is no table, which CSV is", hint="write it as JSON: `-o FILE.json`")
    target = io.StringIO(newline="")
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(["" if each is None else each for each in row] for row in rows)
    return target.getvalue().encode(errors="surrogatepass")
