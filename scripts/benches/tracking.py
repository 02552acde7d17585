"""What logging, searching and serving runs costs, beside MLflow."""

from __future__ import annotations

import subprocess
from pathlib import Path

from benches.home import BIN, ENVIRON, HOME, ROOT, run


def make_mlflow() -> Path:
    """Make an environment with MLflow, once, and return its interpreter."""
    mlflow = HOME / "mlflow"
    if not (mlflow / "complete").exists():
        run(BIN / "uv", "venv", "-q", "--clear", mlflow)
        run(BIN / "uv", "pip", "install", "-q", "--python", mlflow / "bin/python", "mlflow==3.17.2")
        (mlflow / "complete").touch()
    return mlflow / "bin" / "python"


def _run_script(name: str, *args: str | Path) -> None:
    subprocess.run([BIN / "python", ROOT / "scripts" / name, *args], env=ENVIRON, check=True)


def bench_tracking(project: Path, rounds: int) -> None:
    """Measure logging in a script, see `bench-tracking`."""
    _run_script("bench-tracking", BIN / "python", make_mlflow(), str(rounds))


def bench_rest(project: Path, rounds: int) -> None:
    """Measure logging over REST, see `bench-rest`."""
    _run_script("bench-rest", BIN / "python", make_mlflow(), str(rounds))


def bench_search(project: Path, rounds: int) -> None:
    """Measure searches of many runs, see `bench-search`."""
    _run_script("bench-search", HOME / "search", str(rounds))


def bench_server(project: Path, rounds: int) -> None:
    """Measure the tracking server, see `bench-server`."""
    _run_script("bench-server", HOME / "server", str(rounds))
