"""Score batches of rows where Spark has them: in a Python process of an executor, with a model's process beside it.

    <Spark's directory of files>/
        repro-model-<sha256>.zip     sent by the driver
        repro-model-<sha256>.d/      unpacked, once for each executor

The model's process is kept from batch to batch and from task to task, and ends with the Python process that has it.
Nothing here needs more than the standard library, Spark, numpy and pandas, but for restoring.
"""

from __future__ import annotations

import os
import shutil
import socket
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from repro import settings
from repro.errors import ModelError
from repro.files import new_nonce, sha256_file
from repro.models.remote import call_method
from repro.models.spark_errand import LOCK_NAME, MODEL_DIR, Errand, Parcel, unpack_errand
from repro.models.worker import RemoteError, Worker, start_worker
from repro.models.worker_process import WorkerLostError, WorkerPlan

_MOST_IDLE = 4


def _files_dir() -> Path:
    from pyspark import SparkFiles

    return Path(SparkFiles.getRootDirectory())


def _check_parcel(parcel: Parcel) -> Path:
    """Return a parcel's file. Raises ModelError where it is not what the driver has sent."""
    path = _files_dir() / parcel.name
    if sha256_file(path) != parcel.sha256:
        raise ModelError(f"`{parcel.name}` has reached the executor on `{socket.gethostname()}` with other bytes")
    return path


def _unpack(parcel: Parcel) -> Path:
    """Return the directory of a parcel's content, which several processes may want at once."""
    place = (_files_dir() / parcel.name).with_suffix(".d")
    if place.is_dir():
        return place
    temporary = place.with_name(f".{new_nonce()}.tmp")
    try:
        with zipfile.ZipFile(_check_parcel(parcel)) as archive:
            archive.extractall(temporary)
        os.rename(temporary, place)
    except OSError:
        if not place.is_dir():  # else another was faster
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return place


def _find_packed(name: str) -> Path:
    """Return where `spark.archives` has unpacked an environment. Raises ModelError."""
    places = (_files_dir() / name, Path.cwd() / name)
    found = next((each for each in places if (each / "bin" / "python").exists()), None)
    if found is None:
        looked = ", ".join(f"`{each}`" for each in places)
        raise ModelError(
            f"the executor on `{socket.gethostname()}` has no packed environment `{name}`: looked at {looked}",
            hint=f"start Spark with `spark.archives=FILE.tar.gz#{name}`",
        )
    return found


def _restore(errand: Errand, lock: Path) -> tuple[Path, str]:
    """Return the environment of a lock or a bundle in this machine's store, and the lock's digest.

    Raises ModelError where repro's own requirements are not here, and what restoring raises.
    """
    try:
        from repro.environments.machine import Machine
        from repro.environments.restore import Request, restore_environment

        machine = Machine.here(cache=errand.cache)
        made = restore_environment(machine, Request(lock=lock, python=errand.python, offline=errand.offline))
    except ImportError as error:
        if errand.known and errand.digest and (Path(errand.known) / "bin" / "python").exists():
            return Path(errand.known), errand.digest
        raise ModelError(
            f"the executor on `{socket.gethostname()}` cannot restore the environment of `{errand.name}`: its Python, "
            f"`{settings.own_python()}`, has no `{error.name}`",
            hint="install repro there, or send a packed environment: docs/spark.md",
        ) from None
    return Path(made.path), made.digest


def _find_environment(errand: Errand, place: Path) -> tuple[Path | None, str | None]:
    if errand.packed:
        return _find_packed(errand.packed), errand.digest
    if not errand.restores:
        return None, None
    found, digest = _restore(errand, _check_parcel(errand.bundle) if errand.bundle else place / LOCK_NAME)
    if errand.digest and digest != errand.digest:
        raise ModelError(f"the executor has restored the lock `{digest}` for `{errand.name}`, not `{errand.digest}`")
    return found, digest


def _start(errand: Errand) -> Worker:
    place = _unpack(errand.model)
    prefix, digest = _find_environment(errand, place)
    return start_worker(
        WorkerPlan(
            python=str(prefix / "bin" / "python") if prefix else settings.own_python(),
            environ=settings.own_environment(),
            name=errand.name,
            directory=place / MODEL_DIR,
            description=errand.description,
            prefix=str(prefix) if prefix else None,
            digest=digest,
            variables=errand.variables,
        )
    )


class _Held:
    """The models that this process of Spark's has: several of one query stay, and a few that nobody asks now."""

    def __init__(self) -> None:
        self._workers: OrderedDict[tuple[object, ...], Worker] = OrderedDict()
        self._users: dict[tuple[object, ...], int] = {}

    @contextmanager
    def use(self, errand: Errand) -> Iterator[None]:
        """Keep the process of a model for a block; after it those end that nobody has asked for long."""
        key = errand.key
        self._users[key] = self._users.get(key, 0) + 1
        try:
            yield
        finally:
            self._users[key] -= 1
            idle = [each for each in self._workers if not self._users[each]]
            for each in idle[: max(len(idle) - _MOST_IDLE, 0)]:
                self._workers.pop(each).close()

    def get(self, errand: Errand) -> Worker:
        """Return the process of a model, a new one where there is none or where it has ended."""
        key = errand.key
        worker = self._workers.get(key)
        if worker is None or not worker.is_open:
            worker = self._workers[key] = _start(errand)
        self._workers.move_to_end(key)
        return worker


_held = _Held()  # Spark's Python processes do one task at a time, and many one after another


def name_columns(parts: tuple[Any, ...], features: tuple[str, ...] | None) -> Any:
    """Return the columns that a UDF was given as a DataFrame: those of a struct as they are, others by their order.

    Raises ModelError for more columns than the signature has.
    """
    import pandas

    if len(parts) == 1 and isinstance(parts[0], pandas.DataFrame):
        return parts[0]
    if features and len(parts) > len(features):
        raise ModelError(f"the model takes {len(features)} columns, not {len(parts)}")
    names = features or tuple(map(str, range(len(parts))))
    return pandas.DataFrame(dict(zip(names, parts, strict=False)))


def _predict(worker: Worker, errand: Errand, frame: Any) -> object:
    """Return the model's answer to a batch.

    A process that is lost is replaced once: what ends one, as Linux does where memory is short, need not end the next.
    """
    kwargs: dict[str, object] = {"params": dict(errand.params)} if errand.params else {}
    try:
        return call_method(worker, "predict", (frame,), kwargs)
    except WorkerLostError as error:
        said = f"{error.message}: another is asked the batch of {len(frame)} rows again"
    warnings.warn(said, RuntimeWarning, stacklevel=2)
    return call_method(_held.get(errand), "predict", (frame,), kwargs)


def _ask(errand: Errand, frame: Any) -> Any:
    """Return a batch's answers as they are to be."""
    from repro.inside import model_result

    if not len(frame):
        return model_result.make_empty(errand.result)
    worker = _held.get(errand)
    try:
        return model_result.convert(_predict(worker, errand, frame), len(frame), errand.result)
    except RemoteError as error:
        failed = RemoteError(f"`{errand.name}` has failed on a batch of {len(frame)} rows: {error.message}")
        failed.kind, failed.traceback = error.kind, error.traceback
        raise failed from None
    except WorkerLostError:
        raise
    except (model_result.ResultError, TypeError, ModelError) as error:
        raise ModelError(f"`{errand.name}`: {error}") from None


def score_batches(facts: Mapping[str, object], batches: Iterator[Any]) -> Iterator[Any]:
    """Yield the answers to each batch of a task. Raises ModelError and what restoring raises."""
    errand = unpack_errand(facts)
    with _held.use(errand):
        for batch in batches:
            parts = batch if isinstance(batch, tuple) else (batch,)
            yield _ask(errand, name_columns(parts, errand.features))
