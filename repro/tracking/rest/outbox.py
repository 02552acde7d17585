"""What a server has not got yet, on this machine's disk.

<outbox>/<digest of the server>/server                   its URI, for people
                                ids                      a line `<local id> <server's id> .` for each run made later
                                experiments/<id>.json    experiments seen, and those to be made (`local-...`)
                                runs/<run id>/new.json   the run is to be made; without it the server has it
                                              *.log      journals, one for each process that logs (see `journal`)
                                              files/     artifacts to be sent
                                              refused    what the server will not take: reason and entry
                                              lock       held while the run is made

A run's directory is there while something is to be sent. It is private to its user: parameters may be.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from repro import settings
from repro.errors import TrackingError
from repro.files import hold_alone, write_atomically
from repro.formats.run_meta import Experiment
from repro.tracking import wire
from repro.tracking.entities import NewRun
from repro.tracking.rest.address import Address
from repro.tracking.rest.journal import Journal, count_unsent

LOCAL_EXPERIMENT = "local-"
"""What the id of an experiment begins with that is to be made."""


def _check_name(name: str, what: str) -> str:
    """Return a name that can be a file's. Raises TrackingError."""
    if not name or len(name) > 128 or not all(char.isalnum() or char in "-_" for char in name):
        raise TrackingError(f"`{name}` is no id of {what}")
    return name


class RunBox:
    """What is to be sent of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def run_id(self) -> str:
        """The id that the run was logged under."""
        return self.path.name

    def exists(self) -> bool:
        """Tell whether there may be something to be sent."""
        return self.path.is_dir()

    def make_journal(self) -> Journal:
        """Make a journal for this process. Raises OSError."""
        for _ in range(100):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # whoever sent the rest has removed the directory meanwhile
                return Journal.make(self.path)
        raise TrackingError(f"`{self.path}` cannot be made")

    def list_journals(self) -> list[Path]:
        """Return the journals, the one begun first first."""
        times = []
        with suppress(FileNotFoundError):
            for path in self.path.glob("*.log"):
                with suppress(OSError):
                    times.append((path.stat().st_ctime_ns, path))
        return [path for _, path in sorted(times)]

    def write_new(self, new: NewRun) -> None:
        """Note that the run is to be made. Raises OSError."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(self.path / "new.json", json.dumps(wire.format_new_run(new)), keep_mode=0o600)

    def is_new(self) -> bool:
        """Tell whether the run is to be made."""
        return (self.path / "new.json").exists()

    def read_new(self) -> NewRun | None:
        """Return the run that is to be made; None where the server has it. Raises TrackingError."""
        try:
            fields = json.loads((self.path / "new.json").read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise TrackingError(f"`{self.path / 'new.json'}` is no JSON") from error
        return wire.parse_new_run(fields)

    def forget_new(self) -> None:
        """Note that the server has the run."""
        (self.path / "new.json").unlink(missing_ok=True)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the run for the block in which it is made. Raises OSError."""
        with hold_alone(self.path / "lock"):
            yield

    def get_file(self, name: str) -> Path:
        """Return the path of a kept artifact. Raises TrackingError for one that leads elsewhere, as a link does.

        An outbox in a working directory may have come with a clone of somebody's repository.
        """
        path = self.path / "files" / _check_name(name, "a kept file")
        outbox = os.path.realpath(self.path.parents[1])
        if os.path.realpath(path) != os.path.join(outbox, "runs", self.run_id, "files", name):
            raise TrackingError(f"`{path}` leads out of the outbox")
        return path

    @property
    def refused(self) -> Path:
        """Where what the server will not take is kept."""
        return self.path / "refused"

    def refuse(self, line: bytes, reason: str) -> None:
        """Keep what the server will not take, and why. Raises OSError."""
        with open(self.refused, "ab") as file:
            file.write(json.dumps({"reason": reason, "entry": line.decode(errors="replace")}).encode() + b"\n")

    def count_refused(self) -> int:
        """Return how many entries the server would not take."""
        try:
            return self.refused.read_bytes().count(b"\n")
        except FileNotFoundError:
            return 0

    def count_waiting(self) -> int:
        """Return how many entries the server has not got yet."""
        return sum(count_unsent(path) for path in self.list_journals())

    def remove_if_done(self) -> None:
        """Remove the directory where nothing is left to be sent or to be looked at."""
        left = {entry.name for entry in os.scandir(self.path)} if self.exists() else {"gone"}
        if left - {"lock", "files"} or any((self.path / "files").glob("*")):
            return
        with suppress(OSError):
            for name in ("files", "lock"):
                place = self.path / name
                place.rmdir() if name == "files" and place.exists() else place.unlink(missing_ok=True)
            self.path.rmdir()


class Outbox:
    """What one server has not got yet."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._ids: dict[str, str] = {}
        self._ids_bytes = 0

    def get_run(self, run_id: str) -> RunBox:
        """Return what is to be sent of a run. Raises TrackingError for what is no id."""
        return RunBox(self.root / "runs" / _check_name(run_id, "a run"))

    def list_runs(self) -> list[RunBox]:
        """Return the runs of which something may be to be sent, the one begun first first."""
        runs = self.root / "runs"
        times = []
        with suppress(FileNotFoundError):
            for entry in os.scandir(runs):
                with suppress(OSError):
                    times.append((_find_time_ns(Path(entry.path)), entry.name))
        return [RunBox(runs / name) for _, name in sorted(times)]

    def find_id(self, run_id: str) -> str:
        """Return the server's id of a run that was given a local one; any other as it is."""
        if run_id not in self._ids:
            self._read_ids()
        return self._ids.get(run_id, run_id)

    def list_names(self, run_id: str) -> tuple[str, ...]:
        """Return every id that means the same run, the one given first."""
        known = self.find_id(run_id)
        others = (known, *(local for local, each in self._ids.items() if each == known))
        return tuple(dict.fromkeys((run_id, *others)))

    def _read_ids(self) -> None:
        path = self.root / "ids"
        try:
            if path.stat().st_size == self._ids_bytes:
                return
            content = path.read_bytes()
        except FileNotFoundError:
            return
        whole = content[: content.rfind(b"\n") + 1]
        lines = (line.split(" ") for line in whole.decode(errors="replace").splitlines())
        self._ids = {words[0]: words[1] for words in lines if len(words) == 3 and words[2] == "."}
        self._ids_bytes = len(content)

    def add_id(self, local_id: str, run_id: str) -> None:
        """Note which run of the server a local id means. Raises OSError."""
        descriptor = os.open(self.root / "ids", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, f"\n{local_id} {run_id} .\n".encode())  # a line that was cut off has no dot
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _get_experiment_path(self, experiment_id: str) -> Path:
        return self.root / "experiments" / f"{_check_name(experiment_id, 'an experiment')}.json"

    def keep_experiment(self, experiment: Experiment) -> None:
        """Remember an experiment, for when the server is away; whether that works does not matter."""
        path = self._get_experiment_path(experiment.experiment_id)
        with suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(path, json.dumps(wire.format_experiment(experiment)), keep_mode=0o600, durable=False)

    def find_kept_experiment(self, experiment_id: str) -> Experiment | None:
        """Return an experiment that is remembered."""
        try:
            return wire.parse_experiment(json.loads(self._get_experiment_path(experiment_id).read_bytes()))
        except (OSError, ValueError, TrackingError):
            return None

    def find_named_experiment(self, name: str) -> Experiment | None:
        """Return an experiment that is remembered, by its name."""
        kept = (self.find_kept_experiment(path.stem) for path in sorted((self.root / "experiments").glob("*.json")))
        return next((each for each in kept if each and each.name == name), None)

    def forget_experiment(self, experiment_id: str) -> None:
        """Remember an experiment no longer: it was changed."""
        if not experiment_id.startswith(LOCAL_EXPERIMENT):
            with suppress(OSError):
                self._get_experiment_path(experiment_id).unlink(missing_ok=True)


def _find_time_ns(run_dir: Path) -> int:
    """Return when what is kept of a run was begun."""
    times = [path.stat().st_mtime_ns for path in (run_dir / "new.json",) if path.exists()]
    return min(times, default=run_dir.stat().st_mtime_ns)


def _make(root: Path, address: Address) -> Outbox:
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = root / "server"
    if not name.exists():
        write_atomically(name, f"{address.uri}\n", keep_mode=0o600, durable=False)
    return Outbox(root)


def open_outbox(address: Address, environ: Mapping[str, str], cwd: str) -> Outbox:
    """Return the outbox of a server, in the first directory that can be written. Raises TrackingError."""
    places = settings.list_outbox_dirs(environ, cwd)
    reason = ""
    for place in places:
        try:
            return _make(Path(place) / address.digest, address)
        except OSError as error:
            reason = reason or str(error.strerror)
    raise TrackingError(
        f"`{places[0]}` cannot be written ({reason}): there is no place for what the server has not got yet",
        hint="REPRO_OUTBOX names another directory",
    )


def list_outboxes(environ: Mapping[str, str], cwd: str, *, own_only: bool) -> list[tuple[str, Outbox]]:
    """Return the servers that something may be to be sent to, each by its URI with its outbox.

    `own_only` leaves out the one in the working directory, which may have come with it.
    """
    found = []
    list_dirs = settings.list_own_outbox_dirs if own_only else settings.list_outbox_dirs
    for place in list_dirs(environ, cwd):
        for path in sorted(Path(place).glob("*/server")):
            with suppress(OSError):
                found.append((path.read_text(encoding="utf-8").strip(), Outbox(path.parent)))
    return found
