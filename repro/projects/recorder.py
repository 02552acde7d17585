"""Keep what a run has used and what its numbers depend on, when the run ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from repro import settings
from repro.errors import ReproError
from repro.files import make_temporary_dir, remove_tree
from repro.process import Runner
from repro.projects.r_record import keep_r_dependencies
from repro.snapshots.take import Taken
from repro.tracking.store import Store
from repro.values import mutable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.snapshots.hardware import Hardware


@contextmanager
def make_observe_dir(*, wanted: bool) -> Iterator[str | None]:
    """Have a directory that the observer writes into, for the time of the run; without one nothing is observed."""
    if not wanted:
        yield None
        return
    directory = make_temporary_dir("repro-observe-", settings.list_temporary_dirs(settings.live_environment()))
    try:
        yield directory
    finally:
        remove_tree(directory)


def read_machine(runner: Runner) -> Hardware:
    """Return what the machine is, its graphics processors too."""
    from repro.snapshots.hardware import ask_gpus, read_hardware

    return read_hardware(gpus=ask_gpus(runner, settings.live_environment()))


@mutable
class Recorder:
    """The record of one run; `taken` is its snapshot, where it has one, `observe_dir` where it is observed,
    `hardware` what it runs on, read where it is not known.

    `used` is known when it has ended: how many distributions it has used.
    """

    runner: Runner
    taken: Taken | None
    store: Store
    run_id: str
    observe_dir: str | None
    say: Callable[[str], None]
    project_dir: Path
    used: int | None = None
    hardware: Hardware | None = None

    def prepare(self) -> None:
        """Do what the end of the run need not wait for, while it runs: import what keeps it, and read the machine.

        A sweep's points know the machine, and have what keeps them from the first of them on.
        """
        if self.hardware:
            return
        from repro.tracking.run_record import prepare_record

        self.hardware = read_machine(self.runner)
        prepare_record(self.taken.snapshot if self.taken else None, settings.live_environment())

    def _keep(self, environ: Mapping[str, str]) -> int | None:
        from repro.snapshots.hardware import read_hardware
        from repro.snapshots.trace import read_trace
        from repro.tracking.run_record import Record, keep_record

        record = Record(
            snapshot=self.taken.snapshot if self.taken else None,
            found=self.taken.found if self.taken else (),
            trace=read_trace(self.observe_dir) if self.observe_dir else None,
            environ=environ,
            hardware=self.hardware or read_hardware(),
        )
        self._keep_r()
        return keep_record(self.store, self.run_id, record)

    def _keep_r(self) -> None:
        if self.observe_dir:
            for sentence in keep_r_dependencies(self.store, self.run_id, self.observe_dir, self.project_dir):
                self.say(f"warning: {sentence}")

    @contextmanager
    def recording(self, environ: Mapping[str, str]) -> Iterator[None]:
        """Keep the record at the end of the block, however it ends; failing to is a warning.

        `environ` is what the run is started with.
        """
        try:
            yield
        finally:
            try:
                self.used = self._keep(environ)
            except (ReproError, OSError) as error:
                self.say(f"warning: what the run has used could not be kept: {error}")
