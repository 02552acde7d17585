"""The functions of `import repro` that need the manager: what the commands do, for scripts and notebooks."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from repro import settings
from repro.environments.linked import FILE_NAME as LINK_NAME
from repro.environments.linked import link_environment
from repro.environments.lookup import Environment
from repro.environments.machine import Machine
from repro.environments.restore import Request, restore_environment
from repro.environments.satisfy import restore_or_warn as _restore_or_warn
from repro.environments.snapshot import select_ring, take_for, write_lock
from repro.errors import UsageError
from repro.formats.lockfile import Snapshot
from repro.projects.backend_config import read_backend_config
from repro.projects.request import RunRequest
from repro.projects.result import RunResult
from repro.projects.run import run_project
from repro.projects.script_source import make_source_request
from repro.snapshots.load import locate_lock
from repro.snapshots.work import Thoroughness
from repro.tracking.observed_runs import find_ring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.formats.axis import Axis
    from repro.models.load import LoadRequest
    from repro.models.local import LocalModel
    from repro.models.remote import RestoredModel
    from repro.models.serving.server import Background
    from repro.projects.handle import RunHandle
    from repro.projects.sweep_progress import Event, Progress
    from repro.projects.sweep_request import SweepResult


def _note(text: str) -> None:
    print(text, file=sys.stderr)


def _make_machine(cache: str | os.PathLike[str] | None) -> Machine:
    environ = settings.own_environment()
    echo: Callable[[str], None] | None = _note if settings.is_verbose(environ) else None
    return Machine.here(cache=os.fspath(cache) if cache else None, environ=environ, echo=echo)


def snapshot(
    path: str | os.PathLike[str] = ".",
    *,
    python: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    allow_missing: bool = False,
    engine: str | None = None,
    prove: bool = False,
    deep: bool = False,
    strict: bool = False,
    used: bool | str = False,
) -> Snapshot:
    """Write the lock of an environment to `path` (a directory or a file) and return it.

    Without `python` and `MLFLOW_PYTHON_BIN` it is the running interpreter's: in a script, that is the environment
    which is active. With `used` it holds only what a run (an id, or True for the newest of the project at `path`) has
    used, and what that requires. Raises InterpreterNotFoundError and ReproError.
    """
    machine = _make_machine(cache)
    interpreter = python or settings.find_python(machine.environ) or settings.own_python()
    target = locate_lock(path)
    run_id = used if isinstance(used, str) else ""
    ring = find_ring(run_id, project_dir=target.parent, environ=machine.environ) if used else None
    thoroughness = Thoroughness(prove=prove, deep=deep, strict=strict, allow_missing=allow_missing)
    outcome = take_for(machine, interpreter, path=target, engine=engine, thoroughness=thoroughness)
    outcome = outcome if ring is None else select_ring(outcome, ring)
    write_lock(outcome.taken.snapshot, target)
    return outcome.taken.snapshot


def restore(
    path: str | os.PathLike[str] = ".",
    cache: str | os.PathLike[str] | None = None,
    *,
    python: str | None = None,
    offline: bool = False,
    allow_missing: bool = False,
    engine: str | None = None,
    used: bool = False,
    into: str | os.PathLike[str] | None = None,
    link: bool | str | os.PathLike[str] = False,
    force: bool = False,
) -> Environment:
    """Return the environment equal to the lock at `path` (a lock or its directory), made where it is not there yet.

    With `used`, `path` is the lock that a run keeps, and only what it has used is restored, and what that requires.
    With `into` it is a private, writable one in that directory; what was changed in it since, and an environment that
    repro did not make, is replaced only by `force`. With `link` a symbolic link leads to it: `.venv` beside the lock,
    or the path given.
    Raises SnapshotNotFoundError, InvalidSnapshotError, InterpreterNotFoundError, RestoreError and UsageError.
    """
    if into is not None and link is not False:
        raise UsageError("`into` makes an environment of its own, which no `link` leads to")
    request = Request(
        lock=Path(path), python=python, offline=offline, allow_missing=allow_missing, engine=engine, used=used
    )
    machine = _make_machine(cache)
    if into is not None:
        from repro.environments.private import restore_into

        return restore_into(machine, request, into, force=force)
    environment = restore_environment(machine, request)
    if link is not False:
        place = locate_lock(path).parent / LINK_NAME if link is True else link
        link_environment(machine.store, environment, place)
    return environment


def restore_or_warn(
    restore: bool,
    lock: str | os.PathLike[str] = ".",
    *,
    cache: str | os.PathLike[str] | None = None,
    python: str | None = None,
) -> Environment | None:
    """Restore `lock` and return its environment; else warn where the running interpreter does not satisfy it.

    The warning is one SnapshotNotRestoredWarning that names what differs and the command that mends it; `python` is
    another interpreter to look at, or with `restore` the base to restore on. Raises what `restore` raises.
    """
    machine = _make_machine(cache)
    request = Request(lock=Path(lock), python=python if restore else python or settings.own_python())
    return _restore_or_warn(machine, request, restore=restore)


def run(
    uri: str | os.PathLike[str] = ".",
    entry_point: str | None = None,
    *,
    parameters: Mapping[str, object] | None = None,
    version: str | None = None,
    offline: bool = False,
    restore: bool | None = None,
    snapshot: bool = True,
    observe: bool = True,
    cache: str | os.PathLike[str] | None = None,
    python: str | None = None,
    env_manager: str | None = None,
    as_of: str | None = None,
    more: Sequence[str] = (),
    write_lock: bool = False,
    storage_dir: str | os.PathLike[str] | None = None,
    lenient_types: bool = False,
    timeout_s: float | None = None,
    experiment: str | None = None,
    backend: str = "local",
    backend_config: Mapping[str, object] | str | os.PathLike[str] | None = None,
    synchronous: bool = True,
) -> RunResult | RunHandle:
    """Run a project's entry point to its end and return how it ended; messages go to stderr.

    Without `synchronous` it returns a handle once the run exists, with `run_id`, `status`, `wait()` and `cancel()`; the
    run goes on in a process of its own, never longer than this one.

    `env_manager` is `local`, `restore`, `virtualenv` or `uv`; the others are the options of `repro run`, `more` its
    `--with`.
    Raises ReproError for what is wrong before the run exists; a child that fails is told by `RunResult.exit_code`.
    """
    request = RunRequest(
        uri=os.fspath(uri),
        entry_point=entry_point,
        parameters=tuple(f"{name}={value}" for name, value in (parameters or {}).items()),
        version=version,
        offline=offline,
        restore=restore,
        snapshot=snapshot,
        observe=observe,
        python=python,
        env_manager=env_manager,
        as_of=as_of,
        more=tuple(more),
        write_lock=write_lock,
        storage_dir=os.fspath(storage_dir) if storage_dir else None,
        lenient_types=lenient_types,
        timeout_s=timeout_s,
        experiment=experiment,
        backend=backend,
        backend_config=read_backend_config(backend_config),
    )
    machine = _make_machine(cache)
    if not synchronous:
        from repro.projects.background import Order
        from repro.projects.handle import start_run

        return start_run(machine.runner, Order(request=request, cache=os.fspath(cache) if cache else None))
    return run_project(machine, request, say=_note)


def _make_axis(name: str, values: object) -> Axis:
    from repro.formats.axis import Listed, Stepped, parse_axis

    if isinstance(values, range) and values:
        return Stepped(steps=values)
    if isinstance(values, (list, tuple)) and values:
        return Listed(values=tuple(map(str, values)))
    if isinstance(values, (range, list, tuple)):
        raise UsageError(f"the parameter `{name}` has no values")
    try:
        return parse_axis(str(values))
    except ValueError as error:
        raise UsageError(f"the parameter `{name}` is `{values}`: {error}") from error


def sweep(
    uri: str | os.PathLike[str] = ".",
    entry_point: str | None = None,
    *,
    parameters: Mapping[str, object] | None = None,
    jobs: int = 1,
    sample: int | None = None,
    seed: int | None = None,
    metric: str | None = None,
    goal: str | None = None,
    fail_fast: bool = False,
    resume: str | None = None,
    new: bool = False,
    version: str | None = None,
    offline: bool = False,
    restore: bool | None = None,
    snapshot: bool = True,
    observe: bool = True,
    cache: str | os.PathLike[str] | None = None,
    python: str | None = None,
    env_manager: str | None = None,
    as_of: str | None = None,
    more: Sequence[str] = (),
    write_lock: bool = False,
    storage_dir: str | os.PathLike[str] | None = None,
    lenient_types: bool = False,
    timeout_s: float | None = None,
    experiment: str | None = None,
    backend: str = "local",
    backend_config: Mapping[str, object] | str | os.PathLike[str] | None = None,
) -> SweepResult:
    """Run an entry point at many points of its parameters and return how each ended; messages go to stderr.

    A parameter's values are a list or tuple, a `range`, or a text as `repro sweep -P` takes it. The others are its
    options. Raises ReproError for what is wrong before the sweep's run exists.
    """
    from repro.projects.sweep import run_sweep
    from repro.projects.sweep_progress import format_line
    from repro.projects.sweep_request import Goal, SweepRequest

    if goal not in (None, "min", "max"):
        raise UsageError(f"`{goal}` is no goal", hint="`min` or `max`")
    run = RunRequest(
        uri=os.fspath(uri),
        entry_point=entry_point,
        version=version,
        offline=offline,
        restore=restore,
        snapshot=snapshot,
        observe=observe,
        python=python,
        env_manager=env_manager,
        as_of=as_of,
        more=tuple(more),
        write_lock=write_lock,
        storage_dir=os.fspath(storage_dir) if storage_dir else None,
        lenient_types=lenient_types,
        timeout_s=timeout_s,
        experiment=experiment,
        backend=backend,
        backend_config=read_backend_config(backend_config),
    )
    request = SweepRequest(
        run=run,
        axes={name: _make_axis(name, values) for name, values in (parameters or {}).items()},
        jobs=jobs,
        sample=sample,
        seed=seed,
        metric=metric,
        goal=Goal(goal) if goal else None,
        fail_fast=fail_fast,
        resume=resume,
        new=new,
    )

    def watch(event: Event, progress: Progress) -> None:
        if line := format_line(event, progress):
            _note(line)

    return run_sweep(_make_machine(cache), request, say=_note, watch=watch)


def source(
    path: str | os.PathLike[str],
    words: Sequence[str] = (),
    *,
    restore: bool = False,
    snapshot: bool = True,
    observe: bool = True,
    cache: str | os.PathLike[str] | None = None,
    python: str | None = None,
) -> RunResult:
    """Run a script with the command line `words` as a tracked run, to its end, and return how it ended.

    Raises as `run` does.
    """
    settled = RunRequest(
        restore=restore or settings.wants_restore(settings.own_environment()),
        snapshot=snapshot,
        observe=observe,
        python=python,
    )
    request = make_source_request(settled, path, words, cwd=Path.cwd())
    return run_project(_make_machine(cache), request, say=_note)


def _make_load_request(
    machine: Machine,
    uri: str | os.PathLike[str],
    *,
    restore: bool | None,
    policy: str | None,
    command: str,
    flavor: str | None = None,
    run_id: str | None = None,
    python: str | None = None,
    offline: bool = False,
    as_of: str | None = None,
    trust: bool = False,
    is_silent: bool = False,
) -> LoadRequest:
    from repro.models.environment import EnvironmentWish
    from repro.models.load import LoadRequest
    from repro.models.policy import choose_policy

    return LoadRequest(
        uri=os.fspath(uri),
        run_id=run_id,
        flavor=flavor,
        policy=choose_policy(policy, restore=restore, environ=machine.environ, project=Path.cwd()),
        wish=EnvironmentWish(python=python, offline=offline, as_of=as_of),
        trust=trust,
        is_silent=is_silent,
        command=command,
    )


def load_model(
    uri: str | os.PathLike[str],
    flavor: str | None = None,
    *,
    restore: bool | None = None,
    policy: str | None = None,
    run_id: str | None = None,
    python: str | None = None,
    offline: bool = False,
    as_of: str | None = None,
    trust: bool = False,
    suppress_warnings: bool = False,
    cache: str | os.PathLike[str] | None = None,
) -> LocalModel | RestoredModel:
    """Load a model: in this process, or with `restore` in the environment that it names, with the same methods.

    `uri` is a directory, `runs:/ID/PATH`, `models:/NAME/VERSION`, `models:/NAME@ALIAS` or `models:/m-ID`; with `run_id`
    a path of that run's artifacts. Where the environment that is here does not satisfy the model's snapshot, `policy`
    says what happens: `warn`, `error` or `restore` (else REPRO_SNAPSHOT_POLICY, else `snapshot-policy` of the
    project's `[tool.repro]`). A model from a server is loaded in this process only with `trust`, or where its format
    runs no code. `as_of` is the day whose index is asked where only loose files say what the model needs.
    Raises ModelError, UsageError, TrackingError and what restoring raises.
    """
    from repro.models.load import load

    machine = _make_machine(cache)
    request = _make_load_request(
        machine,
        uri,
        flavor=flavor,
        restore=restore,
        policy=policy,
        run_id=run_id,
        python=python,
        offline=offline,
        as_of=as_of,
        trust=trust,
        is_silent=suppress_warnings,
        command=f"repro.load_model({os.fspath(uri)!r}, restore=True)",
    )
    return load(machine, request, _note)


def predict(
    model: str | os.PathLike[str],
    input_path: str | os.PathLike[str] | None = None,
    output_path: str | os.PathLike[str] | None = None,
    *,
    data: object = None,
    params: Mapping[str, object] | None = None,
    content_type: str | None = None,
    restore: bool | None = None,
    policy: str | None = None,
    run_id: str | None = None,
    python: str | None = None,
    trust: bool = False,
    cache: str | os.PathLike[str] | None = None,
) -> Any:
    """Return what a model answers to `data`, or to a file (JSON, CSV or Parquet, by its ending or `content_type`).

    With `output_path` a file's answer is written there instead. `model`, `run_id`, `restore`, `policy` and `trust` are
    as for `load_model`. Raises UsageError where not exactly one of `input_path` and `data` is given, else as
    `load_model`.
    """
    if (input_path is None) == (data is None):
        raise UsageError("give either a file, `input_path`, or `data`")
    if data is not None:
        if output_path is not None:
            raise UsageError("`output_path` is for the answer to a file, and `data` was given")
        options = {"restore": restore, "policy": policy, "run_id": run_id, "python": python, "trust": trust}
        with load_model(model, cache=cache, **options) as loaded:  # type: ignore[arg-type]
            return loaded.predict(data, params=dict(params) if params else None)
    from repro.models.predict import Question, predict_file
    from repro.models.score_file import check_output, find_type, format_answer, read_input, write_output

    given, output = os.fspath(input_path or ""), check_output(os.fspath(output_path)) if output_path else None
    answer_type = find_type(output)
    question = Question(
        content=read_input(given),
        type=find_type(given, content_type, option="content_type"),
        where=f"`{given}`",
        answer_type=answer_type,
        params=params,
    )
    machine = _make_machine(cache)
    command = f"repro.predict({os.fspath(model)!r}, ..., restore=True)"
    request = _make_load_request(
        machine, model, restore=restore, policy=policy, run_id=run_id, python=python,
        command=command,
    )  # fmt: skip
    answer = predict_file(machine, request, question, _note, here=settings.own_python())
    if output is None:
        return answer
    write_output(output, format_answer(answer, answer_type))
    return None


def spark_udf(
    spark: Any,
    model_uri: str | os.PathLike[str],
    result_type: object = "double",
    restore: bool | None = True,
    *,
    params: Mapping[str, object] | None = None,
    packed: str | None = None,
    bundle: str | os.PathLike[str] | None = None,
    flavor: str | None = None,
    policy: str | None = None,
    run_id: str | None = None,
    python: str | None = None,
    offline: bool = False,
    as_of: str | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> Any:
    """Return a function for Spark's DataFrames and SQL that asks a model, in the environment that it names.

    Its arguments are one `struct` with the model's columns by name, or the columns in the signature's order; without
    arguments they are the signature's. `result_type` is `int`, `long`, `float`, `double`, `string`, `boolean`, an
    array or a struct of these, as a text of Spark's SQL or one of its DataTypes. Each executor restores the environment
    in its own store (below `cache`, else where its variables say), from a `bundle` where one is given, or takes the one
    that `spark.archives` has unpacked as `packed`. The others are as for `load_model`, but that without a `policy` it
    is restored. Needs the extra `spark`.
    Raises UsageError, ModelError and what restoring raises; executors raise what the model raises, with its traceback.
    """
    from repro.models.result_type import parse_result_type
    from repro.models.spark import UdfRequest, make_udf

    cache = os.fspath(cache) if cache else None
    machine = _make_machine(cache)
    command = f"repro.spark_udf(spark, {os.fspath(model_uri)!r}, restore=True)"
    load = _make_load_request(
        machine, model_uri, restore=None if restore and policy else restore, policy=policy, flavor=flavor,
        run_id=run_id, python=python, offline=offline, as_of=as_of, command=command,
    )  # fmt: skip
    request = UdfRequest(
        result=parse_result_type(result_type),
        params=params,
        packed=packed,
        bundle=Path(bundle) if bundle else None,
        cache=cache,
    )
    return make_udf(machine, spark, load, request, _note).udf


def serve(
    model: str | os.PathLike[str],
    *,
    host: str = "127.0.0.1",
    port: int = 8090,
    workers: int = 1,
    restore: bool | None = None,
    policy: str | None = None,
    run_id: str | None = None,
    timeout: float = 60.0,
    token: str | None = None,
    batching: bool = True,
    max_body: int = 16 << 20,
    python: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    daemonized: bool = False,
) -> Background | None:
    """Serve a model over HTTP until ctrl-C; with `daemonized` return at once what has its `url` and stops it.

    The model works in processes of the restored environment, or of `python`; `model`, `run_id` and `policy` are as for
    `load_model`; `token` is what clients show (else REPRO_SERVE_TOKEN). Needs the extra `serve`. Raises UsageError,
    ModelError and what restoring raises.
    """
    from repro.models.serving.extra import require_extra

    require_extra()
    from repro.models.serving.options import Reporter, ServeOptions
    from repro.models.serving.serve import make_server

    machine = _make_machine(cache)
    options = ServeOptions(
        host=host,
        port=port,
        workers=workers,
        timeout_s=timeout,
        token=token or settings.find_serve_token(machine.environ),
        gather=batching,
        max_body_bytes=max_body,
    )
    command = f"repro.serve({os.fspath(model)!r}, restore=True)"
    request = _make_load_request(
        machine, model, restore=restore, policy=policy, run_id=run_id, python=python, command=command
    )
    report = Reporter(started=lambda url: _note(f"Starting serving endpoint: {url}"), complain=_note)
    server = make_server(machine, request, options, report)
    if daemonized:
        from repro.models.serving.server import Background

        return Background(server).start()
    server.run()
    return None
