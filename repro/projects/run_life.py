"""Begin and end a project's run in its store, truthfully."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from repro import settings
from repro.environments.machine import Machine
from repro.errors import ReproError, Terminated
from repro.formats.run_meta import RunInfo, RunStatus
from repro.projects.asked import Asked
from repro.projects.assignments import parse_assignments
from repro.projects.prepared import Prepared, prepare
from repro.projects.request import RunRequest
from repro.projects.run_tags import make_environment_tags, make_tags
from repro.tracking.active_experiment import find_experiment_id
from repro.tracking.client import Client
from repro.tracking.clock import now_ms
from repro.tracking.entities import Batch, NewRun
from repro.tracking.store import Store


def finish(store: Store, run_id: str, status: RunStatus) -> RunStatus:
    """Set the final status; what the script itself said of its failure wins."""
    own = store.get_run(run_id).info.status
    final = own if own in (RunStatus.FAILED, RunStatus.KILLED) else status
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


def begin(machine: Machine, request: RunRequest, asked: Asked, store: Store) -> RunInfo:
    """Make the run, with its parameters as they were given."""
    new = NewRun(
        experiment_id=find_experiment_id(Client(store=store), machine.environ),
        user_id=settings.get_user(machine.environ),
        start_time_ms=now_ms(),
        tags=make_tags(asked, tuple(parse_assignments(request.parameters)), machine.environ),
    )
    info = store.create_run(new).info
    store.log_batch(info.run_id, Batch(params=asked.values.given))
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
