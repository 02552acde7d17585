"""A sweep of a script that burns processor time, beside the same script started by itself, two at a time."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benches.home import BIN, HOME, run
from benches.measure import Aim, Case, measure

_POINTS = 100
_JOBS = 2
_SCRIPT = """\
import time
end = time.process_time() + 0.25
while time.process_time() < end:
    pass
"""


def _run_plain(python: Path, directory: Path) -> float:
    """Run the script for every point by itself and return the seconds: what no sweep can beat."""
    started = time.perf_counter()
    with ThreadPoolExecutor(_JOBS) as pool:
        list(pool.map(lambda number: run(python, "burn.py", "--seed", str(number), cwd=directory), range(_POINTS)))
    return time.perf_counter() - started


def bench_sweep(project: Path, rounds: int) -> None:
    """Measure a sweep of 100 points, two at a time: how much of the ideal is left."""
    directory = HOME / "sweep"
    directory.mkdir(exist_ok=True)
    (directory / "burn.py").write_text(_SCRIPT)
    science = HOME / "science" / "bin" / "python"
    words = (BIN / "repro", "sweep", directory, "-e", "burn.py", "-P", f"seed=range(0,{_POINTS})", "-j", str(_JOBS))
    plain = Case("python burn.py, 100 times", lambda: _run_plain(science, directory))
    sweep = Case("repro sweep, 100 points", lambda: run(*words, "--new", "--python", science))
    bare = Case("repro sweep --no-observe", lambda: run(*words, "--new", "--no-observe", "--python", science))
    aims = [Aim(over=plain, under=sweep, limit=0.9, at_least=True)]
    measure("sweep, -j 2", [plain, sweep, bare], aims=aims, rounds=rounds)
