"""Make what a run runs in, and know what it holds: the environment where it is not the caller's own, the snapshot."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path

from repro.environments.lookup import Environment
from repro.environments.machine import Machine
from repro.environments.run_take import take_for_run
from repro.environments.snapshot import write_lock
from repro.errors import ReproError
from repro.formats.lockfile import FILE_NAME, format_snapshot
from repro.projects.asked import Asked
from repro.projects.env_manager import OwnEnvironment
from repro.projects.environment import make_environment
from repro.projects.location import show_uri
from repro.projects.request import RunRequest
from repro.projects.source import Source
from repro.settings import choose_python
from repro.snapshots.probe import probe
from repro.snapshots.take import Taken
from repro.tracking.store import Store, write_text
from repro.values import frozen


@frozen
class Held:
    """What a run's interpreter holds: the snapshot taken of it, and its text and digest, made once for all uses."""

    taken: Taken
    text: str
    digest: str


@frozen
class Prepared:
    """The interpreter a run will use, what it holds, and the environment where it was restored, of which lock."""

    python: str
    prefix: str
    environment: Environment | None
    held: Held | None
    lock: Path


def _format_rerun(request: RunRequest) -> str:
    """Return the command that runs the same, restored."""
    words = ["repro", "run", show_uri(request.uri)]
    words += ["--version", request.version] if request.version else []
    words += ["-e", request.entry_point] if request.entry_point else []
    words += [word for assignment in request.parameters for word in ("-P", assignment)]
    words += ["--as-of", request.as_of] if request.as_of else []
    words += [word for requirement in request.more for word in ("--with", requirement)]
    return shlex.join([*words, "--restore"])


def _take(machine: Machine, python: str, *, path: Path, say: Callable[[str], None]) -> Held | None:
    """Take the run's snapshot; failing to is a warning, not the end of the run."""
    try:
        outcome = take_for_run(machine, python, path=path)
    except ReproError as error:
        say(f"warning: no snapshot was taken: {error.message}")
        return None
    for sentence in outcome.notes:
        say(f"warning: {sentence}")
    snapshot = outcome.taken.snapshot
    return Held(taken=outcome.taken, text=format_snapshot(snapshot), digest=snapshot.compute_digest())


def _warn_of_drift(machine: Machine, request: RunRequest, lock: Path, python: str, held: Held | None) -> None:
    """Warn where what runs is not what the project's lock says."""
    if held and lock.read_bytes() == held.text.encode():
        return  # as after most runs: it was written there, and nothing has changed since
    from repro.environments.restore import Request
    from repro.environments.satisfy import restore_or_warn

    wanted = Request(lock=lock, python=python)
    here = held.taken.snapshot if held else None
    restore_or_warn(machine, wanted, restore=False, here=here, command=_format_rerun(request))


def prepare(machine: Machine, request: RunRequest, asked: Asked, say: Callable[[str], None]) -> Prepared:
    """Make the environment where it is not the caller's own, and take its snapshot."""
    root, environment, lock = asked.project.root, None, asked.source.snapshot
    if isinstance(asked.choice, OwnEnvironment):
        for note in asked.choice.notes:
            say(f"warning: {note}")
    else:
        from repro.projects.start_check import check_start

        made = make_environment(machine, asked.choice, asked.environment, say)
        environment, lock = made.environment, made.lock
        if script := asked.environment.script:
            again = _format_rerun(request)
            check_start(machine, environment, asked.choice, root=root, script=script, again=again, say=say)
    python = environment.python if environment else choose_python(request.python, machine.environ)
    held = _take(machine, python, path=lock, say=say) if request.snapshot else None
    if held:
        python, prefix = held.taken.python, held.taken.prefix
    else:
        report = probe(python, runner=machine.runner, environ=machine.environ, scope="interpreter")
        python, prefix = report.executable, report.prefix
    if environment is None and lock.exists():
        _warn_of_drift(machine, request, lock, python, held)
    return Prepared(python=python, prefix=prefix, environment=environment, held=held, lock=lock)


def keep_snapshot(prepared: Prepared, source: Source, store: Store, run_id: str) -> str | None:
    """Keep the snapshot with the run; what the caller's own environment holds with their own project too without one.

    Return its digest. Where none was taken, the lock that was restored is kept.
    """
    if prepared.held is None:
        if prepared.environment:
            store.write_artifact(run_id, FILE_NAME, prepared.lock.read_bytes())
        return None
    write_text(store, run_id, FILE_NAME, prepared.held.text)
    lock = source.snapshot
    is_wanted = source.is_own and prepared.environment is None
    if is_wanted and not lock.exists() and os.access(source.root, os.W_OK):
        write_lock(prepared.held.taken.snapshot, lock)
    return prepared.held.digest
