"""Restore real environments from a real (local) index, with both installers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Cli, LocalIndex, TestEnvironment, commit_all, make_project

from repro.environments.lookup import Environment
from repro.environments.machine import Machine
from repro.environments.manifest import find_damage
from repro.environments.restore import Request, restore_environment
from repro.environments.satisfy import look_here
from repro.environments.snapshot import take_for, write_lock
from repro.environments.store import locate_store
from repro.errors import RestoreError, SnapshotNotFoundError
from repro.snapshots.drift import compare
from repro.snapshots.load import load_lock


@pytest.fixture
def lock(environment: TestEnvironment, tmp_path: Path) -> Path:
    """A lock of the environment."""
    path = tmp_path / "project" / "requirements-lock.txt"
    path.parent.mkdir()
    write_lock(
        take_for(Machine.here(cache=str(tmp_path / "taken")), environment.python, path=path).taken.snapshot, path
    )
    return path


def restore(lock: Path, cache: Path, *, engine: str | None = None, offline: bool = False) -> Environment:
    request = Request(lock=lock, engine=engine, offline=offline)
    return restore_environment(Machine.here(cache=str(cache)), request)


@pytest.mark.parametrize("engine", ["uv", "pip"])
def test_what_is_restored_equals_what_was_taken(engine: str, lock: Path, cache: Path) -> None:
    made = restore(lock, cache, engine=engine)
    assert not made.reused
    assert not compare(load_lock(lock).snapshot, look_here(Machine.here(cache=str(cache)), made.python))
    again = restore(lock, cache)
    assert again.reused
    assert (again.path, again.key, again.digest) == (made.path, made.key, made.digest)


@pytest.mark.parametrize("engine", ["uv", "pip"])
def test_offline_restores_what_was_fetched_before_and_names_what_was_not(
    engine: str, lock: Path, cache: Path, index: LocalIndex
) -> None:
    with pytest.raises(RestoreError, match="offline"):
        restore(lock, cache, engine=engine, offline=True)
    first = restore(lock, cache, engine=engine)
    asked = index.requests
    os.chmod(Path(first.path).parent, 0o755)
    Path(first.path, "repro-environment").unlink()
    assert not restore(lock, cache, engine=engine, offline=True).reused
    assert index.requests == asked


def test_the_same_lock_in_another_project_is_the_same_environment(lock: Path, cache: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.txt"
    copy.write_bytes(lock.read_bytes() + b"\n")
    assert restore(copy, cache).path == restore(lock, cache).path


@pytest.mark.parametrize("engine", ["uv", "pip"])
def test_a_file_with_another_hash_is_refused_and_nothing_stays(
    engine: str, lock: Path, cache: Path, index: LocalIndex
) -> None:
    index.add("alpha", "1.0", files={"evil.py": "print('hello')\n"})
    with pytest.raises(RestoreError) as caught:
        restore(lock, cache, engine=engine)
    assert "another sha256 than the lock" in caught.value.message
    envs = Path(locate_store(str(cache)), "v1", "envs")
    assert [path.name for path in envs.glob("*/*")] == []


def test_a_version_the_index_does_not_have_is_named(lock: Path, cache: Path) -> None:
    lock.write_text(lock.read_text().replace("alpha==1.0", "alpha==7.0"))
    with pytest.raises(RestoreError) as caught:
        restore(lock, cache)
    assert "an index does not have a version of the lock" in caught.value.message
    assert "alpha" in " ".join(caught.value.details)


def test_other_files_than_the_lock_says_are_an_error(lock: Path, cache: Path) -> None:
    text = lock.read_text()
    record = load_lock(lock).snapshot.distributions[0].record
    assert record
    lock.write_text(text.replace(record, "sha256:" + "0" * 64))
    with pytest.raises(RestoreError) as caught:
        restore(lock, cache)
    locked = "sha256:" + "0" * 64
    assert caught.value.details == (f"~ alpha 1.0: locked {locked} (identified), installed {record}",)
    assert caught.value.hint
    assert "`repro snapshot --prove`" in caught.value.hint


def plant(deed: str, site: Path) -> None:
    """Change something in a sealed environment, as root or a careless tool would."""
    module = site / "alpha.py"
    for path in (site, module):
        os.chmod(path, 0o755)
    if deed == "add":
        (site / "sitecustomize.py").write_text("")
    elif deed == "pth":
        (site / "stray.pth").write_text("import os\n")
    elif deed == "remove":
        module.unlink()
    elif deed == "replace":
        (site / "new.py").write_text("VERSION = 'evil'\n")
        os.replace(site / "new.py", module)
    elif deed == "edit":
        module.write_text("VERSION = 'edited'\n")
    elif deed == "edit, same size and time":
        before = module.stat()
        module.write_text(module.read_text()[::-1])
        os.utime(module, ns=(before.st_atime_ns, before.st_mtime_ns))
    else:
        module.unlink()
        module.symlink_to("/etc/hostname")


PLANTED = {
    "add": "extra: {site}/sitecustomize.py",
    "pth": "extra: {site}/stray.pth",
    "remove": "missing: {site}/alpha.py",
    "replace": "changed: {site}/alpha.py",
    "link": "changed: {site}/alpha.py",
    "edit": "changed: {site}/alpha.py",
    "edit, same size and time": "changed: {site}/alpha.py",
}


@pytest.mark.parametrize("deed", ["add", "pth", "remove", "replace", "link"])
def test_names_changed_behind_our_back_are_noticed_by_a_look_up_and_mended(deed: str, lock: Path, cache: Path) -> None:
    first = restore(lock, cache)
    site = next(Path(first.path).glob("lib/python*/site-packages"))
    plant(deed, site)
    second = restore(lock, cache)
    named = PLANTED[deed].format(site=site.relative_to(first.path))
    assert second.notes == (f"the environment was changed behind our back; mended {named}",)
    assert (second.reused, second.path) == (True, first.path)
    third = restore(lock, cache)
    assert (third.reused, third.notes) == (True, ())
    assert not find_damage(first.path, deep=True)


@pytest.mark.parametrize("deed", PLANTED)
def test_every_change_is_named_by_verify_and_mended_by_repair(
    deed: str, lock: Path, cli: Cli, index: LocalIndex
) -> None:
    made = restore(lock, cli.cache)
    site = next(Path(made.path).glob("lib/python*/site-packages"))
    content = (site / "alpha.py").read_bytes()
    cli("restore", str(lock), "--verify")
    plant(deed, site)
    if deed.startswith("edit"):  # seen by no look-up
        said = cli("restore", str(lock), "--verify", code=1)
        assert PLANTED[deed].format(site=site.relative_to(made.path)) in said.stdout
    asked = index.requests
    cli("restore", str(lock), "--repair")
    cli("restore", str(lock), "--verify")
    assert (site / "alpha.py").read_bytes() == content
    assert index.requests == asked


def test_an_edited_file_is_noticed_before_the_first_line_of_foreign_code(lock: Path, cli: Cli) -> None:
    made = restore(lock, cli.cache)
    plant("edit", next(Path(made.path).glob("lib/python*/site-packages")))
    done = cli("restore", str(lock), "--", "python", "-c", "import alpha; print(alpha.VERSION)")
    assert done.stdout == "1.0\n"
    assert "changed behind our back; mended changed: lib/" in done.stderr


def test_a_poisoned_tree_does_not_reach_a_second_environment(
    lock: Path, cli: Cli, environment: TestEnvironment
) -> None:
    made = restore(lock, cli.cache)
    plant("edit", next(Path(made.path).glob("lib/python*/site-packages")))
    environment.install("gamma-ray==0.5")
    cli("snapshot", "other", "--python", environment.python, code=2)
    Path("other").mkdir()
    cli("snapshot", "other", "--python", environment.python)
    done = cli("restore", "other", "--", "python", "-c", "import alpha; print(alpha.VERSION)")
    assert done.stdout == "1.0\n"


def test_using_an_environment_writes_nothing_into_it(lock: Path, cache: Path) -> None:
    made = restore(lock, cache)
    output = subprocess.run(
        [made.python, "-c", "import alpha; print(alpha.__cached__)"], capture_output=True, text=True, check=True
    )
    assert f"{made.path}/lib/" in output.stdout
    assert restore(lock, cache).reused


def test_a_plain_requirements_file_is_restored_with_fewer_guarantees(
    cache: Path, tmp_path: Path, index: LocalIndex
) -> None:
    plain = tmp_path / "requirements.txt"
    plain.write_text("alpha==1.0\nbeta==2.1\n")
    made = restore_environment(Machine.here(cache=str(cache)), Request(lock=plain, python=sys.executable))
    assert "plain requirements file" in made.notes[0]
    found = look_here(Machine.here(cache=str(cache)), made.python)
    assert [(each.name, each.version) for each in found.distributions] == [("alpha", "1.0"), ("beta", "2.1")]


def test_a_commit_is_restored_from_its_kept_wheel_and_elsewhere_built_in_a_second_phase(
    environment: TestEnvironment, cache: Path, tmp_path: Path, index: LocalIndex
) -> None:
    source = make_project(tmp_path / "source", "vcs_made", "0.1")
    commit_all(source)
    subprocess.run(["git", "clone", "-q", "--bare", str(source), str(index.root / "made.git")], check=True)
    subprocess.run(["git", "-C", str(index.root / "made.git"), "update-server-info"], check=True)
    environment.install(f"git+http://{index.host}/made.git")
    path = tmp_path / "requirements-lock.txt"
    machine = Machine.here(cache=str(cache))
    write_lock(take_for(machine, environment.python, path=path).taken.snapshot, path)
    assert load_lock(path).snapshot.count() == {"hashed": 2, "kept": 1}
    asked = [each for each in index.paths if "made.git" in each]
    for place in (cache, tmp_path / "elsewhere"):
        made = restore(path, place)
        assert not compare(load_lock(path).snapshot, look_here(machine, made.python))
        assert subprocess.run([made.python, "-c", "import vcs_made"], check=False).returncode == 0
        assert (asked == [each for each in index.paths if "made.git" in each]) == (place == cache)


def test_another_commit_in_a_lock_is_another_environment_and_an_edit(
    environment: TestEnvironment, cli: Cli, tmp_path: Path, index: LocalIndex
) -> None:
    source = make_project(tmp_path / "source", "vcs_made", "0.1")
    first = commit_all(source)
    (source / "src" / "vcs_made.py").write_text("VERSION = 'second'\n")
    second = commit_all(source)
    subprocess.run(["git", "clone", "-q", "--bare", str(source), str(index.root / "made.git")], check=True)
    subprocess.run(["git", "-C", str(index.root / "made.git"), "update-server-info"], check=True)
    environment.install(f"git+http://{index.host}/made.git@{first}")
    path = tmp_path / "requirements-lock.txt"
    taken = take_for(Machine.here(cache=str(tmp_path / "taken")), environment.python, path=path).taken
    write_lock(taken.snapshot, path)
    script = ("--", "python", "-c", "import vcs_made; print(vcs_made.VERSION)")
    assert cli("restore", str(path), *script).stdout == "0.1\n"
    path.write_text(path.read_text().replace(first, second))
    done = cli("restore", str(path), *script)
    assert done.stdout == "second\n"
    assert "was edited by hand" in done.stderr


def test_what_has_no_file_is_refused_by_name_unless_allowed(lock: Path, cache: Path) -> None:
    lock.write_text(lock.read_text() + '# repro: {"kind": "editable", "name": "mine", "version": "0.1"}\n')
    with pytest.raises(RestoreError) as caught:
        restore(lock, cache)
    assert caught.value.details == ("mine 0.1 (editable)",)
    made = restore_environment(Machine.here(cache=str(cache)), Request(lock=lock, allow_missing=True))
    assert "left out: mine 0.1 (editable)" in made.notes


def test_what_was_left_out_once_is_there_when_its_wheel_has_come(
    environment: TestEnvironment, cache: Path, tmp_path: Path, index: LocalIndex
) -> None:
    index.add("delta", "3.0")
    environment.install("delta==3.0")
    shutil.rmtree(index.root / "simple" / "delta")
    path = tmp_path / "requirements-lock.txt"
    taken_in = Machine.here(cache=str(tmp_path / "taken"))
    write_lock(take_for(taken_in, environment.python, path=path).taken.snapshot, path)
    machine = Machine.here(cache=str(cache))
    partial = restore_environment(machine, Request(lock=path, allow_missing=True))
    assert [note.partition(" (")[0] for note in partial.notes] == ["left out: delta 3.0"]
    shutil.copytree(taken_in.store.room("wheels"), machine.store.room("wheels"), dirs_exist_ok=True)
    whole = restore_environment(machine, Request(lock=path))
    assert whole.path != partial.path
    subprocess.run([whole.python, "-c", "import delta"], check=True)


def test_foreign_files_in_the_cache_directory_are_left_alone(lock: Path, cache: Path) -> None:
    foreign = cache / "precious.txt"
    foreign.write_text("mine")
    (cache / "other").mkdir()
    made = restore(lock, cache)
    assert made.path.startswith(str(cache / "repro"))
    assert foreign.read_text() == "mine"
    assert sorted(path.name for path in cache.iterdir()) == ["other", "precious.txt", "repro"]


@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_a_cache_that_others_can_write_is_refused(mode: int, lock: Path, cache: Path) -> None:
    (cache / "repro").mkdir()
    (cache / "repro").chmod(mode)
    with pytest.raises(RestoreError, match="others can write into the cache"):
        restore(lock, cache)


@pytest.fixture(params=[0o000, 0o002])
def lax_umask(request: pytest.FixtureRequest) -> Iterator[None]:
    """An umask that lets the group, or everybody, write into what is made."""
    before = os.umask(request.param)
    yield
    os.umask(before)


def find_writable_by_others(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o022]


@pytest.mark.usefixtures("lax_umask")
@pytest.mark.parametrize("engine", ["uv", "pip"])
def test_a_cache_made_under_any_umask_is_ours_alone(engine: str, lock: Path, cli: Cli) -> None:
    cli("restore", str(lock), "--engine", engine, "--", "python", "-c", "import alpha")
    assert "was ready" in cli("restore", str(lock)).stdout
    rooms = cli.cache / "repro" / "v1"
    shut = rooms / "pycache"
    assert [path.stat().st_mode & 0o777 for path in shut.iterdir()] == [0o700]
    others = [path for path in find_writable_by_others(cli.cache) if shut not in path.parents]
    assert [path for path in others if path.suffix != ".lock" and path.name != ".lock"] == []  # uv's: empty files
    assert [path for path in others if path.is_relative_to(rooms / "flocks")] == []


@pytest.mark.usefixtures("lax_umask")
def test_a_snapshot_makes_a_cache_that_restore_accepts(environment: TestEnvironment, cli: Cli) -> None:
    cli("snapshot", "--python", environment.python)
    assert find_writable_by_others(cli.cache) == []
    cli("restore")


def test_an_environment_that_was_made_to_see_other_packages_is_built_again(lock: Path, cache: Path) -> None:
    first = restore(lock, cache)
    config = Path(first.path, "pyvenv.cfg")
    assert config.stat().st_mode & 0o222 == 0
    config.chmod(0o644)
    config.write_text(config.read_text().replace("include-system-site-packages = false", "") + "\n")
    with config.open("a") as file:
        file.write("include-system-site-packages = true\n")
    second = restore(lock, cache)
    assert not second.reused
    assert second.path != first.path


def test_a_missing_lock_says_how_to_make_one(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(SnapshotNotFoundError) as caught:
        restore(tmp_path / "nothing", cache)
    assert "repro snapshot" in (caught.value.hint or "")


def test_a_cache_that_cannot_be_written_is_named(lock: Path) -> None:
    with pytest.raises(RestoreError, match="the cache `/dev/null/x/repro` cannot be written"):
        restore(lock, Path("/dev/null/x"))


@pytest.mark.faults
def test_two_restores_at_once_build_one_environment(lock: Path, cli: Cli, index: LocalIndex) -> None:
    index.delay_s = 1.0
    processes = [cli.start("restore", str(lock), "--json") for _ in range(2)]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sum("waiting: another process is restoring" in stderr for _, stderr in outputs) == 1
    assert sum('"reused": true' in stdout for stdout, _ in outputs) == 1
    envs = Path(locate_store(str(cli.cache)), "v1", "envs")
    assert len([path for path in envs.glob("*/*") if path.is_dir() and not path.is_symlink()]) == 1


@pytest.mark.faults
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_restore_ended_in_mid_build_is_followed_by_a_good_one(
    number: int, code: int, lock: Path, cli: Cli, index: LocalIndex
) -> None:
    index.delay_s = 3.0
    process = cli.start("restore", str(lock))
    envs, staging = (Path(locate_store(str(cli.cache)), "v1", room) for room in ("envs", "tmp"))
    deadline = time.monotonic() + 60
    while not (staging.is_dir() and list(staging.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert list(staging.iterdir()), "the build was never seen"
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    if number != signal.SIGKILL:
        assert not list(envs.glob("*/*"))
    index.delay_s = 0.0
    made = restore(lock, cli.cache)
    assert not made.reused
    assert not compare(load_lock(lock).snapshot, look_here(Machine.here(cache=str(cli.cache)), made.python))
    assert [str(path) for path in envs.glob("*/*") if path.is_dir() and not path.is_symlink()] == [made.path]
    assert not list(staging.iterdir())
    assert not list(staging.iterdir())
