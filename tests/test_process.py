"""Children with our terminal: a real terminal, and the little of a shell that gives it and takes it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from repro.process import Runner

# A job-control shell: runs a job in a group of its own, notes how it stops and ends, and follows a script of deeds.
SHELL = """
import fcntl, os, signal, subprocess, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
job, notes, deeds = sys.argv[1], sys.argv[2], sys.argv[3].split()
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
signal.signal(signal.SIGTSTP, signal.SIG_IGN)

def note(text):
    with open(notes, "a") as file:
        print(text, file=file, flush=True)

def start():
    os.setpgid(0, 0)
    for number in (signal.SIGTTOU, signal.SIGTSTP):
        signal.signal(number, signal.SIG_DFL)

def in_front(group):
    os.tcsetpgrp(0, group)

process = subprocess.Popen([sys.executable, "-c", job], preexec_fn=start)
if deeds[0] == "start":
    in_front(process.pid)
while True:
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        break
    note("stopped " + signal.Signals(os.WSTOPSIG(status)).name)
    in_front(os.getpgrp())
    deeds.pop(0)
    if deeds[0] == "fg":
        in_front(process.pid)
    os.killpg(process.pid, signal.SIGCONT)
note("in front: " + {process.pid: "the job", os.getpgrp(): "the shell"}.get(os.tcgetpgrp(0), "another"))
note(f"ended {os.waitstatus_to_exitcode(status)}")
"""
CHILD = "import sys; print('ready', flush=True); print('got ' + input(), flush=True); sys.exit(7)"
JOB = (
    "import sys; from repro.process import Runner; "
    f"sys.exit(Runner().supervise([sys.executable, '-c', {CHILD!r}]).exit_code)"
)


class Session:
    """A shell on a terminal of its own."""

    def __init__(self, notes: Path, deeds: str) -> None:
        self._notes = notes
        self._seen = b""
        self._terminal, inner = os.openpty()
        args = [sys.executable, "-c", SHELL, JOB, str(notes), deeds]
        self._shell = subprocess.Popen(args, stdin=inner, stdout=inner, stderr=inner, start_new_session=True)
        os.close(inner)

    def type(self, keys: str) -> None:
        """Type on the terminal."""
        os.write(self._terminal, keys.encode())

    def wait_for(self, text: str) -> None:
        """Read what the terminal shows until it shows this."""
        while text.encode() not in self._seen:
            self._seen += os.read(self._terminal, 1024)

    def wait_for_note(self, text: str) -> None:
        """Wait until the shell has noted this."""
        deadline = time.monotonic() + 60
        while not (self._notes.exists() and text in self._notes.read_text()):
            assert time.monotonic() < deadline, text
            time.sleep(0.02)

    def end(self) -> list[str]:
        """Return the notes when the shell has ended."""
        self._shell.wait(60)
        return self._notes.read_text().splitlines()

    def close(self) -> None:
        """Hang up, which ends whatever still runs."""
        os.close(self._terminal)
        self._shell.kill()
        self._shell.wait()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Session]]:
    """What starts a shell that follows a script of deeds."""
    sessions: list[Session] = []

    def start_one(deeds: str) -> Session:
        sessions.append(Session(tmp_path / "notes", deeds))
        return sessions[-1]

    yield start_one
    for session in sessions:
        session.close()


@pytest.mark.faults
def test_ctrl_z_stops_the_whole_job_and_fg_goes_on_with_it(start: Callable[[str], Session]) -> None:
    session = start("start fg")
    session.wait_for("ready")
    session.type("\x1a")
    session.wait_for_note("stopped SIGTSTP")
    session.type("hello\n")
    session.wait_for("got hello")
    assert session.end() == ["stopped SIGTSTP", "in front: the job", "ended 7"]


@pytest.mark.faults
def test_a_job_sent_to_the_back_stops_when_it_reads_and_goes_on_in_front(start: Callable[[str], Session]) -> None:
    session = start("start bg fg")
    session.wait_for("ready")
    session.type("\x1a")
    session.wait_for_note("stopped SIGTTIN")
    session.type("hello\n")
    session.wait_for("got hello")
    assert session.end() == ["stopped SIGTSTP", "stopped SIGTTIN", "in front: the job", "ended 7"]


@pytest.mark.faults
def test_a_job_started_at_the_back_stops_when_it_reads(start: Callable[[str], Session]) -> None:
    session = start("back fg")
    session.wait_for_note("stopped SIGTTIN")
    session.type("hello\n")
    session.wait_for("got hello")
    assert session.end() == ["stopped SIGTTIN", "in front: the job", "ended 7"]


@pytest.mark.faults
def test_ctrl_c_goes_to_the_child(start: Callable[[str], Session]) -> None:
    session = start("start")
    session.wait_for("ready")
    session.type("\x03")
    assert session.end() == ["in front: the job", "ended 130"]


SIGNAL_AT_FORK = """
import os, signal
from repro.process import Runner

class Terminated(BaseException):
    pass

def on_terminate(number, frame):
    raise Terminated

signal.signal(signal.SIGTERM, on_terminate)
os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), signal.SIGTERM))
try:
    Runner().{deed}(["sleep", "60"])
except Terminated:
    print("terminated")
"""


@pytest.mark.parametrize("deed", ["capture", "supervise"])
def test_a_signal_that_comes_between_fork_and_exec_is_not_lost(deed: str) -> None:
    args = [sys.executable, "-c", SIGNAL_AT_FORK.replace("{deed}", deed)]
    done = subprocess.run(args, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=True)
    assert (done.stdout, done.stderr) == ("terminated\n", "")


def test_what_a_child_writes_is_handed_on_as_it_comes() -> None:
    code = "import os, sys, time; os.write(1, 'ä'.encode()[:1]); time.sleep(0.2); os.write(1, 'ä'.encode()[1:]);"
    code += "os.write(2, b'said\\xff'); sys.exit(3)"
    out: list[str] = []
    err: list[str] = []
    assert Runner().relay([sys.executable, "-c", code], stdout=out.append, stderr=err.append) == 3
    assert ("".join(out), "".join(err)) == ("ä", "said\ufffd")


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_an_interruption_ends_a_child_that_is_handed_on_with_its_group() -> None:
    started: list[int] = []

    def interrupt(text: str) -> None:
        started.extend(map(int, text.split()))
        raise KeyboardInterrupt

    code = "import os, subprocess; child = subprocess.Popen(['sleep', '60'])"
    code += "; print(f'{os.getpid()} {child.pid}', flush=True)"
    with pytest.raises(KeyboardInterrupt):
        Runner().relay([sys.executable, "-c", f"{code}; child.wait()"], stdout=interrupt, stderr=print)
    assert len(started) == 2
    for _ in range(100):  # the last signal may still be on its way
        if not any(map(is_alive, started)):
            return
        time.sleep(0.05)
    pytest.fail(f"{started} are alive")


@pytest.mark.parametrize("code", [3, 130])
def test_what_a_child_that_failed_has_left_behind_ends(code: int, tmp_path: Path) -> None:
    ended = Runner().supervise(["bash", "-c", f"sleep 60 & echo $! > {tmp_path}/pid; exit {code}"])
    assert ended.exit_code == code
    status = Path("/proc", (tmp_path / "pid").read_text().strip(), "status")
    deadline = time.monotonic() + 20
    while status.exists() and "State:\tZ" not in status.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
