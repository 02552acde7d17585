"""`repro cache` as a user meets it: real environments of a real index, real processes that use them."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Cli, LocalIndex, TestEnvironment

from repro.environments.housekeeping.plan import Rules
from repro.environments.housekeeping.prune import prune
from repro.environments.machine import Machine
from repro.environments.store import Store, locate_store
from repro.files import hold_free_lock, hold_lock, hold_shared

LONG_AGO = 1_000_000_000


@pytest.fixture
def project(environment: TestEnvironment, cli: Cli, tmp_path: Path) -> Path:
    """A project with the lock of an environment."""
    path = tmp_path / "project"
    path.mkdir()
    cli("snapshot", str(path), "--python", environment.python)
    return path


@pytest.fixture
def store(cache: Path) -> Store:
    """The store of the command line."""
    return Store(locate_store(str(cache)))


def ask(cli: Cli, *args: str) -> dict[str, object]:
    return json.loads(cli(*args, "--json").stdout)


def restore(cli: Cli, project: Path) -> Path:
    return Path(str(ask(cli, "restore", str(project))["path"]))


def make_old(env_dir: Path) -> None:
    os.utime(env_dir / "repro-environment", (LONG_AGO, LONG_AGO))


def names_of(store: Store, *rooms: str) -> set[str]:
    return {path.name for room in rooms for path in Path(store.room(room)).iterdir()}


def test_list_says_size_use_and_projects_of_each_environment(project: Path, cli: Cli) -> None:
    assert ask(cli, "cache", "list")["environments"] == []
    path = restore(cli, project)
    make_old(path)
    (listed,) = ask(cli, "cache", "list")["environments"]
    assert (listed["path"], listed["state"], listed["distributions"]) == (str(path), "ready", 2)
    assert listed["projects"] == [str(project / "requirements-lock.txt")]
    assert listed["last_used"] == "2001-09-09T01:46:40Z"
    shared = sum(
        found.st_blocks * 512
        for found in (each.lstat() for each in path.rglob("*") if not each.is_dir() or each.is_symlink())
        if found.st_nlink > 1
    )
    assert listed["shared_bytes"] == shared > 0
    assert listed["own_bytes"] > 0
    assert str(path) in cli("cache", "list").stdout


def test_a_look_up_marks_the_environment_as_used_and_notes_the_other_project(
    project: Path, cli: Cli, tmp_path: Path
) -> None:
    path = restore(cli, project)
    make_old(path)
    other = tmp_path / "other"
    shutil.copytree(project, other)
    cli("restore", str(other))
    (listed,) = ask(cli, "cache", "list")["environments"]
    assert listed["last_used"] > "2020"
    assert {Path(each).parent for each in listed["projects"]} == {project, other}
    (other / "requirements-lock.txt").unlink()
    (listed,) = ask(cli, "cache", "list")["environments"]
    assert [Path(each).parent for each in listed["projects"]] == [project]


def test_info_counts_each_file_once(project: Path, cli: Cli, store: Store) -> None:
    restore(cli, project)
    info = ask(cli, "cache", "info")
    used = subprocess.run(
        ["du", "-s", "--block-size=1", *(store.room(room) for room in ("trees", "envs", "wheels"))],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    by_du = sum(int(line.split()[0]) for line in used.splitlines())
    rooms = info["rooms"]
    counted = sum(rooms[room]["size_bytes"] for room in ("trees", "envs", "wheels"))
    directories = sum(Path(each).lstat().st_blocks * 512 for each in (store.room("trees"), store.room("wheels")))
    directories += sum(
        each.lstat().st_blocks * 512 for each in (Path(store.room("envs")), *Path(store.room("envs")).iterdir())
    )
    assert counted == by_du - directories
    assert (rooms["envs"]["count"], rooms["trees"]["count"], rooms["wheels"]["count"]) == (1, 2, 2)
    assert "hard link" in info["link_modes"]
    assert "trees" in cli("cache", "info").stdout


def test_prune_leaves_what_is_used_and_removes_what_was_not_for_long(project: Path, cli: Cli, store: Store) -> None:
    path = restore(cli, project)
    before = names_of(store, "envs", "trees", "wheels", "looks")
    cli("cache", "prune")
    assert names_of(store, "envs", "trees", "wheels", "looks") == before
    make_old(path)
    assert ask(cli, "cache", "prune", "--dry-run")["removed"]
    assert path.exists()
    removed = ask(cli, "cache", "prune")["removed"]
    assert {"environment", "tree", "wheel"} <= {each["kind"] for each in removed}
    assert names_of(store, "envs", "trees", "wheels", "looks", "pycache", "trash", "tmp") == set()
    assert not ask(cli, "restore", str(project))["reused"]


def test_trees_and_wheels_of_the_environments_that_stay_stay(
    project: Path, environment: TestEnvironment, cli: Cli, store: Store, tmp_path: Path
) -> None:
    old = restore(cli, project)
    environment.install("beta==2.1")
    cli("snapshot", str(tmp_path), "--python", environment.python)
    new = restore(cli, tmp_path)
    make_old(old)
    removed = ask(cli, "cache", "prune")["removed"]
    assert sorted(each["kind"] for each in removed if each["kind"] in ("environment", "tree", "wheel")) == [
        "environment", "tree", "wheel",
    ]  # fmt: skip
    subprocess.run([new / "bin/python", "-c", "import alpha, beta; assert beta.VERSION == '2.1'"], check=True)
    assert ask(cli, "restore", str(tmp_path))["reused"]


@pytest.mark.parametrize("how", ["command", "link", "directory"])
def test_what_a_process_uses_is_never_pruned(how: str, project: Path, cli: Cli) -> None:
    path = restore(cli, project)
    make_old(path)
    python, cwd = str(path / "bin/python"), None
    if how == "link":
        (project / "a-link").symlink_to(path)
        python = str(project / "a-link/bin/python")
    if how == "directory":
        python, cwd = sys.executable, path
    with subprocess.Popen(
        [python, "-c", "print(flush=True); input()"], cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.readline()
        for deed in (("prune", "--older-than", "0d"), ("prune", "--max-size", "0"), ("clear", "--yes")):
            cli("cache", *deed)
            assert (path / "repro-environment").exists(), deed
        process.communicate(b"\n")
    assert process.returncode == 0
    cli("cache", "prune")
    assert not path.exists()


def test_an_environment_a_project_is_linked_to_stays(project: Path, cli: Cli) -> None:
    path = restore(cli, project)
    make_old(path)
    (project / ".venv").symlink_to(path)
    cli("cache", "prune")
    assert path.exists()


def test_an_environment_stays_while_a_link_that_was_made_anywhere_leads_to_it(
    project: Path, cli: Cli, tmp_path: Path
) -> None:
    link = tmp_path / "elsewhere"
    cli("restore", str(project), f"--link={link}")
    path = link.resolve()
    (project / "requirements-lock.txt").write_text("alpha==1.0\n")
    make_old(path)
    for _ in range(2):
        cli("cache", "prune", "--unreferenced")
        assert path.exists()
    (found,) = ask(cli, "cache", "list")["environments"]  # type: ignore[misc]
    assert (found["busy"], found["projects"]) == ("linked from a project", [])
    link.unlink()
    cli("cache", "prune")
    assert not path.exists()


def test_an_environment_whose_key_is_locked_stays(project: Path, cli: Cli, store: Store) -> None:
    path = restore(cli, project)
    make_old(path)
    with hold_lock(store.room("flocks", f"{path.parent.name}.lock")):
        cli("cache", "prune")
    assert path.exists()


def test_a_prune_waits_for_a_build_and_a_build_for_a_prune(project: Path, cli: Cli, store: Store) -> None:
    path = restore(cli, project)
    make_old(path)
    with hold_shared(store.gate):
        process = cli.start("cache", "prune")
        assert process.stderr
        assert "waiting" in process.stderr.readline()
        assert path.exists()
    process.communicate(timeout=60)
    assert not path.exists()
    with hold_lock(store.gate):
        process = cli.start("restore", str(project))
        assert process.stderr
        assert "waiting" in process.stderr.readline()
        assert names_of(store, "wheels") == set()
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_restores_and_prunes_at_once_leave_a_good_environment(project: Path, cli: Cli) -> None:
    for _ in range(4):
        restores = [cli.start("restore", str(project), "--json") for _ in range(2)]
        prunes = [cli.start("cache", "prune", "--older-than", "0s") for _ in range(2)]
        for process in (*restores, *prunes):
            _, stderr = process.communicate(timeout=120)
            assert process.returncode == 0, stderr
    path = restore(cli, project)
    subprocess.run([path / "bin/python", "-c", "import alpha, beta"], check=True)
    checks = ask(cli, "doctor", "--deep", "--offline")["checks"]
    assert [each["health"] for each in checks if each["about"] == "environment"] == ["ok"]


@pytest.mark.faults
def test_a_prune_that_is_killed_leaves_each_environment_whole_or_gone(project: Path, cli: Cli, store: Store) -> None:
    path = restore(cli, project)
    for delay in range(12):
        process = cli.start("cache", "prune", "--older-than", "0s")
        try:
            process.wait(0.15 + 0.03 * delay)
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
        path = restore(cli, project)
        checks = ask(cli, "doctor", "--deep", "--offline")["checks"]
        assert [each["health"] for each in checks if each["about"] == "environment"] == ["ok"]
    make_old(path)
    cli("cache", "prune")
    assert names_of(store, "trash", "envs") == set()


def test_one_that_is_used_between_plan_and_removal_moves_back(
    project: Path, cli: Cli, cache: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = restore(cli, project)
    make_old(path)
    rename = os.rename

    def use_then_rename(source: str, target: str) -> None:
        if source == str(path):
            os.utime(path / "repro-environment")
        rename(source, target)

    monkeypatch.setattr(os, "rename", use_then_rename)
    plan = prune(Machine.here(cache=str(cache)).store, Rules(), dry_run=False, report=lambda _: None)
    monkeypatch.undo()
    assert "used just now" in " ".join(plan.notes)
    assert (path / "repro-environment").exists()
    assert names_of(store, "trash") == set()


def test_one_that_a_process_starts_in_between_plan_and_removal_moves_back(
    project: Path, cli: Cli, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = restore(cli, project)
    make_old(path)
    rename, started = os.rename, []

    def start_then_rename(source: str, target: str) -> None:
        if source == str(path):
            process = subprocess.Popen(
                [path / "bin/python", "-c", "print(flush=True); input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            assert process.stdout
            process.stdout.readline()
            started.append(process)
        rename(source, target)

    monkeypatch.setattr(os, "rename", start_then_rename)
    prune(Machine.here(cache=str(cache)).store, Rules(), dry_run=False, report=lambda _: None)
    monkeypatch.undo()
    assert (path / "repro-environment").exists()
    started[0].communicate(b"\n")
    assert ask(cli, "restore", str(project))["reused"]


def test_the_first_use_says_where_the_cache_is_and_the_cache_describes_itself(
    project: Path, cli: Cli, tmp_path: Path
) -> None:
    cli.cache = tmp_path / "fresh"
    root = locate_store(str(cli.cache))
    assert f"the cache is made in `{root}`" in cli("restore", str(project)).stderr
    assert "the cache is made" not in cli("restore", str(project), "--allow-missing").stderr
    assert "envs/<key>/<nonce>/" in Path(root, "README.txt").read_text()


def test_superseded_and_half_built_environments_go(project: Path, cli: Cli) -> None:
    path = restore(cli, project)
    shutil.copytree(path, path.parent / "0123abcd", symlinks=True)
    (path.parent / "4567abcd").mkdir()
    (path.parent / "4567abcd" / "pyvenv.cfg").write_text("")
    states = {Path(each["path"]).name: each["state"] for each in ask(cli, "cache", "list")["environments"]}
    assert states == {path.name: "ready", "0123abcd": "superseded", "4567abcd": "not ready"}
    cli("cache", "prune")
    assert {each.name for each in path.parent.iterdir()} == {path.name, "current"}
    assert ask(cli, "restore", str(project))["reused"]


def test_max_size_removes_the_longest_unused_first(
    project: Path, environment: TestEnvironment, cli: Cli, tmp_path: Path
) -> None:
    old = restore(cli, project)
    environment.install("beta==2.1")
    cli("snapshot", str(tmp_path), "--python", environment.python)
    new = restore(cli, tmp_path)
    os.utime(old / "repro-environment", (LONG_AGO * 1.5, LONG_AGO * 1.5))
    total = ask(cli, "cache", "info")["total_bytes"]
    assert not any(
        each["kind"] == "environment"
        for each in ask(cli, "cache", "prune", "--older-than", "9999d", "--max-size", str(total * 2))["removed"]
    )
    caches = sum(
        room["size_bytes"]
        for name, room in ask(cli, "cache", "info")["rooms"].items()
        if name in ("uv", "pip", "pip-tools", "virtualenv")
    )
    plan = ask(cli, "cache", "prune", "--older-than", "9999d", "--max-size", str(total - caches - 1))
    assert [each["path"] for each in plan["removed"] if each["kind"] == "environment"] == [str(old)]
    assert new.exists()


def test_unreferenced_removes_what_no_lock_leads_to(project: Path, cli: Cli) -> None:
    path = restore(cli, project)
    cli("cache", "prune", "--unreferenced")
    assert path.exists()
    (project / "requirements-lock.txt").unlink()
    cli("cache", "prune")
    assert path.exists()
    cli("cache", "prune", "--unreferenced")
    assert not path.exists()


@pytest.fixture
def kept(environment: TestEnvironment, cli: Cli, tmp_path: Path, index: LocalIndex) -> Path:
    """A project whose lock names a wheel that no index has."""
    shutil.rmtree(index.root / "simple" / "alpha")
    path = tmp_path / "kept"
    path.mkdir()
    cli("snapshot", str(path), "--python", environment.python, "--refresh")
    return path


def test_kept_wheels_go_only_when_that_is_asked_for_and_no_lock_names_them(kept: Path, cli: Cli, store: Store) -> None:
    wheels = Path(store.room("wheels"))
    path = restore(cli, kept)
    make_old(path)
    cli("cache", "prune")
    assert [each.name for each in wheels.glob("*/*.whl")] == ["alpha-1.0-py3-none-any.whl"]
    cli("cache", "prune", "--kept")
    assert [each.name for each in wheels.glob("*/*.whl")] == ["alpha-1.0-py3-none-any.whl"]
    assert not ask(cli, "restore", str(kept))["reused"]
    (kept / "requirements-lock.txt").unlink()
    make_old(restore_path := next(Path(store.room("envs")).glob("*/[0-9a-f]*")))
    cli("cache", "prune", "--max-size", "0")
    assert not restore_path.exists()
    assert [each.name for each in wheels.glob("*/*.whl")] == ["alpha-1.0-py3-none-any.whl"]
    pruned = cli("cache", "prune", "--kept")
    assert "no index is known to have: alpha-1.0-py3-none-any.whl" in pruned.stderr
    assert list(wheels.iterdir()) == []


def test_a_tree_that_is_the_only_copy_of_its_wheel_stays(kept: Path, cli: Cli, store: Store) -> None:
    path = restore(cli, kept)
    make_old(path)
    (wheel,) = Path(store.room("wheels")).glob("*/alpha*.whl")
    shutil.rmtree(wheel.parent)
    cli("cache", "prune")
    assert names_of(store, "trees") == {wheel.parent.name}
    assert not ask(cli, "restore", str(kept))["reused"]


def test_clear_asks_names_the_kept_wheels_and_leaves_what_is_not_ours(
    kept: Path, cli: Cli, cache: Path, store: Store
) -> None:
    path = restore(cli, kept)
    refused = cli("cache", "clear", code=2)
    assert "1 kept wheel(s) would be lost" in refused.stderr
    assert "--yes" in refused.stderr
    assert path.exists()
    assert _answer(cache, "n") == 1
    assert path.exists()
    assert _answer(cache, "y") == 0
    left = [each for each in Path(store.root).rglob("*") if each.is_file() and each.parent.name != "flocks"]
    assert sorted(each.name for each in left) == ["CACHEDIR.TAG", "README.txt", "repro-store.json"]


def _answer(cache: Path, answer: str) -> int:
    """Clear on a terminal, and give an answer there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "repro", "cache", "clear", "--cache", str(cache)], stdin=theirs, stderr=subprocess.PIPE
    )
    os.write(ours, f"{answer}\n".encode())
    _, stderr = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert b"[y/N]" in stderr
    return process.returncode


def _list_foreign(cache: Path, store: Store) -> Iterator[Path]:
    yield cache / "other-program" / "file"
    yield Path(store.root) / "mine.txt"
    yield Path(store.root) / "v0" / "envs" / "mine"
    for room in ("envs", "trees", "wheels", "looks", "roots", "tmp", "trash", "records", "pycache", "fetched"):
        yield Path(store.room(room)) / "mine.txt"
        yield Path(store.room(room)) / "my-directory" / "file"
    yield Path(store.room("wheels")) / ("0" * 64) / "notes.txt"
    yield Path(store.room("envs")) / ("0" * 16) / "notes.txt"


def test_foreign_files_are_never_touched_or_counted(project: Path, cli: Cli, cache: Path, store: Store) -> None:
    path = restore(cli, project)
    before = ask(cli, "cache", "info")
    foreign = list(_list_foreign(cache, store))
    for each in foreign:
        each.parent.mkdir(parents=True, exist_ok=True)
        each.write_text("mine" * 10_000)
        os.utime(each, (LONG_AGO, LONG_AGO))
    outside = cache / "outside"
    (outside / "deadbeef").mkdir(parents=True)
    (outside / "deadbeef" / "file").write_text("mine")
    for name in ("envs", "trees", "tmp", "trash"):
        Path(store.room(name), "a" * (16 if name == "envs" else 64 if name == "trees" else 8)).symlink_to(outside)
    after = ask(cli, "cache", "info")
    assert after["rooms"] == before["rooms"]
    make_old(path)
    cli("cache", "prune")
    cli("restore", str(project))
    cli("cache", "clear", "--yes")
    assert not path.exists()
    for each in foreign:
        assert each.read_text() == "mine" * 10_000
    assert (outside / "deadbeef" / "file").read_text() == "mine"


def test_a_room_that_is_a_link_is_not_entered(project: Path, cli: Cli, store: Store, tmp_path: Path) -> None:
    path = restore(cli, project)
    elsewhere = tmp_path / "elsewhere"
    os.rename(store.room("envs"), elsewhere)
    Path(store.room("envs")).symlink_to(elsewhere)
    make_old(path)
    cli("cache", "clear", "--yes")
    assert path.exists()


def test_a_directory_without_our_marker_is_refused(cli: Cli, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs" / "repro"
    (theirs / "v1" / "envs" / ("0" * 16) / "deadbeef").mkdir(parents=True)
    for deed in (("list",), ("info",), ("prune",), ("clear", "--yes")):
        assert "is no cache of repro" in cli("cache", *deed, "--cache", str(theirs), code=5).stderr
    assert (theirs / "v1" / "envs" / ("0" * 16) / "deadbeef").exists()


def test_what_dead_processes_left_goes_and_what_living_ones_hold_stays(project: Path, cli: Cli, store: Store) -> None:
    restore(cli, project)
    for name in ("0000aaaa", "0000bbbb"):
        Path(store.room("tmp", name)).mkdir()
        Path(store.room("flocks", f"stage-{name}.lock")).touch()
    with hold_free_lock(store.room("flocks", "stage-0000bbbb.lock")) as is_held:
        assert is_held
        cli("cache", "prune")
        assert names_of(store, "tmp") == {"0000bbbb"}


def test_locks_go_with_what_they_were_for_unless_somebody_holds_one(
    project: Path, cli: Cli, store: Store, tmp_path: Path
) -> None:
    path = restore(cli, project)
    cli("restore", str(project), "--into", str(tmp_path / "own"))
    held = f"{path.parent.name}.lock"
    before = names_of(store, "flocks")
    assert held in before
    assert {name.partition("-")[0] for name in before - {held}} == {"into", "store.lock", "tree"}
    cli("cache", "prune")
    assert names_of(store, "flocks") - {"trash.lock"} == {name for name in before if not name.startswith("into-")}
    make_old(path)
    tree = next(name for name in before if name.startswith("tree-"))
    with hold_free_lock(store.room("flocks", tree)) as is_held:
        assert is_held
        cli("cache", "prune")
    assert names_of(store, "flocks", "trees") >= {tree, "store.lock"}
    cli("cache", "prune")
    assert names_of(store, "flocks") == {"store.lock", "trash.lock"}
    assert restore(cli, project).exists()


def test_what_trying_out_links_left_goes_when_it_is_old(project: Path, cli: Cli, store: Store) -> None:
    restore(cli, project)
    for command in (("cache", "info"), ("cache", "prune"), ("doctor", "--offline")):
        for name in ("dead", "live"):
            Path(store.root, f".repro-probe-{name}").mkdir(exist_ok=True)
        os.utime(Path(store.root, ".repro-probe-dead"), (LONG_AGO, LONG_AGO))
        cli(*command)
        assert [each.name for each in Path(store.root).glob(".repro-probe-*")] == [".repro-probe-live"]


def test_notes_that_lead_nowhere_go(project: Path, cli: Cli, store: Store) -> None:
    restore(cli, project)
    name = hashlib.sha256(b"x").hexdigest()
    Path(store.room("looks", name)).write_text("f" * 16)
    Path(store.room("fetched", name)).write_text("https://example.org/x.whl\n")
    Path(store.room("interpreters", name)).write_text(json.dumps({"path": "/nonexistent/python"}))
    Path(store.room("roots", name)).write_text("torn")
    cli("cache", "prune")
    for room in ("looks", "fetched", "interpreters", "roots"):
        assert name not in names_of(store, room)
    assert ask(cli, "restore", str(project))["reused"]


def test_an_environment_that_cannot_be_marked_can_be_used(project: Path, cli: Cli, cache: Path, tmp_path: Path) -> None:
    path = restore(cli, project)
    make_old(path)
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    os.chmod(tmp_path, 0o755)
    found = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c",
         "import os,sys; from repro.environments.roots import mark_used; sys.exit(not mark_used(sys.argv[1]))",
         str(path)],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    if "denied" in found.stderr:
        pytest.skip("this Python is not readable to others")
    assert found.returncode == 0, found.stderr
    assert (path / "repro-environment").stat().st_mtime == LONG_AGO


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("prune", "--max-size", "big"), "`big` is no size"),
        (("prune", "--older-than", "-1d"), "expected one argument"),
        (("prune", "--older-than", "soon"), "`soon` is no period"),
        (("prune", "--yes"), "`--yes` means nothing for `repro cache prune`"),
        (("clear", "--older-than", "3d"), "`--older-than` means nothing for `repro cache clear`"),
        (("list", "--kept"), "`--kept` means nothing"),
        (("burn",), "invalid choice"),
        ((), "required: deed"),
    ],
)
def test_a_wrong_word_is_one_sentence(args: tuple[str, ...], said: str, cli: Cli) -> None:
    assert said in cli("cache", *args, code=2).stderr
