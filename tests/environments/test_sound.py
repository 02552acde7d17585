"""Whether an environment is what its manifest says is remembered until anything in it changes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from repro.environments.manifest import FILE_NAME as MANIFEST
from repro.environments.manifest import describe_file, format_manifest
from repro.environments.ready import FILE_NAME as READY
from repro.environments.sound import is_sound
from repro.environments.store import Store

LATER_NS = 60_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(str(tmp_path / "repro"))
    store.prepare()
    return store


@pytest.fixture
def env_dir(tmp_path: Path) -> Path:
    root = tmp_path / "env"
    cache = root / "lib" / "__pycache__"
    cache.mkdir(parents=True)
    paths = ["lib/a.py", "lib/b.py", "lib/__pycache__/a.pyc"]
    for path in paths:
        (root / path).write_text("1")
    (root / "lib" / "link").symlink_to("a.py")
    (root / READY).write_text("")
    write_manifest(root, [*paths, "lib/link"])
    return root


def write_manifest(root: Path, paths: list[str]) -> None:
    (root / MANIFEST).write_text(format_manifest(describe_file(str(root), path) for path in paths))


def look(store: Store, env_dir: Path) -> bool:
    return is_sound(store, str(env_dir), now_ns=time.time_ns() + LATER_NS)


def list_remembered(store: Store) -> list[str]:
    return sorted(os.listdir(store.room("takes"))) if os.path.isdir(store.room("takes")) else []


def test_what_was_sound_is_remembered(store: Store, env_dir: Path) -> None:
    assert look(store, env_dir)
    remembered = list_remembered(store)
    assert len(remembered) == 1
    os.utime(env_dir / READY)
    assert look(store, env_dir)
    assert list_remembered(store) == remembered


def test_what_was_changed_a_moment_ago_is_not_remembered(store: Store, env_dir: Path) -> None:
    assert is_sound(store, str(env_dir))
    assert list_remembered(store) == []


def edit(path: Path) -> None:
    path.write_text("22")


def replace_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("b.py")


CHANGES: dict[str, Callable[[Path], object]] = {
    "a file has another size": lambda env: edit(env / "lib/a.py"),
    "a file has another time": lambda env: os.utime(env / "lib/a.py", (0, 0)),
    "a file is gone": lambda env: (env / "lib/b.py").unlink(),
    "a file is there besides": lambda env: (env / "lib/c.py").touch(),
    "bytecode is there besides": lambda env: (env / "lib/__pycache__/b.pyc").touch(),
    "bytecode has another size": lambda env: edit(env / "lib/__pycache__/a.pyc"),
    "a link leads elsewhere": lambda env: replace_link(env / "lib/link"),
    "the manifest is gone": lambda env: (env / MANIFEST).unlink(),
    "the manifest says otherwise": lambda env: write_manifest(env, ["lib/a.py"]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_it_is_not_sound_where(change: Callable[[Path], object], store: Store, env_dir: Path) -> None:
    assert look(store, env_dir)
    change(env_dir)
    assert not look(store, env_dir)
    assert not look(store, env_dir)
