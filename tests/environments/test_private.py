"""Make private environments of a real lock, and change them as their users do."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Cli, LocalIndex, TestEnvironment, get_uv
from hypothesis import given
from hypothesis import strategies as st

import repro
from repro.environments.lookup import Environment
from repro.environments.machine import Machine
from repro.environments.manifest import find_damage
from repro.environments.private import Mark, format_mark, parse_mark, restore_into
from repro.environments.restore import Request, restore_environment
from repro.environments.satisfy import look_here
from repro.environments.snapshot import take_for, write_lock
from repro.environments.store import locate_store
from repro.errors import RestoreError, UsageError
from repro.files import sha256_file
from repro.snapshots.drift import compare
from repro.snapshots.load import load_lock

TOOL = {
    "tool.py": "import sys\ndef main():\n    print('tool in', sys.prefix)\n",
    "pack/__init__.py": "from pack import inner\n",
    "pack/inner.py": "VALUE = 1\n",
    "tool-1.0.dist-info/entry_points.txt": "[console_scripts]\ntool = tool:main\n",
    "tool-1.0.data/scripts/hello": "#!python\nimport sys\nprint('hello from', sys.prefix)\n",
}


def take(environment: TestEnvironment, path: Path, tmp_path: Path) -> Path:
    machine = Machine.here(cache=str(tmp_path / "taken"))
    write_lock(take_for(machine, environment.python, path=path).taken.snapshot, path)
    return path


@pytest.fixture
def lock(environment: TestEnvironment, index: LocalIndex, tmp_path: Path) -> Path:
    """A lock of an environment with a package and scripts."""
    index.add("tool", "1.0", files=TOOL)
    (tmp_path / "project").mkdir()
    return take(environment.install("tool==1.0"), tmp_path / "project" / "requirements-lock.txt", tmp_path)


def into(lock: Path, cache: Path, place: Path | str, *, engine: str | None = None, force: bool = False) -> Environment:
    return restore_into(Machine.here(cache=str(cache)), Request(lock=lock, engine=engine), place, force=force)


def run(*command: str, **more: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **more}).stdout


def is_equal(lock: Path, cache: Path, made: Environment) -> bool:
    return not compare(load_lock(lock).snapshot, look_here(Machine.here(cache=str(cache)), made.python))


def list_files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file() and not path.is_symlink())


def list_leftovers(place: Path) -> list[str]:
    return [path.name for path in place.parent.glob(".repro-*")]


def is_store_sound(lock: Path, cache: Path) -> bool:
    """Tell whether the sealed environment and every tree are what they were made as, by content."""
    sealed = restore_environment(Machine.here(cache=str(cache)), Request(lock=lock))
    trees = Machine.here(cache=str(cache)).store.open_trees()
    found = [tree for path in trees.root.iterdir() if (tree := trees.find(path.name))]
    assert len(found) == 3
    same = all(sha256_file(tree.path / each.path) == each.sha256 for tree in found for each in tree.files)
    return same and not find_damage(sealed.path, deep=True)


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        (".venv", "uv"),
        ("ümläut 環境", "uv"),
        ("long/" + "d" * 140, "uv"),
        ("it's $HOME", "uv"),
        (".venv", "pip"),
        ("it's $HOME 環境", "pip"),
    ],
)
def test_a_private_environment_equals_the_lock_and_its_scripts_name_its_place(
    name: str, engine: str, lock: Path, cache: Path
) -> None:
    place = lock.parent / name
    made = into(lock, cache, place, engine=engine)
    assert (made.path, made.python, made.reused) == (str(place), str(place / "bin" / "python"), False)
    assert is_equal(lock, cache, made)
    assert run(str(place / "bin" / "tool")) == f"tool in {place}\n"
    assert run(str(place / "bin" / "hello")) == f"hello from {place}\n"
    for shell in ("bash", "sh"):
        script = '. "$0/bin/activate"; echo "$VIRTUAL_ENV"; command -v tool; python -c "import sys; print(sys.prefix)"'
        assert run(shell, "-c", script, str(place)).splitlines() == [str(place), f"{place}/bin/tool", str(place)]
    assert list_leftovers(place) == []


def test_nothing_of_it_is_shared_with_the_store_or_read_only(lock: Path, cache: Path) -> None:
    old = os.umask(0o022)
    try:
        made = into(lock, cache, ".venv")
    finally:
        os.umask(old)
    for path in Path(made.path).rglob("*"):
        if path.is_symlink():
            assert str(cache) not in os.readlink(path)
        else:
            assert path.is_dir() or path.stat().st_nlink == 1
            assert path.stat().st_mode & 0o200, path


def test_what_is_edited_in_it_changes_nothing_in_the_store(lock: Path, cache: Path) -> None:
    restore_environment(Machine.here(cache=str(cache)), Request(lock=lock))
    files = list_files(Path(into(lock, cache, ".venv").path))
    assert len(files) > 15
    for path in files:
        with path.open("ab") as file:
            file.write(b"edited")
    assert is_store_sound(lock, cache)


def test_pip_and_uv_change_it_and_nothing_in_the_store(lock: Path, cache: Path, tmp_path: Path) -> None:
    made = into(lock, cache, ".venv")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "--python", made.python]
    show = (made.python, "-c", "import alpha, beta, importlib.util as u; print(beta.VERSION, u.find_spec('gamma_ray'))")
    run(*pip, "install", "gamma-ray")
    run(*pip, "install", "--upgrade", "beta")
    assert run(*show).startswith("2.1 ModuleSpec")
    run(*pip, "uninstall", "-y", "gamma-ray")
    assert run(*show) == "2.1 None\n"
    uv = {"UV_CACHE_DIR": str(tmp_path / "uv"), "UV_DEFAULT_INDEX": os.environ["PIP_INDEX_URL"]}
    run(get_uv(), "pip", "install", "-q", "--python", made.python, "beta==2.0", "gamma-ray", **uv)
    assert run(*show).startswith("2.0 ModuleSpec")
    run(get_uv(), "pip", "uninstall", "-q", "--python", made.python, "gamma-ray", "tool", **uv)
    assert not Path(made.path, "bin", "tool").exists()
    assert is_store_sound(lock, cache)


def test_it_starts_with_the_bytecode_that_the_store_has(lock: Path, cache: Path) -> None:
    sealed = restore_environment(Machine.here(cache=str(cache)), Request(lock=lock))
    run(sealed.python, "-c", "import alpha, pack, tool")
    made = into(lock, cache, ".venv")
    before = {path: path.stat().st_ino for path in Path(made.path).rglob("__pycache__/*.pyc")}
    names = {path.name.partition(".")[0] for path in before}
    assert names == {"alpha", "__init__", "inner", "tool"}
    run(made.python, "-c", "import alpha, pack, tool")
    assert {path: path.stat().st_ino for path in before} == before


def test_one_that_is_as_it_was_made_is_left_alone(lock: Path, cache: Path) -> None:
    made = into(lock, cache, ".venv")
    run(made.python, "-c", "import alpha, pack")
    os.utime(next(Path(made.path).glob("lib/*/site-packages/alpha.py")))
    before = Path(made.path).stat().st_ino
    again = into(lock, cache, ".venv")
    assert (again.reused, again.key, again.digest) == (True, made.key, made.digest)
    assert Path(made.path).stat().st_ino == before


def test_what_was_changed_or_added_is_named_and_replaced_by_force_alone(lock: Path, cache: Path) -> None:
    made = into(lock, cache, ".venv")
    site = next(Path(made.path).glob("lib/*/site-packages"))
    (site / "alpha.py").write_text("mine\n")
    (site / "notes").mkdir()
    (site / "notes" / "a.txt").write_text("a")
    (site / "notes" / "b.txt").write_text("b")
    with pytest.raises(RestoreError) as caught:
        into(lock, cache, ".venv")
    below = site.relative_to(made.path)
    assert caught.value.details == (f"changed: {below}/alpha.py", f"extra: {below}/notes/")
    assert "--force" in str(caught.value.hint)
    assert (site / "alpha.py").read_text() == "mine\n"
    assert not into(lock, cache, ".venv", force=True).reused
    assert not (site / "notes").exists()
    assert (site / "alpha.py").read_text() == "VERSION = '1.0'\n"
    assert list_leftovers(Path(made.path)) == []


def test_what_was_removed_comes_back_without_force(lock: Path, cache: Path) -> None:
    made = into(lock, cache, ".venv")
    next(Path(made.path).glob("lib/*/site-packages/alpha.py")).unlink()
    again = into(lock, cache, ".venv")
    assert not again.reused
    assert is_equal(lock, cache, again)


def test_another_lock_replaces_one_that_was_not_changed(
    lock: Path, cache: Path, environment: TestEnvironment, tmp_path: Path
) -> None:
    first = into(lock, cache, ".venv")
    take(environment.install("beta==2.1"), lock, tmp_path)
    second = into(lock, cache, ".venv")
    assert (second.reused, second.path) == (False, first.path)
    assert second.key != first.key
    assert is_equal(lock, cache, second)
    assert list_leftovers(Path(first.path)) == []


def test_one_that_was_moved_is_made_again_where_it_is(lock: Path, cache: Path, tmp_path: Path) -> None:
    made = into(lock, cache, tmp_path / "before")
    Path(made.path).rename(tmp_path / "after")
    again = into(lock, cache, tmp_path / "after")
    assert not again.reused
    assert run(str(tmp_path / "after" / "bin" / "tool")) == f"tool in {tmp_path / 'after'}\n"


def test_a_relative_place_an_empty_one_and_one_behind_a_link_are_fine(lock: Path, cache: Path, tmp_path: Path) -> None:
    Path("empty").mkdir()
    assert into(lock, cache, "empty").path == str(Path.cwd() / "empty")
    Path("link").symlink_to(tmp_path / "far", target_is_directory=True)
    made = into(lock, cache, "link")
    assert made.path == str(tmp_path / "far")
    assert Path("link").is_symlink()
    assert run(str(tmp_path / "far" / "bin" / "tool")) == f"tool in {tmp_path / 'far'}\n"
    assert into(lock, cache, "link").reused


def test_what_is_no_virtual_environment_is_never_replaced(lock: Path, cache: Path) -> None:
    Path("file").write_text("mine")
    Path("directory").mkdir()
    Path("directory", "mine.txt").write_text("mine")
    TestEnvironment(Path("mixed"))
    Path("mixed", "train.py").write_text("mine")
    for name in ("file", "directory", "mixed"):
        with pytest.raises(RestoreError, match="is there, and is not a virtual environment") as caught:
            into(lock, cache, name, force=True)
        assert caught.value.hint
    assert (Path("file").read_text(), Path("mixed", "train.py").read_text()) == ("mine", "mine")
    assert Path("directory", "mine.txt").exists()
    assert list_leftovers(Path.cwd() / "x") == []


def test_another_tools_environment_is_replaced_by_force_alone(lock: Path, cache: Path) -> None:
    TestEnvironment(Path(".venv")).install("gamma-ray")
    with pytest.raises(RestoreError, match="that repro did not make") as caught:
        into(lock, cache, ".venv")
    assert caught.value.hint == "replace it with `--force`, or name another directory with `--into DIR`"
    assert is_equal(lock, cache, into(lock, cache, ".venv", force=True))


def test_places_that_would_endanger_other_things_are_refused(lock: Path, cache: Path, tmp_path: Path) -> None:
    store = locate_store(str(cache))
    places = [lock.parent, tmp_path, Path.cwd(), Path(store, "v1", "mine"), cache, Path("a:b"), Path("a\nb"), "\udcff"]
    for place in places:
        with pytest.raises(UsageError):
            into(lock, cache, place, force=True)
    assert not Path(store).exists()


def test_a_link_to_a_sealed_environment_is_not_written_through(lock: Path, cache: Path) -> None:
    repro.restore(lock, cache, link=".venv")
    with pytest.raises(UsageError, match="is in the cache") as caught:
        into(lock, cache, ".venv", force=True)
    assert "`--link`" in str(caught.value.hint)


@pytest.mark.parametrize("engine", ["uv", "pip"])
def test_one_that_fails_leaves_what_was_there(
    engine: str, lock: Path, cache: Path, index: LocalIndex, environment: TestEnvironment, tmp_path: Path
) -> None:
    first = into(lock, cache, ".venv", engine=engine)
    index.add("clash", "1.0", files={"clash-1.0.data/data/bin/activate": "mine"})
    take(environment.install("clash==1.0"), lock, tmp_path)
    with pytest.raises(RestoreError, match="a file that the environment itself has"):
        into(lock, cache, ".venv", engine=engine)
    assert run(f"{first.path}/bin/tool") == f"tool in {first.path}\n"
    with pytest.raises(RestoreError, match="a file that the environment itself has"):
        into(lock, cache, tmp_path / "a" / "b" / "c", engine=engine)
    assert not (tmp_path / "a").exists()
    assert list_leftovers(Path(first.path)) == []


def test_a_place_that_cannot_be_written_is_named(lock: Path, cache: Path) -> None:
    with pytest.raises(RestoreError, match="cannot be made at `/dev/null/env`"):
        into(lock, cache, "/dev/null/env")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_one_that_was_ended_at_any_moment_is_followed_by_a_good_one(number: int, lock: Path, cli: Cli) -> None:
    place = lock.parent / ".venv"
    command = ("restore", str(lock), "--into", str(place), "--force")
    cli(*command)
    alpha = next(place.glob("lib/*/site-packages/alpha.py"))
    alpha.write_text("mine\n")
    began = time.monotonic()
    cli(*command)
    moments = [(time.monotonic() - began) * tenths / 10 for tenths in (1, 3, 5, 7)]
    ended = 0
    while moments:
        alpha.write_text("mine\n")
        process = cli.start(*command)
        time.sleep(moment := moments.pop())
        process.send_signal(number)
        process.communicate(timeout=60)
        ended += process.returncode != 0
        if number != signal.SIGKILL:
            assert (place / "repro-private").exists()
            assert list_leftovers(place) == []
        cli(*command)
        assert (alpha.read_text(), list_leftovers(place)) == ("VERSION = '1.0'\n", [])
        if not moments and not ended:  # this machine was faster than it had been a moment ago
            moments.append(moment / 2)
    assert ended
    assert is_equal(lock, cli.cache, into(lock, cli.cache, place))


def test_what_was_set_aside_by_one_that_was_killed_comes_back(lock: Path, cache: Path, index: LocalIndex) -> None:
    made = Path(into(lock, cache, ".venv").path)
    stage = made.parent / f".repro-{hashlib.sha256(str(made).encode()).hexdigest()[:8]}-00000000"
    stage.mkdir()
    made.rename(stage / "old")
    made.mkdir()
    (made / "repro-unfinished").touch()
    (made / "bin").mkdir()
    inode = (stage / "old").stat().st_ino
    assert into(lock, cache, ".venv").reused
    assert (made.stat().st_ino, list_leftovers(made)) == (inode, [])


def test_of_two_at_once_one_makes_it(lock: Path, cli: Cli, index: LocalIndex) -> None:
    index.delay_s = 0.5
    both = [cli.start("restore", str(lock), "--into", ".venv", "--json") for _ in range(2)]
    outcomes = [json.loads(process.communicate(timeout=120)[0]) for process in both]
    assert sorted(each["reused"] for each in outcomes) == [False, True]


def test_the_command_line_makes_one_and_runs_inside_it(lock: Path, cli: Cli) -> None:
    place = Path.cwd() / "my env"
    shown = cli("restore", str(lock.parent), "--into", "my env").stdout
    assert f"source '{place}'/bin/activate" in shown
    found = json.loads(cli("restore", str(lock.parent), "--into", "my env", "--json").stdout)
    assert (found["into"], found["path"], found["reused"]) == (str(place), str(place), True)
    assert "was ready" in cli("restore", str(lock.parent), "--into", "my env").stdout
    command = ("python", "-c", "import sys, alpha; print(sys.prefix)")
    assert cli("restore", str(lock.parent), "--into", "my env", "--", *command).stdout == f"{place}\n"
    Path(place, "mine.txt").touch()
    assert "extra: mine.txt" in cli("restore", str(lock.parent), "--into", "my env", code=4).stderr
    for wrong in (["--into", "x", "--link"], ["--into", "x", "--verify"], ["--into", ""], ["--force"]):
        assert "hint:" in cli("restore", str(lock.parent), *wrong, code=2).stderr


def test_the_function_makes_one(lock: Path, cache: Path) -> None:
    made = repro.restore(lock, cache, into=".venv")
    assert (made.path, made.reused) == (str(Path.cwd() / ".venv"), False)
    assert repro.restore(lock, cache, into=".venv").reused
    with pytest.raises(UsageError):
        repro.restore(lock, cache, into=".venv", link=True)


WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc")))


@given(st.builds(Mark, key=WORDS, digest=WORDS, path=WORDS))
def test_a_marker_is_read_as_it_was_written(mark: Mark) -> None:
    assert parse_mark(format_mark(mark)) == mark
    with pytest.raises(ValueError, match="cut off"):
        parse_mark(format_mark(mark)[:-1])
