"""Streams that are closed, full or narrow, and a ctrl-C that comes early: one sentence, and its exit code."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Cli, TestEnvironment

REPRO = f"{shlex.quote(sys.executable)} -m repro"


@pytest.fixture
def project(environment: TestEnvironment, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose lock is restored, and whose environment and cache are the default ones."""
    monkeypatch.setenv("MLFLOW_PYTHON_BIN", environment.python)
    monkeypatch.setenv("MLFLOW_SNAPSHOT_CACHE", str(cli.cache))
    path = Path("project")
    path.mkdir()
    cli("snapshot", "project")
    cli("restore", "project")
    return path


def run(line: str, code: int, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash; never a traceback, nor what Python says at its end of a stream."""
    done = subprocess.run(
        ["bash", "-c", line.replace("repro ", f"{REPRO} ", 1)],
        env={**os.environ, **variables}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr + done.stdout, done.stderr
    assert "Exception ignored" not in done.stderr, done.stderr
    assert done.returncode == code, done.stderr
    return done


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("repro restore nowhere 2>&-", 3),
        ("repro restore nowhere --json >&- 2>&-", 3),
        ("repro restore project >&-", 0),
        ("repro restore project --json <&- >&- 2>&-", 0),
        ("repro status project --no-code >&-", 0),
        ("repro snapshot project --check --prove >&- <&-", 0),
        ("repro snapshot project --check --prove 2>&-", 0),
        ("repro --help >&-", 0),
        ("repro nonsense 2>&-", 2),
        ("repro restore project >/dev/full", 5),
        ("repro restore project --json >/dev/full", 5),
        ("repro restore nowhere --json >/dev/full", 3),
        ("repro restore nowhere --json >/dev/full 2>/dev/full", 3),
        ("repro restore project 2>/dev/full", 0),
    ],
)
def test_a_stream_that_is_closed_or_full(line: str, code: int) -> None:
    run(line, code)


@pytest.mark.usefixtures("project")
def test_a_command_finds_the_streams_that_we_have_been_left_without() -> None:
    script = "import os, sys; [os.fstat(number) for number in range(3)]; sys.stderr.write('whole')"
    done = run(f"repro restore project -- python -c {shlex.quote(script)} <&- >&-", 0)
    assert done.stderr.endswith("whole")


@pytest.mark.usefixtures("project")
def test_a_reader_that_goes_away_is_no_traceback() -> None:
    done = run("repro status project --json --no-code | true; exit ${PIPESTATUS[0]}", 5)
    assert done.stderr == ""


def test_what_a_stream_cannot_encode_is_escaped(project: Path) -> None:
    project.rename("projét")
    for _ in range(2):
        done = run("repro restore projét", 0, PYTHONIOENCODING="ascii", COLUMNS="abc")
        assert "was ready" in done.stdout
        done = run("repro snapshot projét", 0, PYTHONIOENCODING="ascii")
        assert "proj\\xe9t/requirements-lock.txt: " in done.stdout


@pytest.mark.parametrize("columns", ["abc", "0", "-1", "²", "1" * 30])
def test_a_width_that_is_none_is_passed_over(columns: str) -> None:
    assert "--prove" in run("repro snapshot --help", 0, COLUMNS=columns).stdout


def test_what_a_lock_says_does_not_steer_the_terminal() -> None:
    Path("requirements-lock.txt").write_text("alpha==1.0 \x1b[2J\n")
    assert "`alpha==1.0 \\x1b[2J` is not a requirement" in run("repro restore", 3).stderr


@pytest.mark.parametrize(
    ("line", "code", "stage"),
    [
        ("repro restore nowhere --json", 3, "prepare"),
        ("repro restore --json --bogus", 2, "prepare"),
        ("repro nonsense --json", 2, "prepare"),
        ("repro restore nowhere -- python x --json", 3, None),
        ("repro restore --bogus -- python x --json", 2, None),
    ],
)
def test_an_error_is_json_where_we_are_asked_for_it(line: str, code: int, stage: str | None) -> None:
    done = run(line, code)
    assert "error: " in done.stderr
    assert (json.loads(done.stdout)["stage"] if done.stdout else None) == stage


# Interrupts the process when a module is about to be imported.
CUSTOMIZE = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "{module}":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
"""


@pytest.mark.parametrize(
    ("module", "code", "said"),
    [("repro.cli.main", -2, ""), ("repro.errors", -2, ""), ("repro.cli.commands.status", 130, "interrupted\n")],
)
def test_ctrl_c_while_modules_are_imported_is_no_traceback(module: str, code: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(CUSTOMIZE.replace("{module}", module))
    done = subprocess.run(
        [sys.executable, "-m", "repro", "status"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (code, said)


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_is_to_be_done_at_the_end_is_done(when: str, tmp_path: Path) -> None:
    """A command ends without taking the interpreter apart: hooks of the user's and our own are called all the same."""
    hook = "import atexit; atexit.register(print, 'at the end', end='')"
    place = "sitecustomize.py" if when == "before" else "difflib.py"  # which a misspelt command imports
    real = f"import sys; sys.path.remove({str(tmp_path)!r}); del sys.modules['difflib']; from difflib import *"
    (tmp_path / place).write_text(hook if when == "before" else f"{hook}; {real}")
    assert run("repro nonsense", 2, PYTHONPATH=str(tmp_path)).stdout == "at the end"
