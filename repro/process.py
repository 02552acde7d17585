"""Start processes: tools whose output is wanted, and children that own the terminal.

Everything started here runs in a process group of its own and ends with us: a ctrl-C, a SIGTERM and even a SIGKILL of
this process leave no child behind that works on.
"""

from __future__ import annotations

import codecs
import os
import selectors
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress

from repro.errors import Terminated
from repro.values import frozen, mutable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, BinaryIO

    from repro.relay import Relay

GRACE_S = 5.0
_PAUSE_S = 0.5
_UMASK = 0o022  # what a tool makes in the store must not be writable by others, whatever the user's umask
_PR_SET_PDEATHSIG = 1
_KEPT_LINES = 20
_LONGEST_LINE_BYTES = 65_536
# Waits for a word, or for the end of whoever should say it: then nobody else is left to end the group. A shell starts
# in a millisecond, where Python takes twenty.
_WATCH = 'read -r word || kill -KILL "-$1"'


@frozen
class Finished:
    """What a tool left: its exit code and its output as text."""

    returncode: int
    stdout: str
    stderr: str


@frozen
class Ended:
    """How a child ended: its exit code, 128+N for signal N, and whether that was because its time had passed."""

    exit_code: int
    timed_out: bool


class _Interruptions:
    """Put interruptions off for the block, or until they are let in: between a fork and its exec, one would be lost."""

    def __enter__(self) -> _Interruptions:
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        return self

    def __exit__(self, *exception: object) -> None:
        self.let_in()

    def let_in(self) -> None:
        """Let them in, where what was started can be ended; one that has come is raised here."""
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)


def _make_dying_with_us(interruptions: _Interruptions, *, lead: bool) -> Callable[[], None]:
    """Return what a child does before it becomes its command: end when we do, and with `lead` lead a group."""
    import _ctypes  # what `ctypes` is made of, which takes longer to import than the child to start

    libc = _ctypes.dlopen(None, os.RTLD_NOW)  # type: ignore[arg-type]
    prctl = _ctypes.dlsym(libc, "prctl")

    def prepare() -> None:
        if lead:
            os.setpgid(0, 0)
        _ctypes.call_function(prctl, (_PR_SET_PDEATHSIG, int(signal.SIGKILL)))
        interruptions.let_in()

    return prepare


def exit_code_of(returncode: int) -> int:
    """Turn a `Popen.returncode` into a shell's exit code: 128+N for signal N."""
    return 128 - returncode if returncode < 0 else returncode


def _signal_group(group: int, number: int) -> None:
    """Send a signal to a whole group, and let it go on: one that is stopped could not end. Raises OSError."""
    os.killpg(group, number)
    os.killpg(group, signal.SIGCONT)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Ask the whole group to end, and make it after a grace period."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            _signal_group(process.pid, number)
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            continue
        if number == signal.SIGTERM:
            _kill_leftovers(process.pid)
        return


def _kill_leftovers(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


class Leash:
    """What ends children from another thread: those that are held by it, and at once those that come later."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[int, Leashed] = {}
        self.is_pulled = False

    @contextmanager
    def holding(self, group: int) -> Iterator[Leashed]:
        """Hold a process group for the block."""
        leashed = Leashed()
        with self._lock:
            self._held[group] = leashed
            is_late = self.is_pulled
        if is_late:
            self.pull()
        try:
            yield leashed
        finally:
            with self._lock:
                del self._held[group]

    def pull(self, *, hard: bool = False) -> None:
        """Ask all groups to end, or where `hard` make them."""
        with self._lock:
            self.is_pulled = True
            for group, leashed in self._held.items():
                leashed.is_ended = True
                with suppress(ProcessLookupError, PermissionError):
                    _signal_group(group, signal.SIGKILL if hard else signal.SIGTERM)


@mutable
class Leashed:
    """Whether a child was ended by its leash."""

    is_ended: bool = False


def _end_helpers(process: subprocess.Popen[bytes]) -> None:
    """End what a child has left behind that failed or was ended; one that has ended well may leave whom it likes."""
    if process.returncode != 0:
        _kill_leftovers(process.pid)


class _Terminal:
    """The terminal of our standard input, lent to a child's process group while that runs and we are in front."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._is_lent = False

    def is_ours(self) -> bool:
        """Tell whether our process group is in front: that to which ctrl-C goes, and which may read."""
        return os.tcgetpgrp(self._descriptor) == os.getpgrp()

    def _give(self, group: int) -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})  # which would stop one that is not in front
        try:
            os.tcsetpgrp(self._descriptor, group)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def lend(self, group: int) -> None:
        """Let a group that stands still go on, in front where we are; one that has ended is fine."""
        with suppress(OSError):
            if self.is_ours():
                self._give(group)
                self._is_lent = True
            os.killpg(group, signal.SIGCONT)

    def take_back(self) -> None:
        """Be in front again where we were."""
        if self._is_lent:
            self._is_lent = False
            with suppress(OSError):
                self._give(os.getpgrp())

    def pass_stop(self, number: int, group: int) -> None:
        """Stop as the child was stopped, so that the shell has its prompt, and go on with it when the shell lets us.

        A child that wanted to read while we are in front again (`fg`) has waited for the terminal alone.
        """
        self.take_back()
        wants_terminal = number in (signal.SIGTTIN, signal.SIGTTOU)
        if not (wants_terminal and self.is_ours()):
            os.kill(0, signal.SIGTSTP if number == signal.SIGSTOP else number)  # returns when we are continued
            if wants_terminal and not self.is_ours():
                time.sleep(_PAUSE_S)  # where nobody could stop us, a child that insists must not keep us spinning
        self.lend(group)


def _find_terminal() -> _Terminal | None:
    try:
        descriptor = sys.stdin.fileno()
        os.tcgetpgrp(descriptor)
    except (OSError, ValueError, AttributeError):
        return None
    return _Terminal(descriptor)


def _wait(process: subprocess.Popen[bytes], terminal: _Terminal | None) -> None:
    """Wait for a child's end; with a terminal, ctrl-Z stops us with it."""
    if terminal is None:
        process.wait()
        return
    while True:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            process.returncode = os.waitstatus_to_exitcode(status)
            return
        terminal.pass_stop(os.WSTOPSIG(status), process.pid)


@contextmanager
def _foreground(group: int) -> Iterator[_Terminal | None]:
    """Lend the terminal to `group`, so that ctrl-C, ctrl-Z and reading work there, and take it back."""
    terminal = _find_terminal()
    if terminal is None:
        yield None
        return
    try:
        terminal.lend(group)
        yield terminal
    finally:
        terminal.take_back()


@contextmanager
def _ending(process: subprocess.Popen[bytes], interruptions: _Interruptions | None) -> Iterator[None]:
    """End a child's whole group where the block fails or is interrupted, which it can be from here on."""
    try:
        if interruptions:
            interruptions.let_in()
        yield
    except BaseException:
        _end_group(process)
        raise


def _hand_on(pipes: Mapping[IO[bytes] | None, Callable[[str], object]]) -> None:
    """Call each pipe's function with what comes out of it, until all are closed."""
    with selectors.DefaultSelector() as selector:
        for pipe, write in pipes.items():
            if pipe is not None:
                selector.register(pipe, selectors.EVENT_READ, (write, codecs.getincrementaldecoder("utf-8")("replace")))
        while selector.get_map():
            for key, _ in selector.select():
                write, decoder = key.data
                chunk = os.read(key.fd, 1 << 16)
                if text := decoder.decode(chunk, final=not chunk):
                    write(text)
                if not chunk:
                    selector.unregister(key.fileobj)


class _Deadline:
    """The time after which a child's whole group is asked to end, and after a grace period made to."""

    def __init__(self, group: int, timeout_s: float | None) -> None:
        self._group = group
        self._timeout_s = timeout_s
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None
        self.has_passed = False

    def __enter__(self) -> _Deadline:
        if self._timeout_s is not None:
            self._thread = threading.Thread(target=self._watch, args=(self._timeout_s,), daemon=True)
            self._thread.start()
        return self

    def _watch(self, timeout_s: float) -> None:
        if self._is_over.wait(timeout_s):
            return
        self.has_passed = True
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                _signal_group(self._group, number)
            if self._is_over.wait(GRACE_S):
                break
        _kill_leftovers(self._group)

    def __exit__(self, *exception: object) -> None:
        self._is_over.set()
        if self._thread:
            self._thread.join()


@contextmanager
def _relaying(copy: BinaryIO | None, *, stdout_to_stderr: bool) -> Iterator[Relay | None]:
    """Have a relay where a copy is wanted and our own output has a descriptor, which a notebook's has not."""
    from repro.relay import Relay

    try:
        stderr = sys.stderr.fileno()
        stdout = stderr if stdout_to_stderr else sys.stdout.fileno()
    except (OSError, ValueError, AttributeError):
        copy = None
    if copy is None:
        yield None
        return
    for stream in (sys.stdout, sys.stderr):  # what we have said ourselves comes first
        with suppress(OSError, ValueError):
            stream.flush()
    with Relay(copy, stdout=stdout, stderr=stderr) as relay:
        yield relay


@contextmanager
def _watched(group: int) -> Iterator[None]:
    """Have a process group killed where the block does not end it: interrupted once more, or killed itself.

    What the death of a parent kills is its own child alone (`PR_SET_PDEATHSIG`), not what that has started.
    """
    args = ["/bin/sh", "-c", _WATCH, "sh", str(group)]
    try:
        watcher = subprocess.Popen(
            args, bufsize=0, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
    except OSError:
        _kill_leftovers(group)
        raise
    with watcher:
        yield
        if watcher.stdin:
            with suppress(OSError):
                watcher.stdin.write(b"\n")


def _ignore(line: str) -> None:
    pass


class Companion:
    """A process that works beside us, and the last lines that it has said."""

    def __init__(self, process: subprocess.Popen[bytes], hear: Callable[[str], None]) -> None:
        self._process = process
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._listener = threading.Thread(target=self._listen, args=(hear,), daemon=True)
        self._listener.start()

    def _listen(self, hear: Callable[[str], None]) -> None:
        if self._process.stdout is None:
            return
        with self._process.stdout as lines:
            while said := lines.readline(_LONGEST_LINE_BYTES):
                line = said.decode(errors="replace").rstrip()
                self._lines.append(line)
                hear(line)

    def find_exit_code(self) -> int | None:
        """Return its exit code, None while it works."""
        returncode = self._process.poll()
        return None if returncode is None else exit_code_of(returncode)

    def wait(self) -> int:
        """Wait for its end and return the exit code, 128+N for signal N."""
        return exit_code_of(self._process.wait())

    def get_last_lines(self) -> tuple[str, ...]:
        """Return what it has said at last."""
        if self._process.poll() is not None:
            self._listener.join(_PAUSE_S)  # what was said just before the end may be on its way
        return tuple(self._lines)


def start_guest(
    args: Sequence[str], *, env: Mapping[str, str] | None = None, pass_fds: tuple[int, ...] = ()
) -> subprocess.Popen[bytes]:
    """Start a process that is spoken to over `pass_fds`, leads a group of its own, and ends when we do.

    What it writes goes to our standard error. Raises OSError where it cannot be started.
    """
    with _Interruptions() as interruptions:
        return subprocess.Popen(
            args,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=sys.__stderr__,
            pass_fds=pass_fds,
            preexec_fn=_make_dying_with_us(interruptions, lead=True),
        )


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """End a process that leads a group, with all of it, at once."""
    _kill_leftovers(process.pid)


class Started:
    """A process that goes on by itself."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Its id."""
        return self._process.pid

    def terminate(self) -> None:
        """Ask it to end; one that has ended is fine."""
        self._process.terminate()

    def find_exit_code(self) -> int | None:
        """Return its exit code, 128+N for signal N; None while it goes on."""
        code = self._process.poll()
        return None if code is None else exit_code_of(code)

    def wait(self) -> int:
        """Wait for its end and return the exit code, 128+N for signal N."""
        return exit_code_of(self._process.wait())


class Runner:
    """Start commands; `echo` is called with each command line (`-v`, `MLFLOW_VERBOSE`)."""

    def __init__(self, echo: Callable[[str], None] | None = None) -> None:
        self._echo = echo

    def _announce(self, args: Sequence[str]) -> None:
        if self._echo:
            self._echo(shlex.join(args))

    def capture(
        self,
        args: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdin: str = "",
        pass_fds: tuple[int, ...] = (),
        timeout_s: float | None = None,
        brief: bool = False,
    ) -> Finished:
        """Run a tool to its end and return its output; nothing is raised for its exit code.

        One that is `brief` starts faster, and may outlive us for the moment it takes.

        Raises OSError where it cannot be started, TimeoutError after `timeout_s` seconds.
        """
        self._announce(args)
        with _Interruptions() if not brief else nullcontext() as interruptions:
            process = subprocess.Popen(
                args,
                env=env,
                cwd=cwd,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=pass_fds,
                start_new_session=True,
                umask=_UMASK,
                preexec_fn=_make_dying_with_us(interruptions, lead=False) if interruptions else None,
            )
            with _ending(process, interruptions):
                try:
                    stdout, stderr = process.communicate(stdin.encode(), timeout_s)
                except subprocess.TimeoutExpired:
                    raise TimeoutError(f"`{args[0]}` did not end within {timeout_s:g} s") from None
        return Finished(
            returncode=process.returncode,
            stdout=stdout.decode(errors="replace"),
            stderr=stderr.decode(errors="replace"),
        )

    def supervise(
        self,
        args: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdout_to_stderr: bool = False,
        copy: BinaryIO | None = None,
        timeout_s: float | None = None,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Ended:
        """Run a child with our terminal to its end and say how it ended.

        What it writes is written to `copy` too, which is not buffered. After `timeout_s` seconds its whole group is
        ended. `meanwhile` is done while it runs: what is needed at its end and costs time.
        When we are interrupted or terminated, the child's whole group ends first; then the exception goes on. Raises
        OSError where the child cannot be started.
        """
        self._announce(args)
        with _relaying(copy, stdout_to_stderr=stdout_to_stderr) as relay, _Interruptions() as interruptions:
            process = subprocess.Popen(
                args,
                env=env,
                cwd=cwd,
                stdout=relay.stdout if relay else sys.stderr if stdout_to_stderr else None,
                stderr=relay.stderr if relay else None,
                preexec_fn=_make_dying_with_us(interruptions, lead=True),
            )
            with (
                _watched(process.pid),
                _ending(process, interruptions),
                _foreground(process.pid) as terminal,
                _Deadline(process.pid, timeout_s) as deadline,
            ):
                if relay:
                    relay.let_go()
                meanwhile()
                _wait(process, terminal)
                _end_helpers(process)
        return Ended(exit_code=exit_code_of(process.returncode), timed_out=deadline.has_passed)

    def attend(
        self,
        args: Sequence[str],
        *,
        leash: Leash,
        output: BinaryIO,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout_s: float | None = None,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Ended:
        """Run a child beside others, each in a thread, without our terminal: what it writes goes to `output` alone.

        `output` is not buffered, and gets as much as a `copy` of `supervise`. Raises Terminated where its
        leash has ended it, and OSError where it cannot be started; else as `supervise`.
        """
        from repro.relay import Relay

        self._announce(args)
        with Relay(output) as relay, _Interruptions() as interruptions:
            process = subprocess.Popen(
                args,
                env=env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=relay.stdout,
                stderr=relay.stderr,
                preexec_fn=_make_dying_with_us(interruptions, lead=True),
            )
            with (
                _watched(process.pid),
                _ending(process, interruptions),
                leash.holding(process.pid) as leashed,
                _Deadline(process.pid, timeout_s) as deadline,
            ):
                relay.let_go()
                meanwhile()
                process.wait()
                _end_helpers(process)
            if leashed.is_ended:
                _kill_leftovers(process.pid)
                raise Terminated
        return Ended(exit_code=exit_code_of(process.returncode), timed_out=deadline.has_passed)

    def start(
        self,
        args: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        pass_fds: tuple[int, ...] = (),
        log: BinaryIO | None = None,
    ) -> Started:
        """Start a process of repro's own that outlives the call, in a session of its own, without our terminal.

        It ends by itself when we do, which the other end of what it holds in `pass_fds` tells it, or is meant to go on
        without us; then all that it says goes to `log`. Raises OSError.
        """
        self._announce(args)
        return Started(
            subprocess.Popen(
                args,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=pass_fds,
                start_new_session=True,
            )
        )

    @contextmanager
    def accompany(
        self,
        args: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        hear: Callable[[str], None] = _ignore,
    ) -> Iterator[Companion]:
        """Have a process beside us for the block, without our terminal; its whole group ends with the block.

        And with us, however we end: another process sees to that. `hear` is told each line that it says, in a thread.
        Raises OSError where it cannot be started.
        """
        self._announce(args)
        with _Interruptions() as interruptions:
            process = subprocess.Popen(
                args,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                preexec_fn=_make_dying_with_us(interruptions, lead=True),
            )
            with _watched(process.pid), _ending(process, interruptions):
                try:
                    yield Companion(process, hear)
                finally:
                    _end_group(process)

    def relay(
        self,
        args: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdout: Callable[[str], object],
        stderr: Callable[[str], object],
    ) -> int:
        """Run a child without a terminal to its end, hand on what it writes as it comes, and return its exit code.

        It ends with its whole group where we are interrupted. Raises OSError where it cannot be started.
        """
        self._announce(args)
        with _Interruptions() as interruptions:
            process = subprocess.Popen(
                args,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                preexec_fn=_make_dying_with_us(interruptions, lead=True),
            )
            with _watched(process.pid), _ending(process, interruptions), process:
                _hand_on({process.stdout: stdout, process.stderr: stderr})
        return exit_code_of(process.returncode)
