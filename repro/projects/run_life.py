"""Begin and end a project's run in its store, truthfully."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from repro import settings
from repro.environments.machine import Machine
from repro.errors import ReproError, Terminated, TrackingError
from repro.formats.run_meta import RunInfo, RunStatus
from repro.projects.asked import Asked
from repro.projects.assignments import parse_assignments
from repro.projects.own_experiment import find_own_experiment
from repro.projects.prepared import Prepared, prepare
from repro.projects.request import RunRequest
from repro.projects.run_tags import make_environment_tags, make_tags
from repro.tracking.clock import now_ms
from repro.tracking.entities import Batch, NewRun
from repro.tracking.file_store import FileStore
from repro.tracking.store import DEFAULT_EXPERIMENT, Store


def _read_status(store: Store, run_id: str) -> RunStatus:
    """Return how a run stands, in a directory without reading what else it has logged."""
    info = store.get_info(run_id) if isinstance(store, FileStore) else store.get_run(run_id).info
    return info.status


def finish(store: Store, run_id: str, status: RunStatus) -> RunStatus:
    """Set the final status; what the script itself said of its failure wins.

    What its processes had not put into its place when they were ended is removed: none of them is left.
    """
    own = _read_status(store, run_id)
    final = own if own in (RunStatus.FAILED, RunStatus.KILLED) else status
    if final is not RunStatus.FINISHED and isinstance(store, FileStore):
        with suppress(TrackingError):  # the run is to end all the same
            store.remove_half_written(run_id)
    store.update_run(run_id, status=final, end_time_ms=now_ms())
    return final


@contextmanager
def finishing(store: Store, run_id: str, say: Callable[[str], None]) -> Iterator[None]:
    """Leave no run RUNNING: what interrupts us kills it, any other error makes it FAILED."""
    try:
        yield
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt | Terminated)
        status = finish(store, run_id, RunStatus.KILLED if interrupted else RunStatus.FAILED)
        say(f"=== Run (ID '{run_id}') {status.name.lower()} ===")
        raise


def find_place(machine: Machine, request: RunRequest, asked: Asked, store: Store, say: Callable[[str], None]) -> str:
    """Return the experiment that a run is kept in, made where it is named and missing. Raises TrackingError.

    Where nobody has named one, it is that which the script chooses in its code: it would refuse a run of another.
    """
    name = request.experiment
    if name is None and not settings.find_experiment_name(machine.environ):
        if given := settings.find_experiment_id(machine.environ):
            return given
        script = asked.environment.script
        name = find_own_experiment(asked.project.root / script) if script else None
        if name is None:
            return DEFAULT_EXPERIMENT
        say(f"the run is kept in the experiment `{name}`, which `{script}` chooses")
    from repro.tracking.active_experiment import find_experiment_id, get_or_make_experiment_id
    from repro.tracking.client import Client

    client = Client(store=store)
    if name is not None:
        return get_or_make_experiment_id(client, name)
    return find_experiment_id(client, machine.environ)


def begin(
    machine: Machine,
    request: RunRequest,
    asked: Asked,
    store: Store,
    *,
    experiment_id: str,
    params: Mapping[str, str],
    tags: Mapping[str, str] | None = None,
) -> RunInfo:
    """Make the run, with its parameters as they were given; `tags` win over those that every run has."""
    given = tuple(parse_assignments(request.parameters))
    own = make_tags(asked, given, machine.environ, backend=request.backend)
    new = NewRun(
        experiment_id=experiment_id,
        user_id=settings.get_user(machine.environ),
        start_time_ms=now_ms(),
        tags={**own, **(tags or {})},
    )
    info = store.create_run(new).info
    store.log_batch(info.run_id, Batch(params=params))
    return info


def prepare_in_run(
    machine: Machine, request: RunRequest, asked: Asked, store: Store, run_id: str, say: Callable[[str], None]
) -> Prepared:
    """Make the environment; why it cannot be made stands with the run."""
    try:
        prepared = prepare(machine, request, asked, say)
    except ReproError as error:
        store.set_tag(run_id, "repro.error", error.message)
        raise
    store.log_batch(run_id, Batch(tags=make_environment_tags(prepared)))
    return prepared
