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
from conftest import Cli, LocalIndex, TestEnvironment
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
    """Make all that is in the store something of an earlier boot, what was looked at in this one included."""
    store = open_store(cli.cache)
    markers = [*(env / READY for env in list_environments(store)), *Path(store.room("trees")).glob("*/tree")]
    assert len(markers) > 1
    markers += [*Path(store.room("trees")).glob("*/pyc/.boot-*"), *Path(store.room("pycache")).glob("*/.boot-*")]
    for marker in markers:
        text = marker.read_text()
        assert any(boot in text for boot in (find_boot(), EARLIER, f"boot {SETTLED}\n"))
        write_atomically(marker, text.replace(find_boot(), EARLIER))


def lose(content: bytes, how: str) -> bytes:
    """Return what is left of a content."""
    return {
        "zeroed": bytes(len(content)),
        "empty": b"",
        "cut off": content[: len(content) // 2],
        "one block zeroed": content[:4096] + bytes(512) + content[4608:],
        "its end zeroed": content[:4096] + bytes(len(content[4096:])),
        "cut off at a block": content[:4096],
        "the last byte lost": content[:-1],
        "only its header": content[:16],
    }[how]


def damage(path: Path, how: str) -> None:
    """Do to a file what a power cut does: its size and mtime may have been written, its content not."""
    found = path.lstat()
    path.parent.chmod(0o755)
    path.chmod(0o644)
    path.write_bytes(lose(path.read_bytes(), how))
    path.chmod(0o444)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def find_module(env: Path) -> Path:
    return next(env.glob("lib/python*/site-packages/alpha.py"))


def test_an_environment_of_an_earlier_boot_is_read_through_once(lock: Path, cli: Cli) -> None:
    env = make(cli, lock)
    start_again(cli)
    assert restore(cli, lock)["reused"] is True
    assert f"boot {SETTLED} {find_boot()}\n" in (env / READY).read_text()
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


HARM = (
    "zeroed", "empty", "cut off", "one block zeroed", "its end zeroed", "cut off at a block", "the last byte lost",
    "only its header",
)  # fmt: skip


@pytest.fixture
def bytecode(environment: TestEnvironment, index: LocalIndex, cli: Cli, tmp_path: Path) -> tuple[Path, list[Path]]:
    """A lock, and the bytecode of its package and of its module, which an import has written: 10 KB each."""
    text = "".join(f"def f{number}(): return [{number}, 'x{number}']\n" for number in range(100))
    index.add("delta", "1.0", files={"deltas/__init__.py": "", "deltas/part.py": text, "delta.py": text})
    environment.install("delta==1.0")
    lock = take_lock(environment.python, tmp_path / "more" / "requirements-lock.txt")
    import_all(make(cli, lock))
    rooms = [Path(open_store(cli.cache).room(room)) for room in ("trees", "pycache")]
    found = [path for room in rooms for path in room.rglob("*.pyc") if path.name.startswith(("part.", "delta."))]
    assert [path.stat().st_size > 8192 for path in found] == [True, True]
    return lock, found


def import_all(env: Path) -> None:
    code = (
        "import alpha, beta, delta, deltas.part as part; assert part.f7() == [7, 'x7'] and delta.f99() == [99, 'x99']"
    )
    subprocess.run([env / "bin" / "python", "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize("how", HARM)
def test_bytecode_that_a_power_cut_took_is_gone_at_the_first_use_in_each_boot(
    how: str, bytecode: tuple[Path, list[Path]], cli: Cli
) -> None:
    lock, found = bytecode
    others = {path: path.stat().st_ino for path in cli.cache.rglob("*.pyc") if path not in found}
    assert others
    for _ in range(2):  # the second time of an environment whose own files are settled
        env = make(cli, lock)
        start_again(cli)
        for path in found:
            damage(path, how)
        assert make(cli, lock) == env
        assert not any(path.exists() for path in found)
        import_all(env)
        assert all(path.exists() for path in found)
    assert {path: path.stat().st_ino for path in others} == others


def test_bytecode_of_an_earlier_boot_is_looked_at_before_a_new_environment_has_it(
    bytecode: tuple[Path, list[Path]], cli: Cli, tmp_path: Path
) -> None:
    lock, found = bytecode
    for command in (["restore", str(lock)], ["restore", str(lock), "--into", str(tmp_path / "own")]):
        start_again(cli)
        for path in found:
            damage(path, "cut off")
        remove_tree(open_store(cli.cache).room("envs"))
        cli(*command)
        assert not any(path.exists() for path in found)
        import_all(make(cli, lock))
    assert list((tmp_path / "own").rglob("alpha.*.pyc"))
    import_all(tmp_path / "own")


def test_bytecode_that_its_interpreter_cannot_read_is_all_dropped(bytecode: tuple[Path, list[Path]], cli: Cli) -> None:
    lock, found = bytecode
    start_again(cli)
    found[0].unlink()
    found[0].symlink_to(found[0].name)
    env = make(cli, lock)
    assert not [path for path in found if os.path.lexists(path)]
    import_all(env)


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
