"""What is summed up of an environment's files tells every change, also where another process has begun to."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from repro.snapshots.sweep import SweepAhead, sweep, sweep_environment

MARKER = "marker"


@pytest.fixture
def env_dir(tmp_path: Path) -> Path:
    root = tmp_path / "env"
    package = root / "lib" / "site-packages" / "alpha"
    for directory in (package / "__pycache__", root / "bin", tmp_path / "bytecode"):
        directory.mkdir(parents=True)
    for path in ("bin/tool", MARKER, "lib/site-packages/beta.py"):
        (root / path).write_text("")
    (package / "__init__.py").write_text("")
    (package / "__pycache__" / "__init__.cpython-311.pyc").write_text("")
    (package.parent / "__pycache__").symlink_to(tmp_path / "bytecode")
    return root


def find_site(env_dir: Path) -> str:
    return str(env_dir / "lib" / "site-packages")


def look(env_dir: Path) -> tuple[str, str]:
    installed, rest = sweep_environment(str(env_dir), [find_site(env_dir)], marker=MARKER)
    return str(installed), str(rest)


def test_the_sites_are_summed_up_as_by_themselves(env_dir: Path) -> None:
    assert look(env_dir)[0] == str(sweep([find_site(env_dir)])) == str(sweep([find_site(env_dir)], split=True))
    assert sweep([find_site(env_dir)]).newest_ns >= (env_dir / "lib/site-packages/alpha/__init__.py").stat().st_ctime_ns


def edit_in_place(path: Path) -> None:
    before = path.stat()
    path.write_text("x")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def lead_elsewhere(link: Path) -> None:
    link.unlink()
    link.symlink_to(link.parent)


CHANGES: dict[str, tuple[Callable[[Path], object], tuple[bool, bool]]] = {
    "a module is edited": (lambda env: edit_in_place(env / "lib/site-packages/beta.py"), (True, False)),
    "a module is added": (lambda env: (env / "lib/site-packages/alpha/b.py").touch(), (True, False)),
    "a program is removed": (lambda env: (env / "bin/tool").unlink(), (False, True)),
    "bytecode is edited": (
        lambda env: edit_in_place(next(env.glob("lib/site-packages/alpha/__pycache__/*"))),
        (False, True),
    ),
    "bytecode leads elsewhere": (lambda env: lead_elsewhere(env / "lib/site-packages/__pycache__"), (False, True)),
    "its use is noted": (lambda env: edit_in_place(env / MARKER), (False, False)),
}


@pytest.mark.parametrize(("change", "expected"), CHANGES.values(), ids=CHANGES.keys())
def test_what_is_changed_tells_where(
    change: Callable[[Path], object], expected: tuple[bool, bool], env_dir: Path
) -> None:
    before = look(env_dir)
    assert look(env_dir) == before
    change(env_dir)
    after = look(env_dir)
    assert (after[0] != before[0], after[1] != before[1]) == expected


def test_what_was_begun_ahead_is_what_would_be_found(env_dir: Path) -> None:
    site = find_site(env_dir)
    ahead = SweepAhead([site], env_dir=str(env_dir), marker=MARKER)
    assert str(ahead.find_sites([site])) == look(env_dir)[0]
    found = ahead.find_environment(str(env_dir))
    assert found
    assert (str(found[0]), str(found[1])) == look(env_dir)
    alone = SweepAhead([site])
    assert str(alone.find_sites([site])) == look(env_dir)[0]
    assert alone.find_environment(str(env_dir)) is None


def test_what_was_begun_for_another_is_not_taken(env_dir: Path) -> None:
    ahead = SweepAhead([find_site(env_dir)], env_dir=str(env_dir), marker=MARKER)
    assert ahead.find_sites([str(env_dir)]) is None
    assert ahead.find_environment(str(env_dir.parent)) is None


def test_what_was_begun_long_ago_is_not_taken(env_dir: Path) -> None:
    seconds = iter([10.0, 60.0])
    ahead = SweepAhead([find_site(env_dir)], clock=lambda: next(seconds))
    assert ahead.find_sites([find_site(env_dir)]) is None


def test_what_is_asked_for_in_time_may_take_long_and_is_forgotten_later(env_dir: Path) -> None:
    seconds = iter([10.0, 11.0, 40.0, 41.0, 60.0])
    ahead = SweepAhead([find_site(env_dir)], clock=lambda: next(seconds))
    assert ahead.find_sites([find_site(env_dir)]) is not None
    assert ahead.find_sites([find_site(env_dir)]) is not None
    assert ahead.find_sites([find_site(env_dir)]) is None


def test_nobody_who_reads_our_output_waits_for_what_was_begun(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gate")
    code = (
        "import sys\nfrom repro.snapshots import sweep\n"
        "sweep.sweep = lambda sites: open(sites[0]).read()\n"
        "sweep.SweepAhead([sys.argv[1]])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "gate"], capture_output=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")
    with (tmp_path / "gate").open("w"):
        pass  # it goes on, and ends


def test_what_cannot_be_read_is_not_known(env_dir: Path) -> None:
    ahead = SweepAhead([str(env_dir / "missing")])
    assert ahead.find_sites([str(env_dir / "missing")]) is None
