"""The places of a benchmark, all below `.bench/`, and the processes that it measures."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
HOME = ROOT / ".bench"
REPRO_ENV = HOME / "repro"
BIN = REPRO_ENV / "bin"
CACHE = HOME / "cache"
UV_CACHE = HOME / "uv-cache"
ASIDE = HOME / "aside"
LARGE = ("mlflow", "jupyterlab", "scikit-learn", "xgboost")


def make_environ() -> dict[str, str]:
    """Return an environment in which nothing distorts a measurement."""
    dropped = ("PYTHONDONTWRITEBYTECODE", "UV_PYTHON", "VIRTUAL_ENV", "MLFLOW_PYTHON_BIN", "MLFLOW_TRACKING_URI")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return kept | {"MLFLOW_SNAPSHOT_CACHE": str(CACHE), "UV_CACHE_DIR": str(UV_CACHE)}


ENVIRON = make_environ()


def run(*args: str | Path, cwd: Path = HOME, check: bool = True, more: dict[str, str] | None = None) -> float:
    """Run a command to its end, its output thrown away, and return the seconds it took."""
    words = list(map(str, args))
    started = time.perf_counter()
    done = subprocess.run(
        words,
        cwd=cwd,
        env=ENVIRON | (more or {}),
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    seconds = time.perf_counter() - started
    if check and done.returncode:
        sys.exit(f"{words} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return seconds


def read_output(*args: str | Path, cwd: Path = HOME) -> str:
    """Return what a command writes to stdout."""
    return subprocess.run(
        list(map(str, args)), cwd=cwd, env=ENVIRON, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def set_aside(path: Path) -> None:
    """Move a directory tree out of the way, to be removed when all is measured; one that is gone is fine.

    Removing it now would distort what is measured next: ext4 looks, for each directory that is made within minutes,
    past every inode that was freed just before, which takes longer than all else.
    """
    if path.exists():
        ASIDE.mkdir(exist_ok=True)
        path.chmod(0o755)
        path.rename(ASIDE / os.urandom(8).hex())


def remove_aside() -> None:
    """Remove what was set aside, read-only directories included."""
    for directory, _, _ in os.walk(ASIDE):
        os.chmod(directory, 0o700)
    shutil.rmtree(ASIDE, ignore_errors=True)


def count_bytes(path: Path) -> int:
    """Return the disk that a directory takes; what has several links counts once."""
    return int(read_output("du", "-s", "--block-size=1", path).split()[0])


def make_environments() -> Path:
    """Make the environments and the project that are measured."""
    HOME.mkdir(exist_ok=True)
    subprocess.run([ROOT / "scripts" / "environment", REPRO_ENV, "uv"], check=True)
    science = HOME / "science"
    if not (science / "complete").exists():
        run(BIN / "uv", "venv", "-q", "--clear", science)
        run(BIN / "uv", "pip", "install", "-q", "--python", science / "bin/python", "pip", "-r",
            ROOT / "fixtures/projects/wine/requirements.in")  # fmt: skip
        (science / "complete").touch()
    project = HOME / "wine"
    shutil.rmtree(project, ignore_errors=True)
    shutil.copytree(ROOT / "fixtures/projects/wine", project)
    (project / "noop.py").write_text("")
    run(BIN / "repro", "snapshot", project, "--python", science / "bin/python")
    return project


def make_large() -> Path:
    """Make an environment of some 160 distributions, once, and return its interpreter."""
    large = HOME / "large"
    if not (large / "complete").exists():
        run(BIN / "uv", "venv", "-q", "--clear", large)
        run(BIN / "uv", "pip", "install", "-q", "--python", large / "bin/python", "pip", *LARGE)
        (large / "complete").touch()
    return large / "bin" / "python"


def count_distributions(project: Path) -> int:
    """Return how many distributions the lock of a project has."""
    lines = (project / "requirements-lock.txt").read_text().splitlines()
    return sum(line.lstrip().startswith("# repro: {") for line in lines)
