"""Make a function of Spark's of a model: its rows are asked where they are, in the model's own environment.

Everything that an executor needs is in the function itself and among the session's files, so that Spark can run a lost
executor's tasks elsewhere.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Union

import repro
from repro import settings
from repro.environments.lookup import Environment
from repro.environments.machine import Machine
from repro.errors import ModelError, UsageError
from repro.models.directory import ModelDirectory, describe
from repro.models.environment import restore_with_lock
from repro.models.load import LoadRequest, mind_drift, open_model
from repro.models.result_type import ResultType, Struct, describe_type, format_ddl
from repro.models.score_table import list_features
from repro.models.spark_errand import LOCK_NAME, MODEL_DIR, Errand, Parcel, pack_errand
from repro.models.spark_parcel import copy_parcel, list_files, make_parcel, send
from repro.models.trust import refuse_code
from repro.snapshots.load import load_lock
from repro.values import frozen

Parcels = list[tuple[Parcel, Path]]


@frozen
class UdfRequest:
    """What a function is to answer, and where executors have the environment from.

    `packed` is the name of a directory that `spark.archives` unpacks, `bundle` a zip of `repro bundle`; `cache` is
    the directory of the executors' stores, None for what their own variables say.
    """

    result: ResultType
    params: Mapping[str, object] | None = None
    packed: str | None = None
    bundle: Path | None = None
    cache: str | None = None


def check_spark() -> None:
    """Raise ModelError where what a function of Spark's needs is not here."""
    missing = [name for name in ("pyspark", "pandas", "pyarrow") if find_spec(name) is None]
    if missing:
        raise ModelError(
            f"this environment has no {', '.join(f'`{each}`' for each in missing)}, which Spark's functions need",
            hint="install `repro[spark]`",
        )


def get_context(spark: Any) -> Any:
    """Return a session's SparkContext. Raises UsageError where it has none, as with Spark Connect."""
    context = getattr(spark, "sparkContext", None)
    if context is None:
        kind = type(spark)
        what = "a session of Spark Connect" if ".connect." in kind.__module__ else f"a `{kind.__name__}`"
        raise UsageError(
            f"`spark` is {what}, which has no SparkContext to send a model to executors with",
            hint="use a session of `SparkSession.builder.master(...)`",
        )
    return context


def _read_digest(lock: Path) -> str:
    return load_lock(lock).snapshot.compute_digest()


def _check_bundle(directory: ModelDirectory, bundle: Path) -> str:
    """Return the digest of a bundle's lock. Raises UsageError where the model has another."""
    digest = _read_digest(bundle)
    if directory.lock and (own := _read_digest(directory.lock)) != digest:
        raise UsageError(
            f"`{bundle}` is a bundle of the lock `{digest}`, and `{directory.name}` has `{own}`",
            hint=f"make it of the model's: `repro bundle {directory.path} -o {bundle}`",
        )
    return digest


@frozen
class _Environment:
    """What executors are told of the environment: its lock, the one that the driver has made, and the lock's digest."""

    restores: bool
    lock: Path | None = None
    here: Environment | None = None
    digest: str | None = None


def _prepare_environment(
    machine: Machine, directory: ModelDirectory, load: LoadRequest, request: UdfRequest, say: Callable[[str], None]
) -> _Environment:
    """Restore here what executors will restore: what is wrong is said at once, and a store that is shared has it."""
    if request.packed:
        return _Environment(restores=True, digest=_read_digest(directory.lock) if directory.lock else None)
    if request.bundle:
        return _Environment(restores=True, digest=_check_bundle(directory, request.bundle))
    if not mind_drift(machine, directory, load):
        return _Environment(restores=False)
    environment, lock = restore_with_lock(machine, directory, load.wish, say)
    return _Environment(restores=True, lock=lock, here=environment, digest=environment.digest)


def _pack_model(directory: ModelDirectory, lock: Path | None) -> tuple[Parcel, Path]:
    files = {f"{MODEL_DIR}/{name}": path for name, path in list_files(directory.path).items()}
    return make_parcel("model", files | ({LOCK_NAME: lock} if lock else {}))


def _pack_library() -> tuple[Parcel, Path]:
    root = Path(repro.__file__).parent
    return make_parcel("code", {f"repro/{name}": path for name, path in list_files(root).items()})


@frozen
class Assignment:
    """What executors are told, what they are sent beside it, and the environment that was made here for it, if any."""

    errand: Errand
    parcels: Parcels
    environment: Environment | None


def make_assignment(machine: Machine, load: LoadRequest, request: UdfRequest, say: Callable[[str], None]) -> Assignment:
    """Return what executors are given to do. Raises ModelError and what restoring raises."""
    if request.packed and request.bundle:
        raise UsageError("give either a packed environment, `packed`, or a `bundle`")
    directory = open_model(machine, load.uri, flavor=load.flavor, run_id=load.run_id).directory
    refuse_code(directory, load.flavor, environ=machine.environ)
    environment = _prepare_environment(machine, directory, load, request, say)
    model = _pack_model(directory, environment.lock)
    bundle = copy_parcel("bundle", request.bundle) if request.bundle else None
    features = list_features(directory.model.signature)
    errand = Errand(
        name=directory.name,
        model=model[0],
        description=describe(directory, load.flavor),
        result=describe_type(request.result),
        features=None if features is None else tuple(features),
        params=request.params,
        restores=environment.restores,
        packed=request.packed,
        bundle=bundle[0] if bundle else None,
        known=environment.here.path if environment.here else None,
        digest=environment.digest,
        python=settings.locate_python(load.wish.python, machine.environ) if load.wish.python else None,
        offline=load.wish.offline,
        cache=request.cache,
        variables=load.variables,
    )
    parcels = [model, *([bundle] if bundle else [])]
    return Assignment(errand=errand, parcels=parcels, environment=environment.here)


def _make_function(facts: dict[str, object], library: dict[str, str]) -> Callable[[Iterator[Any]], Iterator[Any]]:
    """Return what executors run. It goes to them as it is, for repro may not be there: it brings that along."""

    def score(batches: Iterator[Any]) -> Iterator[Any]:
        import hashlib
        import os
        import shutil
        import sys
        import uuid
        import zipfile

        if "repro" not in sys.modules:
            from pyspark import SparkFiles

            source = SparkFiles.get(library["name"])
            place = source[: -len(".zip")] + ".d"
            if not os.path.isdir(place):
                temporary = f"{place}.{uuid.uuid4().hex}"
                with open(source, "rb") as file:
                    if hashlib.sha256(file.read()).hexdigest() != library["sha256"]:
                        raise RuntimeError(f"`{library['name']}` has reached the executor with other bytes")
                with zipfile.ZipFile(source) as archive:
                    archive.extractall(temporary)
                try:
                    os.rename(temporary, place)
                except OSError:  # another was faster
                    shutil.rmtree(temporary, ignore_errors=True)
            sys.path.insert(0, place)
        from repro.models.spark_executor import score_batches

        yield from score_batches(facts, batches)

    return score


def _annotate(function: Callable[..., Any], result: ResultType) -> None:
    """Say in type hints, as Spark wants it, that batches of one or more columns go in and come out."""
    import pandas

    answer = pandas.DataFrame if isinstance(result, Struct) else pandas.Series
    columns = tuple[Union[pandas.Series, pandas.DataFrame], ...]  # noqa: UP007 # Spark reads no other
    function.__annotations__ = {"batches": Iterator[columns], "return": Iterator[answer]}  # type: ignore[valid-type]


def _take_columns(udf: Any, features: tuple[str, ...] | None) -> Any:
    """Return the function with the signature's columns for its arguments where it is called with none."""

    @functools.wraps(udf)
    def take(*columns: Any) -> Any:
        if not columns and features is None:
            raise UsageError("the model names no columns: say which it is to be given")
        if features is not None and len(columns) > len(features):
            raise UsageError(
                f"the model takes {len(features)} columns ({', '.join(f'`{each}`' for each in features[:20])}), not "
                f"{len(columns)}",
                hint="give it the columns in this order, or one `struct` of them by name",
            )
        return udf(*(columns or tuple(f"`{each}`" for each in features or ())))

    return take


@frozen
class Made:
    """A pandas UDF that asks a model, the columns that the model names, and the environment that was made here."""

    udf: Any
    features: list[str] | None
    environment: Environment | None


def make_udf(machine: Machine, spark: Any, load: LoadRequest, request: UdfRequest, say: Callable[[str], None]) -> Made:
    """Return a function of Spark's for a model. Raises ModelError, UsageError and what finding and restoring raise."""
    check_spark()
    context = get_context(spark)
    from pyspark.sql.functions import pandas_udf

    assignment = make_assignment(machine, load, request, say)
    library = _pack_library()
    send(context, [*assignment.parcels, library])
    function = _make_function(pack_errand(assignment.errand), {"name": library[0].name, "sha256": library[0].sha256})
    _annotate(function, request.result)
    features = assignment.errand.features
    return Made(
        udf=_take_columns(pandas_udf(function, returnType=format_ddl(request.result)), features),
        features=None if features is None else list(features),
        environment=assignment.environment,
    )
