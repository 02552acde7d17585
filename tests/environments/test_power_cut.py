"""What a power cut, or a careless hand, leaves of a store's files: the next restore reads, mends or builds again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Cli, TestEnvironment
from faults import check_store, list_environments, open_store, take_lock

from repro.environments.manifest import FILE_NAME as MANIFEST
from repro.environments.ready import FILE_NAME as READY
from repro.files import SETTLED, find_boot, remove_tree, write_atomically

EARLIER = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def lock(environment: TestEnvironment, tmp_path: Path) -> Path:
    """A lock of the environment."""
    return take_lock(environment.python, tmp_path / "project" / "requirements-lock.txt")


def restore(cli: Cli, lock: Path, *more: str) -> dict[str, object]:
    return dict(json.loads(cli("restore", str(lock), "--json", *more).stdout))


def make(cli: Cli, lock: Path) -> Path:
    return Path(str(restore(cli, lock)["path"]))


def start_again(cli: Cli) -> None:
    """Make all that is in the store something of an earlier boot."""
    store = open_store(cli.cache)
    markers = [*(env / READY for env in list_environments(store)), *Path(store.room("trees")).glob("*/tree")]
    assert len(markers) > 1
    for marker in markers:
        text = marker.read_text()
        assert f"boot {find_boot()}\n" in text
        write_atomically(marker, text.replace(f"boot {find_boot()}\n", f"boot {EARLIER}\n"))


def damage(path: Path, how: str) -> None:
    """Do to a file what a power cut does: its size and mtime may have been written, its content not."""
    found = path.lstat()
    path.parent.chmod(0o755)
    path.chmod(0o644)
    size = {"zeroed": found.st_size, "empty": 0, "cut off": found.st_size // 2}[how]
    content = b"\0" * size if how == "zeroed" else path.read_bytes()[:size]
    path.write_bytes(content)
    path.chmod(0o444)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def find_module(env: Path) -> Path:
    return next(env.glob("lib/python*/site-packages/alpha.py"))


def test_an_environment_of_an_earlier_boot_is_read_through_once(lock: Path, cli: Cli) -> None:
    env = make(cli, lock)
    start_again(cli)
    assert restore(cli, lock)["reused"] is True
    assert f"boot {SETTLED}\n" in (env / READY).read_text()
    before = (env / READY).stat().st_ino
    assert restore(cli, lock)["path"] == str(env)
    assert (env / READY).stat().st_ino == before


@pytest.mark.parametrize("how", ["zeroed", "empty", "cut off"])
def test_a_file_that_a_power_cut_took_is_mended_at_the_first_use_in_the_next_boot(
    how: str, lock: Path, cli: Cli
) -> None:
    env = make(cli, lock)
    content = find_module(env).read_bytes()
    start_again(cli)
    damage(find_module(env), how)
    outcome = restore(cli, lock)
    assert outcome["notes"]
    assert find_module(Path(str(outcome["path"]))).read_bytes() == content
    assert restore(cli, lock, "--verify")["sound"] is True
    check_store(open_store(cli.cache))


@pytest.mark.parametrize("how", ["zeroed", "empty", "cut off"])
def test_a_tree_that_a_power_cut_took_reaches_no_new_environment(how: str, lock: Path, cli: Cli) -> None:
    env = make(cli, lock)
    content = find_module(env).read_bytes()
    start_again(cli)
    damage(find_module(env), how)
    store = open_store(cli.cache)
    remove_tree(env.parent)
    outcome = restore(cli, lock)
    assert outcome["reused"] is False
    assert find_module(Path(str(outcome["path"]))).read_bytes() == content
    assert restore(cli, lock, "--verify")["sound"] is True
    check_store(store)


def find_tree_marker(env: Path) -> Path:
    return next(env.parents[2].glob("trees/*/tree"))


PLACES: dict[str, Callable[[Path], Path]] = {
    "marker": lambda env: env / READY,
    "manifest": lambda env: env / MANIFEST,
    "tree marker": find_tree_marker,
    "tree record": lambda env: next(env.parents[2].glob("trees/*/RECORD")),
    "wheel": lambda env: next(env.parents[2].glob("wheels/*/alpha-*.whl")),
    "look": lambda env: next(env.parents[2].glob("looks/*")),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("how", ["zeroed", "empty", "cut off"])
def test_what_describes_the_store_may_be_lost(place: str, how: str, lock: Path, cli: Cli) -> None:
    env = make(cli, lock)
    start_again(cli)
    damage(PLACES[place](env), how)
    if place in ("tree marker", "tree record", "wheel"):
        remove_tree(env.parent)
    if place == "wheel":
        remove_tree(env.parents[2] / "trees")
    restore(cli, lock)
    assert restore(cli, lock, "--verify")["sound"] is True
    assert restore(cli, lock)["reused"] is True
    check_store(open_store(cli.cache))


@pytest.mark.parametrize("target", ["", "nowhere", "../../looks", "loop"])
def test_an_environment_that_lost_its_pointer_is_published_again(target: str, lock: Path, cli: Cli) -> None:
    env = make(cli, lock)
    pointer = env.parent / "current"
    pointer.unlink()
    (env.parent / "current.12345678.tmp").symlink_to(env.name)
    if target == "loop":
        pointer.symlink_to("current")
    elif target:
        pointer.symlink_to(target)
    assert make(cli, lock) == env
    assert os.readlink(pointer) == env.name
    check_store(open_store(cli.cache))


def test_the_pointer_of_one_key_does_not_lead_to_another(
    lock: Path, cli: Cli, environment: TestEnvironment, tmp_path: Path
) -> None:
    first = make(cli, lock)
    environment.install("gamma-ray==0.5")
    other = make(cli, take_lock(environment.python, tmp_path / "other" / "requirements-lock.txt"))
    pointer = first.parent / "current"
    pointer.unlink()
    pointer.symlink_to(f"../{other.parent.name}/{other.name}")
    assert make(cli, lock) == first


@pytest.mark.skipif(not shutil.which("strace"), reason="there is no strace")
def test_the_marker_and_then_the_pointer_are_written_last(lock: Path, cli: Cli, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    calls = "trace=rename,renameat,renameat2,link,linkat,symlink,symlinkat,fsync,openat,chmod,fchmodat,mkdir"
    subprocess.run(
        ["strace", "-f", "-qq", "-o", str(trace), "-s", "4096", "-e", calls,
         sys.executable, "-m", "repro", "restore", str(lock), "--cache", str(cli.cache)],
        check=True, capture_output=True,
    )  # fmt: skip
    writing = ("O_WRONLY", "O_RDWR", "rename", "link", "fsync", "chmod", "mkdir")
    lines = [line for line in trace.read_text().splitlines() if any(word in line for word in writing)]
    lines = [line for line in lines if " = -1 " not in line and "/flocks/" not in line]
    marked = next(at for at, line in enumerate(lines) if "rename" in line and f"/{READY}" in line)
    pointed = next(at for at, line in enumerate(lines) if "rename" in line and "/current" in line)
    assert marked < pointed
    assert "fsync" in lines[marked - 1]
    after = [line for line in lines[marked + 1 :] if "/v1/envs/" in line or "/v1/trees/" in line]
    assert len(after) == 2  # the link beside its place, and into it
    assert all("/current" in line for line in after)
