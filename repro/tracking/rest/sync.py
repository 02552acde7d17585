"""Send what is kept in the outboxes of this machine: `repro runs sync`.

A journal that a process is still writing, or another sync is sending, is left to it: the kernel's lock says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from urllib.parse import urlsplit

from repro import settings
from repro.errors import ReproError
from repro.tracking.rest.address import Address, find_address
from repro.tracking.rest.api import Api
from repro.tracking.rest.courier import WAITING, Courier, Tally
from repro.tracking.rest.outbox import Outbox, RunBox, list_outboxes
from repro.tracking.rest.patience import Patience
from repro.tracking.rest.sender import deliver_left
from repro.tracking.rest.transport import Transport
from repro.values import asdict, frozen


class SyncState(str, Enum):
    """What has become of a run's kept entries."""

    SENT = "sent"
    REFUSED = "refused"
    """The server has all it will take; the rest, with its reasons, is in the file `refused`."""
    BUSY = "busy"
    """A process is still logging to the run, or another sync is sending it."""
    WAITING = "waiting"

    __str__ = str.__str__


@frozen
class SyncedRun:
    """A run that had something to be sent: `local_id` is what it was logged under, `run_id` the server's id of it."""

    server: str
    local_id: str
    run_id: str | None
    state: SyncState
    sent: int = 0
    waiting: int = 0
    refused: int = 0
    refused_path: str | None = None
    reason: str | None = None

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON has it."""
        return {**asdict(self), "state": self.state.value}


@frozen
class SyncResult:
    """What a sync has done, run by run."""

    runs: tuple[SyncedRun, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every server has all that it will get."""
        return all(run.state is SyncState.SENT for run in self.runs)

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON has it."""
        return {"complete": self.is_complete, "runs": [run.to_dict() for run in self.runs]}


class _ServerSync:
    """The sync with one server: once it is away, it is not asked for the other runs."""

    def __init__(self, address: Address, outbox: Outbox, environ: Mapping[str, str]) -> None:
        retries, factor_s, jitter_s = settings.get_request_retries(environ)
        patience = Patience(retries=retries, factor_s=factor_s, jitter_s=jitter_s)
        transport = Transport(address, patience=patience, timeout_s=settings.get_request_timeout_s(environ))
        self.transport = transport
        self._courier = Courier(Api(transport), outbox)
        self._uri = address.uri
        self._outbox = outbox
        self._away: str | None = None

    def sync(self, box: RunBox) -> SyncedRun:
        """Send what is kept of a run, and say what has become of it."""
        tally, busy, reason = Tally(), 0, self._away
        if reason is None:
            try:
                busy = deliver_left(self._courier, box, tally)
            except (ReproError, OSError) as error:
                reason = str(error)
                if isinstance(error, WAITING):
                    self._away = reason
        run_id = self._outbox.find_id(box.run_id)
        refused = box.count_refused()
        state = SyncState.SENT
        if reason is not None:
            state = SyncState.WAITING
        elif busy:
            state = SyncState.BUSY
        elif refused:
            state = SyncState.REFUSED
        return SyncedRun(
            server=self._uri,
            local_id=box.run_id,
            run_id=None if box.is_new() else run_id,
            state=state,
            sent=tally.sent,
            waiting=box.count_waiting(),
            refused=refused,
            refused_path=str(box.refused) if refused else None,
            reason=reason,
        )


def _choose(environ: Mapping[str, str], cwd: Path, uri: str | None) -> list[tuple[Address, Outbox]]:
    """Return the servers to send to: the one named, else every one that the user's own outbox has something for.

    Credentials of the environment are for the server that it names, and where it names none, for the only one. What
    lies in the working directory's outbox goes to a server that is named only.
    """
    uri = uri or settings.find_tracking_uri(environ)
    if uri and urlsplit(uri).scheme in ("http", "https"):
        address = find_address(uri, environ)
        kept = list_outboxes(environ, str(cwd), own_only=False)
        return [(address, outbox) for name, outbox in kept if name == address.uri]
    kept = list_outboxes(environ, str(cwd), own_only=True)
    is_sure = len({name for name, _ in kept}) < 2
    known = environ if is_sure else settings.drop_tracking_credentials(environ)
    return [(find_address(name, known), outbox) for name, outbox in kept]


def sync_outbox(
    *,
    environ: Mapping[str, str],
    cwd: Path,
    uri: str | None = None,
    on_run: Callable[[SyncedRun], None] = lambda run: None,
) -> SyncResult:
    """Send what was kept while servers were away, the run begun first first; `on_run` is told of each.

    To the server of `uri`, else of MLFLOW_TRACKING_URI, else to every one. Raises TrackingError for a URI that is
    none; what a server does not take is in the result.
    """
    done = []
    for address, outbox in _choose(environ, cwd, uri):
        server = _ServerSync(address, outbox, environ)
        with server.transport:
            for box in outbox.list_runs():
                done.append(server.sync(box))
                on_run(done[-1])
    return SyncResult(runs=tuple(done))
