"""Snapshots of a small and a large environment beside pip, pip inspect and uv."""

from __future__ import annotations

from pathlib import Path

from benches.home import BIN, HOME, count_distributions, make_large, run, set_aside
from benches.measure import Case, measure


def bench_snapshot_of(title: str, python: Path, rounds: int) -> None:
    """Measure snapshots of one environment: with everything known, after a change, and the first."""
    project = HOME / "snapshots" / title
    project.mkdir(parents=True, exist_ok=True)
    snapshot = (BIN / "repro", "snapshot", project, "--python", python)
    run(*snapshot)
    lock = project / "requirements-lock.txt"
    number = count_distributions(project)
    pins = project / "pins.txt"
    pins.write_text(
        "\n".join(line.split(" ")[0] for line in lock.read_text().splitlines() if "==" in line and line[0] != " ")
    )
    cases = [
        Case("uv pip freeze", lambda: run(BIN / "uv", "pip", "freeze", "--python", python)),
        Case("repro snapshot (known, nothing changed)", lambda: run(*snapshot)),
        Case("repro snapshot (known, all looked at)", lambda: run(*snapshot, "--json")),
        Case("repro snapshot --deep", lambda: run(*snapshot, "--deep", "--json")),
        Case("pip freeze", lambda: run(python, "-m", "pip", "freeze", "--all")),
        Case("pip inspect", lambda: run(python, "-m", "pip", "inspect")),
    ]
    measure(f"snapshot of {title}, {number} distributions", cases, rounds=rounds * 2)
    compile_ = (BIN / "uv", "pip", "compile", "-q", "--no-deps", "--generate-hashes", pins, "--python", python)
    cold = ("env", f"UV_CACHE_DIR={HOME / 'cold-uv'}")
    fresh = ("--cache", HOME / "cold-cache", "-o", project / "fresh.txt")

    def forget() -> None:
        set_aside(HOME / "cold-uv")
        set_aside(HOME / "cold-cache")
        (project / "fresh.txt").unlink(missing_ok=True)

    cases = [
        Case("uv pip compile --generate-hashes, cold", lambda: run(*cold, *compile_), forget),
        Case("uv pip compile --generate-hashes, warm", lambda: run(*compile_)),
        Case("repro snapshot, first", lambda: run(*snapshot, *fresh), forget),
        Case("repro snapshot --prove, first", lambda: run(*snapshot, *fresh, "--prove"), forget),
    ]
    measure(f"first snapshot of {title}, {number} distributions", cases, rounds=rounds)


def bench_snapshot(project: Path, rounds: int) -> None:
    """Measure snapshots, first and later ones."""
    bench_snapshot_of("small", HOME / "science" / "bin" / "python", rounds)
    bench_snapshot_of("large", make_large(), rounds)
