"""The store beside uv, virtualenv and pip-sync: looked up, new, one distribution changed, cold, many, read through.

The locks: small (scikit-learn, pandas, matplotlib: some 18 distributions) and large (some 160).
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benches.home import (
    BIN,
    CACHE,
    ENVIRON,
    HOME,
    ROOT,
    count_bytes,
    count_distributions,
    make_large,
    read_output,
    run,
    set_aside,
)
from benches.measure import Aim, Case, describe_aim, measure, take

STORE = CACHE / "repro" / "v1"
IMPORTS = "import sklearn, pandas"
PLAIN = HOME / "uv-target"


def _lock(project: Path) -> Path:
    return project / "requirements-lock.txt"


def _restore(project: Path, *args: str | Path) -> float:
    return run(BIN / "repro", "restore", project, *args)


def _uv_sync(project: Path, target: Path = PLAIN) -> float:
    """Make an environment with uv, as its users do: from its cache, by hard links, with no bytecode."""
    seconds = run(BIN / "uv", "venv", "-q", target)
    return seconds + run(BIN / "uv", "pip", "sync", "-q", "--python", target / "bin/python", _lock(project))


def _make_uv_case(project: Path) -> Case:
    return Case("uv venv + uv pip sync, warm", lambda: _uv_sync(project), lambda: set_aside(PLAIN))


def _make_large_project() -> Path:
    project = HOME / "snapshots" / "large"
    project.mkdir(parents=True, exist_ok=True)
    run(BIN / "repro", "snapshot", project, "--python", make_large())
    return project


def _forget_environments() -> None:
    """Remove what environments leave in the store, all but the wheels and trees: they are of wheels known before."""
    for room in ("envs", "looks", "roots", "pycache"):
        set_aside(STORE / room)
        (STORE / room).mkdir(mode=0o755)


def _find_environment(project: Path) -> Path:
    return Path(json.loads(read_output(BIN / "repro", "restore", project, "--json"))["path"])


def _pip_sync(project: Path, target: Path) -> float:
    seconds = run(BIN / "python", "-m", "virtualenv", "-q", target)
    args = ("-m", "piptools", "sync", "-q", "--python-executable", target / "bin/python", _lock(project))
    return seconds + run(BIN / "python", *args)


def _look_up(title: str, project: Path, rounds: int, *, faster: float) -> Case:
    """Measure the look-up of one lock and return its case."""
    _restore(project)
    python = Case("python -c pass", lambda: run(BIN / "python", "-c", "pass"))
    ready = Case("repro restore, ready", lambda: _restore(project))
    true = Case("repro restore -- true: all files looked at", lambda: _restore(project, "--", "true"))
    uv = _make_uv_case(project)
    aims = (Aim(over=uv, under=ready, limit=faster, at_least=True), Aim(over=ready, under=python, limit=2.5))
    number = count_distributions(project)
    measure(f"look-up, the {title} lock, {number} distributions", [python, ready, true, uv], rounds=rounds, aims=aims)
    return ready


def bench_lookup(project: Path, rounds: int) -> None:
    """Measure a restore of what was restored before."""
    ready = _look_up("small", project, rounds * 3, faster=8)
    target = HOME / "pip-target"
    synced = Case("virtualenv + pip-sync, warm", lambda: _pip_sync(project, target), lambda: set_aside(target))
    take([synced], rounds=1, is_warming=False)  # it takes half a minute
    set_aside(target)
    print(describe_aim(f"{synced.name} (once) / {ready.name}", synced.median / ready.median, 500, "x", at_least=True))
    _look_up("large", _make_large_project(), rounds, faster=80)
    set_aside(PLAIN)


def bench_new(project: Path, rounds: int) -> None:
    """Measure a restore of what was not restored before, of wheels that were."""
    for title, each in (("small", project), ("large", _make_large_project())):
        _restore(each)
        uv = _make_uv_case(each)
        repro = Case("repro restore, new", partial(_restore, each), _forget_environments)
        aims = [Aim(over=repro, under=uv, limit=1.15)]
        measure(f"a new environment of known wheels, {title}", [uv, repro], rounds=rounds, aims=aims)
    _forget_environments()
    _restore(project, "--", "python", "-c", IMPORTS)  # this machine has used these wheels before
    uv = Case(
        f"uv, warm, and `{IMPORTS}`",
        lambda: _uv_sync(project) + run(PLAIN / "bin/python", "-c", IMPORTS),
        lambda: set_aside(PLAIN),
    )
    repro = Case(
        f"repro restore, new, -- `{IMPORTS}`",
        lambda: _restore(project, "--", "python", "-c", IMPORTS),
        _forget_environments,
    )
    aims = [Aim(over=uv, under=repro, limit=3, at_least=True)]
    measure("restore and first import, wheels used before, small", [uv, repro], rounds=rounds, aims=aims)
    set_aside(PLAIN)


def _make_changed(large: Path) -> Path:
    """Return a project whose lock has one distribution of another version than that of `large`."""
    project, env_dir = HOME / "snapshots" / "changed", HOME / "changed"
    version = next(
        line.split("==")[1].split()[0] for line in _lock(large).read_text().splitlines() if "certifi==" in line
    )
    project.mkdir(parents=True, exist_ok=True)
    set_aside(env_dir)
    _uv_sync(large, env_dir)
    python = env_dir / "bin" / "python"
    run(BIN / "uv", "pip", "install", "-q", "--no-deps", "--python", python, f"certifi<{version}")
    run(BIN / "repro", "snapshot", project, "--python", python)
    set_aside(env_dir)
    return project


def bench_changed(project: Path, rounds: int) -> None:
    """Measure a restore of the large lock after one of its distributions was changed."""
    large = _make_large_project()
    changed = _make_changed(large)
    for each in (large, changed):
        _restore(each)
        set_aside(PLAIN)
        _uv_sync(each)
    in_place = HOME / "uv-in-place"
    set_aside(in_place)
    _uv_sync(large, in_place)
    sync = (BIN / "uv", "pip", "sync", "-q", "--python", in_place / "bin/python")

    def forget() -> None:
        _forget_environments()
        _restore(large)

    uv = _make_uv_case(changed)
    repro = Case("repro restore, one distribution changed", lambda: _restore(changed), forget)
    cases = [
        uv,
        repro,
        Case("uv pip sync into the environment that is there", lambda: run(*sync, _lock(changed)),
             lambda: run(*sync, _lock(large))),
    ]  # fmt: skip
    measure(
        "one distribution of the large lock changed", cases, rounds=rounds, aims=[Aim(over=repro, under=uv, limit=1.15)]
    )
    set_aside(PLAIN)
    set_aside(in_place)


def bench_cold(project: Path, rounds: int) -> None:
    """Measure a restore with nothing known, all fetched from the index."""
    cold_uv, cold = HOME / "cold-uv", HOME / "cold-cache"
    more = {"UV_CACHE_DIR": str(cold_uv)}

    def forget() -> None:
        for path in (cold_uv, cold, PLAIN):
            set_aside(path)

    def sync() -> float:
        seconds = run(BIN / "uv", "venv", "-q", PLAIN, more=more)
        args = ("pip", "sync", "-q", "--python", PLAIN / "bin/python", _lock(project))
        return seconds + run(BIN / "uv", *args, more=more)

    uv = Case("uv venv + uv pip sync, cold", sync, forget)
    repro = Case("repro restore, cold", lambda: _restore(project, "--cache", cold), forget)
    measure("cold, small", [uv, repro], rounds=max(rounds // 2, 1), aims=[Aim(over=repro, under=uv, limit=1.1)])
    forget()


def _measure_disk(project: Path) -> None:
    """Print what ten projects with the same lock take."""
    projects = HOME / "ten"
    set_aside(projects)
    _forget_environments()
    _restore(project)
    one = count_bytes(CACHE)
    for number in range(10):
        copy = projects / str(number)
        copy.mkdir(parents=True)
        shutil.copy(_lock(project), copy)
        _restore(copy)
    ten = count_bytes(CACHE)
    links = count_bytes(_find_environment(project))
    print(f"\ndisk of ten projects with the small lock: {one >> 20} MiB for one, {ten >> 20} MiB for ten"
          f" (an environment alone, its files counted: {links >> 20} MiB)")  # fmt: skip
    print(describe_aim("the cache with ten / with one", ten / one, 1.01, "x"), flush=True)
    set_aside(projects)


def bench_many(project: Path, rounds: int) -> None:
    """Measure what many projects and many environments cost."""
    _measure_disk(project)
    home = HOME / "many-stored"
    set_aside(home)
    cases = []
    for number in (1, 100, 1000):
        place = home / str(number)
        subprocess.run([BIN / "python", ROOT / "scripts/bench-store", place, str(number)], check=True, env=ENVIRON)
        look_up = partial(_restore, place / "project", "--cache", place / "cache")
        cases.append(Case(f"repro restore, ready, one of {number}", look_up))
    aims = [Aim(over=case, under=cases[0], limit=1.1) for case in cases[1:]]
    measure("look-up in a store of many environments", cases, rounds=rounds * 4, aims=aims)
    set_aside(home)


def _make_sums(env_dir: Path) -> Callable[[], float]:
    """Return a deed that hashes every file of an environment with sha256sum, in two processes."""
    find = f"find {shlex.quote(str(env_dir))} -type f -print0"
    return lambda: run("sh", "-c", f"{find} | xargs -0 -P 2 -n 500 sha256sum")


def bench_deep(project: Path, rounds: int) -> None:
    """Measure reading every file of an environment."""
    _restore(project)
    env_dir = _find_environment(project)
    files = sum(each.is_file() and not each.is_symlink() for each in env_dir.rglob("*"))
    sums = Case("find | xargs -P 2 sha256sum", _make_sums(env_dir))
    verify = Case("repro restore --verify", lambda: _restore(project, "--verify"))
    uv = _make_uv_case(project)
    title = f"every file read, small, {files} files, {count_bytes(env_dir) >> 20} MiB"
    measure(title, [sums, verify, uv], rounds=rounds)
    print(describe_aim(verify.name, verify.median, 1, " s"), flush=True)
    set_aside(PLAIN)
