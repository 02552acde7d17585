"""Send in the background what this process logs: one thread for each server, journals for each run.

A logging call writes to its run's journal and returns; the thread sends what has gathered, in batches. A flush sends
in the calling thread. Where the server is away the journals stay, and the thread asks again after longer and longer
waits. A forked child begins journals and a thread of its own: its parent's are its parent's.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from repro.errors import ReproError, ServerUnavailableError, TrackingError
from repro.tracking.rest.courier import WAITING, Courier, Tally
from repro.tracking.rest.journal import Journal
from repro.tracking.rest.outbox import RunBox

_GATHER_S = 0.1
_JUST_NOW_S = 1.0
_SHORTEST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_MOST_OPEN = 64
_MOST_TOLD = 20

_senders: weakref.WeakSet[Sender] = weakref.WeakSet()


class Channel:
    """A run that this process logs to. `lock` is held to write, `delivering` to send."""

    def __init__(self, box: RunBox) -> None:
        self.box = box
        self.journal = box.make_journal()
        self.params: dict[str, str] = {}
        self.delivering = threading.RLock()
        self.is_delivering = False
        self.writer: int | None = None

    def is_interrupted(self) -> bool:
        """Tell whether this thread was writing or sending when a signal's handler began, which then leaves it alone."""
        return self.is_delivering or self.writer == threading.get_ident()

    def check_params(self, params: Mapping[str, str]) -> None:
        """Refuse another value for a parameter than it was given here. Raises TrackingError."""
        for key, value in params.items():
            before = self.params.get(key, value)
            if before != value:
                raise TrackingError(
                    f"the parameter `{key}` of run `{self.box.run_id}` is `{before}` and cannot become `{value}`"
                )
        self.params.update(params)


class Sender:
    """What this process logs to one server."""

    def __init__(self, courier: Courier) -> None:
        self._courier = courier
        self._owner = os.getpid()
        self._tally = Tally()
        self._told_away = False
        self._begin()
        _senders.add(self)
        atexit.register(_finish, weakref.ref(self))

    def _begin(self) -> None:
        self._channels: dict[str, Channel] = {}
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._failed_at_s = 0.0
        self._failure = ""

    def leave_to_parent(self) -> None:
        """Forget, in a forked child, what is its parent's."""
        for channel in self._channels.values():
            channel.journal.drop()
        self._owner = os.getpid()
        self._tally = Tally()
        self._begin()

    # writing

    def _open(self, run_id: str) -> Channel:
        with self._lock:
            channel = self._channels.get(run_id)
            if channel is None or channel.journal.is_closed:
                try:
                    channel = Channel(self._courier.outbox.get_run(run_id))
                except OSError as error:
                    raise TrackingError(
                        f"`{self._courier.outbox.root}` cannot be written ({error.strerror})",
                        hint="REPRO_OUTBOX names another directory for what the server has not got yet",
                    ) from error
                self._channels[run_id] = channel
            return channel

    def write(self, run_id: str, lines: str, *, params: Mapping[str, str] | None = None) -> None:
        """Keep whole lines (see `entries`) and have them sent soon. Raises TrackingError."""
        while True:
            channel = self._channels.get(run_id) or self._open(run_id)
            with channel.journal.lock:
                outer, channel.writer = channel.writer, threading.get_ident()
                try:
                    if not channel.journal.is_closed:
                        if params:
                            channel.check_params(params)
                        channel.journal.append(lines)
                        break
                finally:
                    channel.writer = outer
            self._open(run_id)
        if not self._wake.is_set():
            self._wake_up()

    def _wake_up(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="repro-sender", daemon=True)
                with suppress(RuntimeError):  # the interpreter ends, and flushes
                    self._thread.start()
        self._wake.set()

    # sending

    def _deliver_channel(self, channel: Channel) -> None:
        with channel.delivering:
            if channel.journal.is_closed or channel.is_interrupted():
                return
            channel.is_delivering = True
            try:
                self._courier.deliver(channel.box, channel.journal, self._tally)
            finally:
                channel.is_delivering = False

    def _work(self) -> None:
        """Send what gathers, for as long as the process runs; whatever goes wrong is a flush's to say."""
        pause_s = _SHORTEST_PAUSE_S
        while True:
            self._wake.wait()
            time.sleep(_GATHER_S)
            self._wake.clear()
            if self._send_gathered():
                pause_s = _SHORTEST_PAUSE_S
                continue
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
            self._wake.set()

    def _send_gathered(self) -> bool:
        """Send what was logged to each run, and say whether that could be done."""
        is_sent = True
        for channel in list(self._channels.values()):
            try:
                self._deliver_channel(channel)
            except ServerUnavailableError as error:
                self.note_away(error)
                return False
            except (ReproError, OSError):
                is_sent = False  # the other runs need not wait for this one
        self._close_idle()
        return is_sent

    def _close_idle(self) -> None:
        if len(self._channels) > _MOST_OPEN:
            for run_id in list(self._channels):
                self._close(run_id)

    def close_run(self, run_id: str) -> None:
        """Remove the journals of a run where all of it was sent; logging to it begins others."""
        for name in self._courier.outbox.list_names(run_id):
            self._close(name)

    def _close(self, run_id: str) -> None:
        channel = self._channels.get(run_id)
        if channel is None or not channel.delivering.acquire(blocking=False):
            return
        try:
            with self._lock, channel.journal.lock:
                if channel.journal.is_sent and not channel.is_interrupted():
                    channel.journal.close()
                    channel.box.remove_if_done()
                    self._channels.pop(run_id, None)
        finally:
            channel.delivering.release()

    def deliver_run(self, run_id: str) -> None:
        """Send what was logged to a run, here and by processes that have ended.

        Raises ServerUnavailableError and TrackingRefusedError: it is on the disk; TrackingError where it cannot be.
        """
        for name in self._courier.outbox.list_names(run_id):
            box = self._courier.outbox.get_run(name)
            if channel := self._channels.get(name):
                self._deliver_channel(channel)
            if box.exists():
                deliver_left(self._courier, box, self._tally, own=self._list_own())

    def _list_own(self) -> frozenset[Path]:
        return frozenset(channel.journal.path for channel in list(self._channels.values()))

    def deliver_all(self) -> None:
        """Send what was logged to any run. Raises as `deliver_run` does."""
        for run_id in list(self._channels):
            self.deliver_run(run_id)

    def raise_if_just_away(self) -> None:
        """Raise ServerUnavailableError where it was just raised: what can be kept need not wait for the next try."""
        if self._failure and time.monotonic() - self._failed_at_s < _JUST_NOW_S:
            raise ServerUnavailableError(self._failure)

    def note_away(self, error: ServerUnavailableError) -> None:
        """Say once that the server is away, and where everything is meanwhile."""
        if time.monotonic() - self._failed_at_s > _JUST_NOW_S:
            self._failed_at_s = time.monotonic()
        self._failure = error.message
        if self._told_away:
            return
        self._told_away = True
        _warn(
            f"{error.message}; the run goes on, and what it logs is kept in `{self._courier.outbox.root}`"
            " until the server is back or `repro runs sync` sends it"
        )

    def _sync(self) -> None:
        for channel in list(self._channels.values()):
            with suppress(OSError), channel.journal.lock:
                if not channel.journal.is_closed and not channel.journal.is_sent:
                    channel.journal.sync()

    def has_unsent(self, run_id: str) -> bool:
        """Tell whether something that was logged to a run waits."""
        names = self._courier.outbox.list_names(run_id)
        channels = [self._channels[name] for name in names if name in self._channels]
        return any(not channel.journal.is_sent for channel in channels)

    def _flush_own(self) -> TrackingError | None:
        """Send what this process has logged; return why the first of the runs that cannot be sent cannot."""
        first: TrackingError | None = None
        for run_id in list(self._channels):
            try:
                self.deliver_run(run_id)
                self._close(run_id)
            except ServerUnavailableError:
                raise
            except TrackingError as error:
                first = first or error
        return first

    def _flush_left(self) -> None:
        """Send what others have left; what cannot be sent of it is said, and is not this process's fault."""
        for box in self._courier.outbox.list_runs():
            if box.run_id in self._channels:
                continue
            tally = Tally()
            try:
                deliver_left(self._courier, box, tally, own=self._list_own())
            except WAITING:
                raise
            except TrackingError as error:
                _warn(f"what an earlier process has logged to the run `{box.run_id}` cannot be sent: {error.message}")
            if tally.refused:
                _warn(f"the server refuses {len(tally.refused)} values of an earlier process, see `{box.refused}`")

    def flush(self) -> None:
        """Send everything that is left, also by processes that have ended; what cannot be sent is on the disk then.

        Raises TrackingError for what the server has refused since the last flush, and TrackingRefusedError where it
        refuses us.
        """
        try:
            error = self._flush_own()
            if error is None:
                self._flush_left()
                self._told_away = False
        except ServerUnavailableError as away:
            error = None
            self.note_away(away)
        if error or self._waits():
            self._sync()
        if error:
            raise error
        self.raise_refused()

    def raise_refused(self) -> None:
        """Raise TrackingError for what the server has refused."""
        refused, self._tally = self._tally.refused, Tally()
        if refused:
            raise TrackingError(
                f"the server refuses {len(refused)} of the values logged",
                details=tuple(refused[:_MOST_TOLD]),
                hint=f"they are kept in `{self._courier.outbox.root}`, in the files `refused`",
            )

    def finish(self) -> None:
        """Flush at the end of the process, and only say what goes wrong."""
        if os.getpid() != self._owner or not self._has_unsent():
            return
        if time.monotonic() - self._failed_at_s < 2 and self._failed_at_s:
            self._sync()
            return
        try:
            self.flush()
        except ReproError as error:
            _warn(str(error))

    def _has_unsent(self) -> bool:
        return bool(self._tally.refused) or self._waits()

    def _waits(self) -> bool:
        return any(not each.journal.is_sent for each in list(self._channels.values()))


def deliver_left(courier: Courier, box: RunBox, tally: Tally, *, own: frozenset[Path] = frozenset()) -> int:
    """Send what processes that have ended have left of a run; return how many journals are somebody's still.

    A run that is to be made is made, though nothing was logged to it. `own` are our own journals, whose locks would
    not keep ourselves away on every file system.
    """
    if box.is_new():
        courier.create_kept(box)
        tally.created = True
    busy = 0
    for path in box.list_journals():
        journal = None if path in own else Journal.find_left(path)
        if journal is None:
            busy += path.exists()
            continue
        try:
            courier.deliver(box, journal, tally)
        finally:
            journal.close()
    if not busy:
        box.remove_if_done()
    return busy


def _warn(text: str) -> None:
    import logging

    logging.getLogger("repro").warning("%s", text)


def _finish(sender: weakref.ref[Sender]) -> None:
    if found := sender():
        found.finish()


def _leave_all_to_parent() -> None:
    for sender in list(_senders):
        sender.leave_to_parent()


os.register_at_fork(after_in_child=_leave_all_to_parent)
