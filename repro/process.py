"""Start processes: tools whose output is wanted, and children that own the terminal.

Everything started here runs in a process group of its own and ends with us: a ctrl-C, a SIGTERM and even a SIGKILL of
this process leave no child behind that works on.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

GRACE_S = 5.0
_UMASK = 0o022  # what a tool makes in the store must not be writable by others, whatever the user's umask
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What a tool left: its exit code and its output as text."""

    returncode: int
    stdout: str
    stderr: str


def _make_dying_with_us(lead: bool) -> Callable[[], None]:
    """Return what a child does before it becomes its command: end when we do, and with `lead` lead a group."""
    import ctypes

    libc = ctypes.CDLL(None)

    def prepare() -> None:
        if lead:
            os.setpgid(0, 0)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    return prepare


def exit_code_of(returncode: int) -> int:
    """Turn a `Popen.returncode` into a shell's exit code: 128+N for signal N."""
    return 128 - returncode if returncode < 0 else returncode


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Ask the whole group to end, and make it after a grace period."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
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


@contextmanager
def _foreground(group: int) -> Iterator[None]:
    """Give the terminal to `group`, so that ctrl-C and reading work there, and take it back."""
    try:
        terminal = sys.stdin.fileno()
        ours = os.tcgetpgrp(terminal)
    except (OSError, ValueError, AttributeError):
        yield
        return
    if ours != os.getpgrp():
        yield
        return
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        try:
            os.tcsetpgrp(terminal, group)
            os.killpg(group, signal.SIGCONT)
        except OSError:
            pass  # the child has ended already
        yield
    finally:
        os.tcsetpgrp(terminal, ours)
        signal.signal(signal.SIGTTOU, before)


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
            preexec_fn=None if brief else _make_dying_with_us(lead=False),
        )
        try:
            stdout, stderr = process.communicate(stdin.encode(), timeout_s)
        except subprocess.TimeoutExpired:
            _end_group(process)
            raise TimeoutError(f"`{args[0]}` did not end within {timeout_s:g} s") from None
        except BaseException:
            _end_group(process)
            raise
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
        meanwhile: Callable[[], None] = lambda: None,
    ) -> int:
        """Run a child with our terminal to its end and return its exit code, 128+N for signal N.

        `meanwhile` is done while it runs: what is needed at its end and costs time.
        When we are interrupted or terminated, the child's whole group ends first; then the exception goes on. Raises
        OSError where the child cannot be started.
        """
        self._announce(args)
        process = subprocess.Popen(
            args,
            env=env,
            cwd=cwd,
            stdout=sys.stderr if stdout_to_stderr else None,
            preexec_fn=_make_dying_with_us(lead=True),
        )
        try:
            with _foreground(process.pid):
                meanwhile()
                process.wait()
        except BaseException:
            _end_group(process)
            raise
        return exit_code_of(process.returncode)
