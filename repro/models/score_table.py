"""Score a Parquet file with a model: its rows are asked in batches and written with the answers, in constant memory.

The model's own process reads and writes where its environment has pandas and pyarrow; else we do where ours has them,
and the batches cross to it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from repro.environments.lookup import Environment
from repro.environments.machine import Machine
from repro.errors import ModelError, UsageError
from repro.files import open_atomically
from repro.formats.signature import Column, Signature
from repro.models.load import LoadRequest, plan_model
from repro.models.remote import call_method
from repro.models.result_type import ResultType, Scalar, describe_type
from repro.models.score_file import PREDICTION, check_output
from repro.models.worker import Worker, begin_worker
from repro.values import frozen

_BATCH_ROWS = 65_536
_REPORT_S = 0.5
_DOUBLE = Scalar(name="double")


@frozen
class TableRequest:
    """What is scored and written: `column` is the name of the new one, `keep` the input's that are written too.

    None keeps all.
    """

    input: str
    output: str
    result: ResultType = _DOUBLE
    column: str = PREDICTION
    keep: tuple[str, ...] | None = None
    params: Mapping[str, object] | None = None


@frozen
class ScoredTable:
    """How many rows were written, how long that took, and in which environment the model was."""

    rows: int
    seconds: float
    environment: Environment | None


def list_features(signature: Signature | None) -> list[str] | None:
    """Return the columns that a model names, in its order; None where it names none."""
    fields = signature.inputs if signature else None
    names = [each.name for each in fields or () if isinstance(each, Column)]
    return [name for name in names if name is not None] if names and None not in names else None


def _describe(request: TableRequest, signature: Signature | None, target: str) -> dict[str, object]:
    return {
        "input": os.path.abspath(request.input),
        "output": target,
        "result": describe_type(request.result),
        "name": request.column,
        "keep": None if request.keep is None else list(request.keep),
        "features": list_features(signature),
        "batch": _BATCH_ROWS,
    }


def _open_here(
    worker: Worker, asked: Mapping[str, object], params: Mapping[str, object] | None, missing: object
) -> tuple[int, Callable[[], int]]:
    """Read and write in this process; only the batches cross."""
    if not (find_spec("pandas") and find_spec("pyarrow")):
        named = ", ".join(f"`{each}`" for each in missing) if isinstance(missing, list) else ""
        raise ModelError(
            f"neither the model's environment nor repro's can read Parquet: the model's has no {named}",
            hint="install `repro[spark]`, which brings pandas and pyarrow",
        )
    from repro.inside import model_result, model_table

    try:
        table = model_table.Table(asked, model_result.convert)
    except model_table.TableError as error:
        raise ModelError(str(error)) from None

    def ask(frame: object) -> object:
        return call_method(worker, "predict", (frame,), {"params": params} if params else {})

    def score() -> int:
        try:
            rows = int(table.score(ask))
        except (model_table.TableError, model_result.ResultError) as error:
            raise ModelError(str(error)) from None
        if not rows:
            table.close()
        return rows

    return int(table.rows), score


def _ask_rows(worker: Worker) -> int:
    return int(worker.ask("rows", {})[0]["rows"])


def _open_table(
    worker: Worker, request: TableRequest, signature: Signature | None, target: str
) -> tuple[int, Callable[[], int]]:
    """Return how many rows there are, and what scores some of them."""
    asked = _describe(request, signature, target)
    params = dict(request.params) if request.params else None
    header, _ = worker.ask("table", {**asked, "params": params})
    if "missing" in header:
        return _open_here(worker, asked, params, header["missing"])
    return int(header["rows"]), partial(_ask_rows, worker)


def _score_all(total: int, score: Callable[[], int], report: Callable[[str], None]) -> int:
    done, said = 0, time.monotonic()
    while rows := score():
        done += rows
        if time.monotonic() - said > _REPORT_S:
            said = time.monotonic()
            report(f"scored {done:,} of {total:,} rows")
    if done != total:
        raise ModelError(f"{done:,} of {total:,} rows were scored")
    return done


def check_input(path: str) -> None:
    """Raise UsageError where there is no such file or directory."""
    if not Path(path).exists():
        raise UsageError(f"`{path}` cannot be read (No such file or directory)")


def score_table(machine: Machine, load: LoadRequest, request: TableRequest, say: Callable[[str], None]) -> ScoredTable:
    """Write a Parquet file with the rows of another and the model's answers; nothing stays of one that fails.

    Raises ModelError, UsageError, TrackingError and what restoring raises.
    """
    check_input(request.input)
    output = check_output(request.output)
    begun = time.monotonic()
    model = plan_model(machine, load, say)
    worker = begin_worker(model.plan, meanwhile=model.mind)
    try:
        worker.hear_loaded()
        with open_atomically(os.path.abspath(output)) as file:
            total, score = _open_table(worker, request, model.directory.model.signature, file.name)
            rows = _score_all(total, score, machine.report)
    except OSError as error:
        raise UsageError(f"`{request.output}` cannot be written ({error.strerror})") from error
    finally:
        worker.close()
    return ScoredTable(rows=rows, seconds=time.monotonic() - begun, environment=model.environment)
