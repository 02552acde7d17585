"""Runs of a project beside plain python, and what watching imports adds."""

from __future__ import annotations

from pathlib import Path

from benches.home import BIN, ENVIRON, HOME, ROOT, run
from benches.measure import Aim, Case, describe_aim, measure

MLFLOW = ROOT / ".test-env" / "mlflow" / "bin" / "mlflow"  # of the tests


def bench_run(project: Path, rounds: int) -> None:
    """Measure a script that does nothing, also beside MLflow where it is there, and one that trains a model."""
    science = HOME / "science" / "bin" / "python"
    run(BIN / "repro", "restore", project)
    noop = [
        Case("python noop.py", lambda: run(science, "noop.py", cwd=project)),
        Case("repro run -e noop.py", lambda: run(BIN / "repro", "run", project, "-e", "noop.py", "--python", science)),
        Case(
            "repro run -e noop.py --restore", lambda: run(BIN / "repro", "run", project, "-e", "noop.py", "--restore")
        ),
    ]
    aims = []
    if MLFLOW.exists():
        words = (MLFLOW, "run", project, "-e", "noop.py", "--env-manager", "local")
        more = {"PATH": f"{MLFLOW.parent}:{ENVIRON['PATH']}", "MLFLOW_TRACKING_URI": f"sqlite:///{HOME / 'mlflow.db'}"}
        noop.append(Case("mlflow run -e noop.py --env-manager local", lambda: run(*words, more=more)))
        aims = [Aim(over=noop[3], under=noop[1], limit=30, at_least=True)]
    measure("run, a script that does nothing", noop, rounds=rounds * 2, aims=aims)
    for case in noop[1:3]:
        print(describe_aim(f"{case.name} over plain python", case.median - noop[0].median, 0.15, " s"))
    run(BIN / "uv", "pip", "install", "-q", "--python", science, "pyyaml")  # what plain python needs to log
    environ = f"PYTHONPATH={ROOT}"
    train = [
        Case("python train.py", lambda: run("env", environ, science, "train.py", cwd=project)),
        Case("repro run", lambda: run(BIN / "repro", "run", project, "--python", science)),
        Case("repro run --restore", lambda: run(BIN / "repro", "run", project, "--restore")),
    ]
    measure("run, the wine project", train, rounds=rounds)


def bench_observer(project: Path, rounds: int) -> None:
    """Measure what watching imports adds to a run of a second or more; machines are noisy, so the minima count too."""
    science = HOME / "science" / "bin" / "python"
    args = ("run", project, "--python", science)
    cases = [
        Case("repro run --no-observe", lambda: run(BIN / "repro", *args, "--no-observe")),
        Case("repro run", lambda: run(BIN / "repro", *args)),
    ]
    measure("the observer, the wine project", cases, rounds=rounds * 4)
