"""The record of a run that a script has started by itself, without a runner: taken and observed in its own process.

Nothing here may fail the script, or write to its terminal: what goes wrong is the run's tag `repro.record.error`.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from repro import settings
from repro.environments.machine import Machine
from repro.environments.ready import FILE_NAME as READY
from repro.errors import ReproError
from repro.files import remove_tree
from repro.formats.lockfile import FILE_NAME
from repro.formats.redaction import redact
from repro.inside.observe import find_started_before, install
from repro.inside.process_facts import describe_process
from repro.snapshots.hardware import read_hardware
from repro.snapshots.running import find_site_directories, take_here
from repro.snapshots.take import Taken
from repro.snapshots.trace import Process, Trace, parse_process, read_trace
from repro.tracking.entities import Batch
from repro.tracking.run_record import Record, format_once, keep_record
from repro.tracking.snapshot_tags import make_snapshot_tags
from repro.tracking.store import Store, find_text, write_text
from repro.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_LEND_DIR = str(Path(__file__).resolve().parents[1] / "inside" / "lend")


def _describe_environment(prefix: str) -> dict[str, str]:
    """Return the tags that say whether an interpreter's environment is one of the store, as `repro run` sets them."""
    if not os.path.isfile(os.path.join(prefix, READY)):
        return {"repro.restored": "false"}
    return {"repro.restored": "true", "repro.env.key": os.path.basename(os.path.dirname(os.path.realpath(prefix)))}


_read_hardware = lru_cache(maxsize=1)(read_hardware)


def _describe_this_process() -> tuple[Process, ...]:
    process = parse_process(json.dumps(describe_process()))
    return (process,) if process else ()


class Observation:
    """What this process and its children import, noted in a directory that goes away with it.

    One that `repro run` observes already is not observed twice: its directory is read.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._owner = os.getpid()
        self._of_runner = settings.find_observe_dir(environ)
        if self._of_runner:
            return
        self._directory = tempfile.mkdtemp(prefix="repro-observe-")
        self._observer = install(self._directory, find_started_before())
        self._before = settings.observe_children(self._directory, lend_dir=_LEND_DIR)

    def read(self) -> Trace:
        """Return what was imported until now."""
        if self._of_runner:
            trace = read_trace(self._of_runner)
        else:
            if self._observer:
                self._observer.note_all(False)
            trace = read_trace(self._directory)
        return replace(trace, processes=(*_describe_this_process(), *trace.processes))

    def close(self) -> None:
        """Observe no longer; a forked child leaves this to its parent."""
        if self._of_runner or os.getpid() != self._owner:
            return
        settings.leave_children(self._directory, lend_dir=_LEND_DIR, before=self._before)
        if self._observer:
            self._observer.stop()
        remove_tree(self._directory)


def _find_index_urls(machine: Machine) -> tuple[str, ...]:
    """Return the indexes a lock names; a configuration that cannot be read here must not cost the run its lock."""
    try:
        return machine.find_indexes(Path.cwd()).public_urls
    except (ReproError, ImportError, OSError):
        return ()


@lru_cache(maxsize=1)
def _take(directories: tuple[tuple[str, int], ...]) -> Taken:
    """Take the snapshot of our environment once for the many runs that one script may start."""
    machine = Machine.here()
    return take_here(
        machine.make_memory(), directories=[name for name, _ in directories], index_urls=_find_index_urls(machine)
    )


def take_now() -> Taken:
    """Return the snapshot of our environment, taken anew where its directories have changed."""
    return _take(tuple((path, os.stat(path).st_mtime_ns) for path in find_site_directories()))


@contextmanager
def _noting_errors(store: Store, run_id: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        with suppress(Exception):
            store.set_tag(run_id, "repro.record.error", redact(f"{type(error).__name__}: {error}"))


class OwnRecord:
    """The record of one run; `observation` is shared with the runs nested in it, None where nothing is observed."""

    def __init__(
        self, store: Store, run_id: str, *, environ: Mapping[str, str], outer: OwnRecord | None = None
    ) -> None:
        self._store = store
        self._run_id = run_id
        self._environ = environ
        self._taken: Taken | None = None
        self._is_outermost = outer is None
        self.observation: Observation | None = outer.observation if outer else None

    def start(self) -> OwnRecord:
        """Keep the snapshot and begin to observe."""
        with _noting_errors(self._store, self._run_id):
            if self._is_outermost and settings.wants_observation(self._environ):
                self.observation = Observation(self._environ)
            self._taken = take_now()
            snapshot = self._taken.snapshot
            write_text(self._store, self._run_id, FILE_NAME, format_once(snapshot))
            tags = make_snapshot_tags(snapshot) | _describe_environment(sys.prefix)
            self._store.log_batch(self._run_id, Batch(tags=tags))
        return self

    def finish(self) -> None:
        """Keep what was used and what the numbers depend on."""
        with _noting_errors(self._store, self._run_id):
            record = Record(
                snapshot=self._taken.snapshot if self._taken else None,
                found=self._taken.found if self._taken else (),
                trace=self.observation.read() if self.observation else None,
                environ=self._environ,
                hardware=_read_hardware(),
            )
            keep_record(self._store, self._run_id, record)
        if self._is_outermost and self.observation:
            with suppress(Exception):
                self.observation.close()


def start_own_record(
    store: Store, run_id: str, *, is_new: bool, environ: Mapping[str, str], outer: OwnRecord | None
) -> OwnRecord | None:
    """Begin the record of a run; None where it has one already, which is its runner's, or its earlier start's."""
    if not is_new and find_text(store, run_id, FILE_NAME) is not None:
        return None
    return OwnRecord(store, run_id, environ=environ, outer=outer).start()
