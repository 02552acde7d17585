"""Pass on what a child writes, as it comes, and keep a copy; or keep it alone.

Where our output is a terminal the child's is one too (a pseudo-terminal, which passes bytes as they are), so that
colours and progress bars stay; input, ctrl-C and ctrl-Z are not touched. Output and errors that go to one place share
one channel, and so keep their order.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import termios
import threading
import time
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import BinaryIO

MAX_BYTES = 64 << 20
_CHUNK_BYTES = 1 << 16
_TICK_S = 0.5
_GRACE_S = 1.0  # for what a process that outlives the child writes


def _copy_size(source: int, target: int) -> None:
    """Give a pseudo-terminal the size of our terminal."""
    with suppress(OSError):
        fcntl.ioctl(target, termios.TIOCSWINSZ, fcntl.ioctl(source, termios.TIOCGWINSZ, b"\0" * 8))


def _open_terminal(like: int) -> tuple[int, int]:
    """Return the two ends of a pseudo-terminal that changes no byte: ours and the child's."""
    ours, theirs = os.openpty()
    attributes = termios.tcgetattr(theirs)
    attributes[1] &= ~termios.OPOST
    attributes[3] &= ~termios.ECHO
    termios.tcsetattr(theirs, termios.TCSANOW, attributes)
    _copy_size(like, ours)
    return ours, theirs


class _Channel:
    """One way from the child to a descriptor of ours, or to nobody."""

    def __init__(self, target: int | None) -> None:
        self._target = target
        self._terminal = target if target is not None and os.isatty(target) else None
        self.ours, self.theirs = os.pipe() if self._terminal is None else _open_terminal(self._terminal)
        os.set_inheritable(self.ours, False)

    def pass_on(self, content: bytes) -> None:
        """Write to our descriptor. Raises OSError where nobody reads there."""
        while content and self._target is not None:
            content = content[os.write(self._target, content) :]

    def copy_size(self) -> None:
        """Give the child's terminal the size that ours has now."""
        if self._terminal is not None:
            _copy_size(self._terminal, self.ours)

    def close(self) -> None:
        """Close our end."""
        if self.ours >= 0:
            os.close(self.ours)
            self.ours = -1

    def read(self) -> bytes:
        """Return what has come; nothing when the last writer is gone."""
        try:
            return os.read(self.ours, _CHUNK_BYTES)
        except OSError:  # EIO: a pseudo-terminal without a writer
            return b""


class Relay:
    """The channels of one child, and the unbuffered file that has a copy; it ends with the last byte.

    What is beyond `max_bytes` is passed on and not kept, which the copy says. Without descriptors of ours output and
    errors share one channel, and are kept alone.
    """

    def __init__(
        self, copy: BinaryIO, *, stdout: int | None = None, stderr: int | None = None, max_bytes: int = MAX_BYTES
    ) -> None:
        self._copy = copy
        self._room = max_bytes
        self._is_over = False
        self._lock = threading.Lock()
        out = _Channel(stdout)
        self._channels = [out]
        if stdout is not None and stderr is not None and not os.path.sameopenfile(stdout, stderr):
            self._channels.append(_Channel(stderr))
        self.stdout, self.stderr = out.theirs, self._channels[-1].theirs
        self._threads = [threading.Thread(target=self._pump, args=(each,), daemon=True) for each in self._channels]

    def __enter__(self) -> Relay:
        for thread in self._threads:
            thread.start()
        return self

    def let_go(self) -> None:
        """Close the child's ends here, once it has them."""
        for channel in self._channels:
            if channel.theirs >= 0:
                os.close(channel.theirs)
                channel.theirs = -1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.let_go()
        deadline = time.monotonic() + _GRACE_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._is_over = True
        for thread in self._threads:
            thread.join()
        for channel in self._channels:
            channel.close()

    def _keep(self, content: bytes) -> None:
        """Write to the copy what it has room for; a disk that is full costs the copy, not the run."""
        with self._lock, suppress(OSError):
            if self._room > 0:
                self._copy.write(content[: self._room])
                self._room -= len(content)
                if self._room <= 0:
                    self._copy.write(b"\n[what came after this was not kept]\n")

    def _pump(self, channel: _Channel) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})  # we are not in front, and may write all the same
        while True:
            ready, _, _ = select.select([channel.ours], [], [], _TICK_S if not self._is_over else 0)
            channel.copy_size()
            if not ready:
                if self._is_over:
                    return
                continue
            content = channel.read()
            if not content:
                return
            self._keep(content)
            try:
                channel.pass_on(content)
            except OSError:  # the child's next write finds nobody, as it would without us
                channel.close()
                return
