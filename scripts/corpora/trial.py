"""Run a project once, in a copy of its checkout, with one runner, and tell how that ended and why."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from corpora.cases import Case

ROOT = Path(__file__).resolve().parents[2]
ROOM = ROOT / ".corpus"  # logs, the cache, and for its time each copy
REPRO = ROOT / ".test-env/repro/bin/repro"
MLFLOW_BIN = ROOT / ".test-env/mlflow/bin"
_FAULT = re.compile(r"(?m)^([A-Za-z_][\w.]*(?:Error|Exception|Warning|Exit|Interrupt|NotFound)\b(?::.*)?)$")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended: `ran`, `failed` (its own code), `refused` (before that) or `too long`, and why in a sentence."""

    status: str
    cause: str
    seconds: float
    notes: tuple[str, ...] = ()


def _make_environ(home: Path, room: Path) -> dict[str, str]:
    """Return the environment of a user who has MLflow and works in its environment, with a home of our own."""
    dropped = ("VIRTUAL_ENV", "UV_PYTHON", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in dropped and not name.startswith(("MLFLOW_", "REPRO_"))
    }
    return kept | {
        "PATH": f"{MLFLOW_BIN}{os.pathsep}{kept['PATH']}",
        "MLFLOW_SNAPSHOT_CACHE": str(room / "cache"),
        "MLFLOW_ENV_ROOT": str(home / "mlflow-envs"),
        "GIT_PYTHON_REFRESH": "quiet",
    }


def _shorten(text: str, home: Path) -> str:
    """Return one line without the places of this machine."""
    line = " ".join(text.split()).replace(f"{home}/tries/", "").replace(str(home), ".").replace(str(ROOT), ".")
    return line if len(line) < 400 else f"{line[:399]}…"


def find_fault(text: str) -> str:
    """Return the last line of the last traceback, else the last line that says something."""
    text = re.sub(r"(?m)^\d{4}/\d\d/\d\d [\d:]+ \w+ [\w.]+: ", "", text).replace("===", "")
    if found := _FAULT.findall(text):
        return str(found[-1])
    return next((line for line in reversed(text.splitlines()) if line.strip()), "it said nothing")


def _end(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        os.killpg(process.pid, signal.SIGKILL)


def _run(
    words: list[str], home: Path, cwd: Path, environ: dict[str, str], limit_s: float
) -> tuple[int | None, str, str, float]:
    """Return the exit code (None after `limit_s`), what it wrote, and the seconds it took."""
    started = time.monotonic()
    with (home / "stdout").open("w+") as stdout, (home / "stderr").open("w+") as stderr:
        process = subprocess.Popen(
            words,
            cwd=cwd,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            _end(process)
            code = None
        seconds = time.monotonic() - started
        stdout.seek(0)
        stderr.seek(0)
        return code, stdout.read(), stderr.read(), seconds


def _read_repro(code: int | None, stdout: str, stderr: str) -> tuple[str, str]:
    try:
        content = json.loads(stdout)
    except ValueError:
        content = {}
    if code == 0:
        return "ran", ""
    if error := content.get("error"):
        places = f": {'; '.join(error['details'])}" if error["hint"] == "mend these places" else ""
        return ("refused" if content.get("stage") == "prepare" else "failed"), f"{error['message']}{places}"
    hint = re.search(r"(?m)^hint: (.*)$", stderr)
    return "failed", f"{content.get('failure') or find_fault(stderr)}{f' ({hint[1]})' if hint else ''}"


def _read_mlflow(code: int | None, stdout: str, stderr: str) -> tuple[str, str]:
    if code == 0:
        return "ran", ""
    said = stdout + stderr
    build = re.search(r"pyenv', 'install', '--skip-existing', '([\d.]+)'", said)
    return "failed", f"`pyenv install {build[1]}` failed" if build else find_fault(said)


def try_case(case: Case, runner: str, *, limit_s: float, room: Path = ROOM) -> Outcome:
    """Run a case with `repro` or `mlflow`, and keep what it wrote in `logs/` of the room."""
    room.mkdir(exist_ok=True)
    home = Path(tempfile.mkdtemp(dir=room, prefix="trial-"))
    try:
        copy = home / "tries" / case.checkout.name
        shutil.copytree(case.checkout, copy, symlinks=True)
        if runner == "repro":
            as_of = ["--as-of", case.day.isoformat()] if case.is_old else []
            words = [str(REPRO), "run", ".", *case.options, "--restore", *as_of, "--json"]
        else:
            words = [str(MLFLOW_BIN / "mlflow"), "run", ".", *case.options]
        code, stdout, stderr, seconds = _run(words, home, copy / case.project, _make_environ(home, room), limit_s)
        logs = room / "logs"
        logs.mkdir(exist_ok=True)
        name = re.sub(r"[^\w.-]+", "_", case.name)
        kept = f"$ {' '.join(words)}\n{stdout}\n{stderr}\nexit {code} after {seconds:.1f} s\n"
        (logs / f"{name}.{runner}.log").write_text(kept)
        if code is None:
            return Outcome(status="too long", cause=f"not done after {limit_s:g} s", seconds=seconds)
        read = _read_repro if runner == "repro" else _read_mlflow
        status, cause = read(code, stdout, stderr)
        notes = re.findall(r"(?m)^warning: (.*)$", stderr) if runner == "repro" else []
        return Outcome(
            status=status,
            cause=_shorten(cause, home),
            seconds=seconds,
            notes=tuple(_shorten(note, home) for note in notes),
        )
    finally:
        shutil.rmtree(home, ignore_errors=True)
