from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

from repro.process import Leash, Runner
from repro.relay import MAX_BYTES, Relay

SUPERVISE = """
import sys
from repro.process import Runner
with open("copy", "wb", buffering=0) as copy:
    ended = Runner().supervise([sys.executable, "-c", sys.argv[1]], copy=copy, stdout_to_stderr="to-stderr" in sys.argv)
sys.exit(ended.exit_code)
"""
SAY = "import os, sys; os.write(1, b'out\\n'); os.write(2, b'err\\n'); os.write(1, bytes(range(256)))"


def supervise(tmp_path: Path, code: str, *args: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", SUPERVISE, code, *args], cwd=tmp_path, capture_output=True, check=False, timeout=60
    )


def test_output_and_errors_are_passed_on_and_kept_byte_by_byte(tmp_path: Path) -> None:
    done = supervise(tmp_path, SAY)
    assert done.stdout == b"out\n" + bytes(range(256))
    assert done.stderr == b"err\n"
    assert sorted((tmp_path / "copy").read_bytes()) == sorted(done.stdout + done.stderr)


def test_output_goes_to_stderr_where_stdout_is_for_json(tmp_path: Path) -> None:
    done = supervise(tmp_path, SAY, "to-stderr")
    assert done.stdout == b""
    assert done.stderr == b"out\nerr\n" + bytes(range(256)) == (tmp_path / "copy").read_bytes()


def test_much_output_comes_whole(tmp_path: Path) -> None:
    done = supervise(tmp_path, "import sys; sys.stdout.buffer.write(b'0123456789' * 500_000)")
    assert done.stdout == b"0123456789" * 500_000 == (tmp_path / "copy").read_bytes()


def test_a_child_whose_reader_is_gone_finds_that_out(tmp_path: Path) -> None:
    code = "import sys\nfor number in range(10**9): print(number)"
    command = [sys.executable, "-c", SUPERVISE, code]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr
        assert b"BrokenPipeError" in process.stderr.read()
    assert process.returncode == 1


def test_a_process_that_outlives_the_child_is_not_waited_for(tmp_path: Path) -> None:
    code = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); print('x')"
    started = time.monotonic()
    assert supervise(tmp_path, code).returncode == 0
    assert time.monotonic() - started < 30  # not the child's sixty seconds
    assert (tmp_path / "copy").read_bytes() == b"x\n"


def test_a_terminal_stays_one_and_keeps_the_order(tmp_path: Path) -> None:
    code = "import os, sys; print(os.isatty(1), os.isatty(2), tuple(os.get_terminal_size(1)), flush=True); " + SAY
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execv(sys.executable, [sys.executable, "-c", SUPERVISE, code])
    import fcntl
    import struct
    import termios

    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 1 << 16)
        except OSError:
            break
    os.waitpid(pid, 0)
    os.close(terminal)
    copy = (tmp_path / "copy").read_bytes()
    first, rest = copy.split(b"\n", 1)
    assert first.startswith(b"True True (")
    assert rest == b"out\nerr\n" + bytes(range(256))
    assert shown.replace(b"\r\n", b"\n").startswith(first + b"\nout\nerr\n")


def test_a_copy_has_a_bound(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    with (
        (tmp_path / "copy").open("wb", buffering=0) as copy,
        Relay(copy, stdout=theirs, stderr=theirs, max_bytes=10) as relay,  # type: ignore[arg-type]
    ):
        os.write(relay.stdout, b"0123456789abc")
        relay.let_go()
    os.close(theirs)
    assert os.read(ours, 100) == b"0123456789abc"
    os.close(ours)
    assert (tmp_path / "copy").read_bytes() == b"0123456789\n[what came after this was not kept]\n"


def test_what_runs_beside_others_is_kept_up_to_the_same_bound(tmp_path: Path) -> None:
    size = MAX_BYTES + 5
    code = f"import os, sys; sys.stdout.write('x' * {size}); sys.stdout.flush(); os.write(2, b'last')"
    with (tmp_path / "copy").open("wb", buffering=0) as copy:
        ended = Runner().attend([sys.executable, "-c", code], leash=Leash(), output=copy)  # type: ignore[arg-type]
    kept = (tmp_path / "copy").read_bytes()
    assert (ended.exit_code, kept[:3]) == (0, b"xxx")
    assert kept[MAX_BYTES - 1 :] == b"x\n[what came after this was not kept]\n"


@pytest.mark.parametrize(
    "code",
    [
        "import time; time.sleep(60)",
        "import signal, time; signal.signal(15, lambda *_: None)\nwhile True: time.sleep(1)",
    ],
)
def test_a_child_is_ended_when_its_time_has_passed(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("repro.process.GRACE_S", 0.5)
    ended = Runner().supervise([sys.executable, "-c", code], timeout_s=1)
    assert ended.timed_out
    assert ended.exit_code in (137, 143)


def test_a_child_that_ends_in_time_is_left_alone() -> None:
    ended = Runner().supervise([sys.executable, "-c", "raise SystemExit(3)"], timeout_s=60)
    assert (ended.exit_code, ended.timed_out) == (3, False)
