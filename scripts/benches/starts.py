"""Starting, and what happens inside one process: the command, the import, and a loader's look at its lock."""

from __future__ import annotations

import subprocess
from pathlib import Path

from benches.home import BIN, HOME, ROOT, run
from benches.measure import Case, measure


def bench_starts(project: Path, rounds: int) -> None:
    """Measure commands that do next to nothing."""
    python = BIN / "python"
    run(BIN / "repro", "restore", project)
    cases = [
        Case("python -c pass", lambda: run(python, "-c", "pass")),
        Case("repro --help", lambda: run(BIN / "repro", "--help")),
        Case("repro restore (ready)", lambda: run(BIN / "repro", "restore", project)),
        Case("import repro", lambda: run(python, "-c", "import repro")),
        Case("uv --version", lambda: run(BIN / "uv", "--version")),
        Case("pip --version", lambda: run(python, "-m", "pip", "--version")),
    ]
    measure("start-up", cases, rounds=rounds * 3)


def bench_drift(project: Path, rounds: int) -> None:
    """Measure the comparison of a lock with the running interpreter."""
    subprocess.run([BIN / "python", ROOT / "scripts" / "bench-drift", HOME / "many", str(rounds * 40)], check=True)
