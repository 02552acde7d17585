"""Restores where the disk, the cache, the index or the interpreter lets us down."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Cli, LocalIndex, TestEnvironment
from faults import check_store, list_environments, open_store, take_lock

from repro.files import remove_tree

is_root = os.geteuid() == 0
needs_root = pytest.mark.skipif(not is_root or not shutil.which("mount"), reason="only root can mount")
NOBODY = 65534


@pytest.fixture
def lock(environment: TestEnvironment, tmp_path: Path) -> Path:
    """A lock of the environment."""
    return take_lock(environment.python, tmp_path / "project" / "requirements-lock.txt")


def restore(cli: Cli, lock: Path, *more: str) -> dict[str, object]:
    return dict(json.loads(cli("restore", str(lock), "--json", *more).stdout))


def make(cli: Cli, lock: Path) -> Path:
    return Path(str(restore(cli, lock)["path"]))


@contextmanager
def mounted(place: Path, *args: str) -> Iterator[None]:
    done = subprocess.run(["mount", *args, str(place)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mount does not work here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.faults
def test_ten_restores_of_three_keys_at_once_build_each_once(
    environment: TestEnvironment, cli: Cli, tmp_path: Path, index: LocalIndex
) -> None:
    locks = []
    for number, more in enumerate(("alpha==1.0", "gamma-ray==0.5", "beta==2.1")):
        environment.install(more)
        locks.append(take_lock(environment.python, tmp_path / f"project{number}" / "requirements-lock.txt"))
    index.delay_s = 0.3
    processes = [cli.start("restore", str(locks[number % 3]), "--json") for number in range(10)]
    time.sleep(0.9)
    victims = processes[2::3]  # all of the third key: whoever builds it is among them
    for victim in victims:
        victim.send_signal(signal.SIGKILL)
    outputs = [process.communicate(timeout=300) for process in processes]
    outcomes = [json.loads(out) for process, (out, _) in zip(processes, outputs, strict=True) if process not in victims]
    assert [process.returncode for process in processes if process not in victims] == [0] * len(outcomes)
    assert len({outcome["key"] for outcome in outcomes}) == 2
    store = open_store(cli.cache)
    for key in {outcome["key"] for outcome in outcomes}:
        of_key = [outcome for outcome in outcomes if outcome["key"] == key]
        assert len([path for path in list_environments(store) if path.parent.name == key]) == 1
        assert len({outcome["path"] for outcome in of_key}) == 1
        assert sum(not outcome["reused"] for outcome in of_key) == 1
    for lock in locks:
        assert restore(cli, lock, "--verify")["sound"] is True
    assert len(list_environments(store)) == 3
    check_store(store)


@pytest.mark.faults
@needs_root
def test_a_full_disk_is_said_in_one_sentence_and_leaves_nothing_half_made(
    tmp_path: Path, index: LocalIndex, cli: Cli, environment: TestEnvironment
) -> None:
    files = {f"large{number}.py": f"N = {number}\n" + "# a line\n" * 7000 for number in range(20)}
    index.add("large", "1.0", files=files)
    lock = take_lock(environment.install("large==1.0").python, tmp_path / "project" / "requirements-lock.txt")
    said = set()
    for size_kb in (8, 64, 200, 900, 1400, 2000, 2600, 2700, 2800, 3000):
        with mounted(cli.cache, "-t", "tmpfs", "-o", f"size={size_kb}k,mode=755", "none"):
            done = cli("restore", str(lock), code=None)
            if done.returncode:
                assert done.returncode == 4, done.stderr
                assert "hint: " in done.stderr
                said.add(done.stderr.splitlines()[-2])
                store = open_store(cli.cache)
                assert not Path(store.room("envs")).is_dir() or list_environments(store) == []
                assert not Path(store.room("tmp")).is_dir() or os.listdir(store.room("tmp")) == []
                options = "remount,size=50m,mode=755"
                subprocess.run(["mount", "-o", options, str(cli.cache)], check=True)
            assert restore(cli, lock, "--verify")["sound"] is True
            check_store(open_store(cli.cache))
    print("\n".join(sorted(said)))
    assert len(said) > 1


def test_the_lock_of_a_holder_that_died_is_free(lock: Path, cli: Cli) -> None:
    env = make(cli, lock)
    store = open_store(cli.cache)
    path = store.room("flocks", f"{env.parent.name}.lock")
    hold = f"import filelock, time; lock = filelock.FileLock({path!r}); lock.acquire(); "
    holder = subprocess.Popen([sys.executable, "-c", hold + "print(1, flush=True); time.sleep(60)"], stdout=-1)
    assert holder.stdout
    holder.stdout.readline()
    remove_tree(env)
    waiting = cli.start("restore", str(lock))
    assert waiting.stderr
    assert "waiting" in waiting.stderr.readline()
    holder.kill()
    waiting.communicate(timeout=60)
    holder.communicate()
    assert waiting.returncode == 0
    check_store(store)


@contextmanager
def as_nobody(cache: Path) -> Iterator[Callable[[str], subprocess.CompletedProcess[str]]]:
    """Run the command as a user who may read everything, so that it finds this Python, and write what is its own."""
    if not is_root or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv")
    args = ["setpriv", f"--reuid={NOBODY}", "--clear-groups", "--bounding-set=-all,+dac_read_search"]
    args += ["--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"]

    def run(lock: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*args, sys.executable, "-m", "repro", "restore", lock, "--cache", str(cache)],
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, capture_output=True, text=True, check=False,
        )  # fmt: skip

    if subprocess.run([*args, sys.executable, "-c", "import repro"], capture_output=True, check=False).returncode:
        pytest.skip("capabilities cannot be lent here")
    yield run


def give(path: Path, *, write: bool) -> None:
    """Give a tree to nobody, with or without the permission to write."""
    for directory, _, names in os.walk(path):
        for place in (directory, *(os.path.join(directory, name) for name in names)):
            os.chown(place, NOBODY, NOBODY, follow_symlinks=False)
            if not os.path.islink(place) and not write:
                os.chmod(place, os.stat(place).st_mode & 0o555)


def test_a_cache_that_may_not_be_written_serves_what_it_has(lock: Path, cli: Cli, tmp_path: Path) -> None:
    env = make(cli, lock)
    give(cli.cache, write=False)
    other = tmp_path / "other.txt"
    other.write_bytes(lock.read_bytes() + b"\n")  # other bytes: no look leads to it
    with as_nobody(cli.cache) as run:
        for path in (lock, other):
            done = run(str(path))
            assert (done.returncode, done.stdout.split()[0]) == (0, str(env)), done.stderr
        remove_tree(env)
        done = run(str(lock))
        assert (done.returncode, "Traceback" in done.stderr) == (4, False)
        assert "hint: " in done.stderr


def test_a_cache_of_another_user_is_refused(lock: Path, cli: Cli) -> None:
    make(cli, lock)
    for path in (cli.cache / "repro", cli.cache):
        os.chown(path, NOBODY - 1, NOBODY - 1) if is_root else pytest.skip("needs root")
    with as_nobody(cli.cache) as run:
        done = run(str(lock))
    assert done.returncode == 4
    assert f"belongs to another user (uid {NOBODY - 1})" in done.stderr
    assert "hint: name one of your own" in done.stderr


@needs_root
@pytest.mark.parametrize("boot", ["this", "earlier"])
def test_a_cache_on_a_read_only_disk_serves_what_it_has(boot: str, lock: Path, cli: Cli, tmp_path: Path) -> None:
    env = make(cli, lock)
    if boot == "earlier":
        marker = env / "repro-environment"
        text = marker.read_text()
        at = text.index("\nboot ") + 6
        marker.write_text(text[:at] + "00000000" + text[at + 8 :])
    other = tmp_path / "other.txt"
    other.write_bytes(lock.read_bytes() + b"\n")
    with mounted(cli.cache, "--bind", str(cli.cache)):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(cli.cache)], check=True)
        for path in (lock, other, lock):
            assert make(cli, path) == env
        assert cli("restore", str(lock), "--", "python", "-c", "import alpha; print(alpha.VERSION)").stdout == "1.0\n"


@needs_root
def test_wheels_on_another_file_system_than_the_cache_are_restored(
    lock: Path, cli: Cli, index: LocalIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "elsewhere"
    place.mkdir()
    with mounted(place, "-t", "tmpfs", "none"):
        for wheel in index.root.glob("simple/*/*.whl"):
            shutil.copy(wheel, place)
        monkeypatch.setenv("PIP_FIND_LINKS", str(place))
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.delenv("PIP_INDEX_URL")
        asked = index.requests
        env = make(cli, lock)
        assert index.requests == asked
    assert restore(cli, lock, "--verify")["path"] == str(env)


@pytest.mark.parametrize("name", ["with spaces and 'quotes'", "žluťoučký-кот", "x" * 150])
def test_scripts_run_wherever_the_cache_is(
    name: str, tmp_path: Path, index: LocalIndex, environment: TestEnvironment
) -> None:
    info, data = "tool-1.0.dist-info", "tool-1.0.data/scripts"
    content = {
        f"{info}/entry_points.txt": "[console_scripts]\nsay = tool:say\n",
        f"{data}/said": "#!python\nimport tool\ntool.say()\n",
        "tool.py": "import sys\ndef say():\n    print('said', *sys.argv[1:])\n",
    }
    index.add("tool", "1.0", files=content)
    lock = take_lock(environment.install("tool==1.0").python, tmp_path / "project" / "requirements-lock.txt")
    cache = tmp_path / name
    cache.mkdir()
    env = make(Cli(cache), lock)
    for script in ("say", "said"):
        done = subprocess.run([env / "bin" / script, "a b"], capture_output=True, text=True, check=True)
        assert done.stdout == "said a b\n"


@pytest.mark.parametrize("years", [-60, 60])
def test_a_clock_that_jumped_changes_nothing(years: int, lock: Path, cli: Cli) -> None:
    env = make(cli, lock)
    when = int(time.time() + years * 365 * 86400) if years > 0 else 86400
    rooms = Path(open_store(cli.cache).room())
    for place in ("looks", "flocks", "wheels", "trees", "interpreters", f"envs/{env.parent.name}"):
        os.utime(rooms / place, (when, when))
    for place in [
        *rooms.glob("looks/*"),
        *rooms.glob("flocks/*"),
        *rooms.glob("wheels/*/*"),
        env / "repro-environment",
    ]:
        os.utime(place, (when, when))
    assert restore(cli, lock)["reused"] is True
    assert restore(cli, lock, "--verify")["sound"] is True
    remove_tree(env)
    assert restore(cli, lock, "--verify")["sound"] is True


def test_an_index_that_fails_for_a_moment_only_costs_time(
    lock: Path, cli: Cli, index: LocalIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UV_HTTP_RETRIES")  # none for the other tests, and ours are as many
    index.failures = 3
    index.delay_s = 0.5
    assert restore(cli, lock, "--verify")["sound"] is True


def test_an_index_that_fails_for_good_is_named(lock: Path, cli: Cli, index: LocalIndex) -> None:
    index.failures = 10**6
    done = cli("restore", str(lock), code=4)
    assert "hint: " in done.stderr
    check_store(open_store(cli.cache))
    index.failures = 0
    assert restore(cli, lock, "--verify")["sound"] is True


@pytest.mark.parametrize("how", ["truncated", "tampered", "empty"])
def test_a_damaged_file_of_an_index_is_refused_and_a_good_one_taken_later(
    how: str, lock: Path, cli: Cli, index: LocalIndex
) -> None:
    (wheel,) = index.root.glob("simple/alpha/*.whl")
    content = wheel.read_bytes()
    bad = {"truncated": content[:-100], "tampered": content.replace(b"1.0", b"6.6"), "empty": b""}[how]
    wheel.write_bytes(bad)
    done = cli("restore", str(lock), code=4)
    assert "hint: " in done.stderr
    assert "alpha" in done.stderr
    check_store(open_store(cli.cache))
    wheel.write_bytes(content)
    assert restore(cli, lock, "--verify")["sound"] is True


def test_an_index_that_cuts_its_answers_off_is_named(lock: Path, cli: Cli, index: LocalIndex) -> None:
    index.cuts_off = True
    done = cli("restore", str(lock), code=4)
    assert "hint: " in done.stderr
    check_store(open_store(cli.cache))
    index.cuts_off = False
    assert restore(cli, lock, "--verify")["sound"] is True


@pytest.mark.parametrize("how", ["yanked", "deleted"])
def test_the_kept_wheel_of_a_version_that_went_away_serves(how: str, lock: Path, cli: Cli, index: LocalIndex) -> None:
    env = make(cli, lock)
    for wheel in index.root.glob("simple/*/*.whl"):
        index.yanked[wheel.name] = "broken"
        if how == "deleted":
            wheel.unlink()
    remove_tree(env.parent)
    remove_tree(open_store(cli.cache).room("trees"))
    assert restore(cli, lock, "--verify")["sound"] is True


def test_a_yanked_version_is_still_what_the_lock_says(lock: Path, cli: Cli, index: LocalIndex) -> None:
    index.yanked = {wheel.name: "broken" for wheel in index.root.glob("simple/*/*.whl")}
    assert restore(cli, lock, "--verify")["sound"] is True


def copy_interpreter(target: Path) -> Path:
    """Copy the interpreter that runs the tests, its library by links."""
    base = Path(sys.base_prefix)
    minor = f"python3.{sys.version_info.minor}"
    (target / "bin").mkdir(parents=True)
    shutil.copy2(base / "bin" / minor, target / "bin" / minor)
    (target / "lib").mkdir()
    (target / "lib" / minor).symlink_to(base / "lib" / minor)
    return target / "bin" / minor


@pytest.mark.parametrize("deed", ["upgraded", "removed"])
def test_an_interpreter_that_changed_under_an_environment_is_noticed(
    deed: str, lock: Path, cli: Cli, tmp_path: Path
) -> None:
    python = copy_interpreter(tmp_path / "python")
    if subprocess.run([python, "-c", "import ssl"], check=False, capture_output=True).returncode:
        pytest.skip("this interpreter cannot be copied")
    first = restore(cli, lock, "--python", str(python))
    if deed == "removed":
        python.unlink()
        done = cli("restore", str(lock), "--python", str(python), code=None)
        assert done.returncode in (2, 4)
        assert str(python) in done.stderr
        second = restore(cli, lock)
    else:
        os.utime(python, (1, 1))
        second = restore(cli, lock, "--python", str(python))
        assert second["reused"] is False
    assert second["path"] != first["path"]
    code = "import alpha; print(alpha.VERSION)"
    assert subprocess.run([str(second["python"]), "-c", code], capture_output=True, text=True, check=True).stdout


def test_wheels_with_one_record_digest_and_other_data_scripts_are_told_apart(
    environment: TestEnvironment, cli: Cli, tmp_path: Path, index: LocalIndex
) -> None:
    said = []
    for word in ("good", "evil"):
        script = f"#!python\nprint({word!r})\n"
        index.add("tool", "1.0", files={"tool-1.0.data/scripts/say": script})
        environment.install("tool==1.0", "--reinstall", "--refresh")
        lock = take_lock(environment.python, tmp_path / word / "requirements-lock.txt")
        env = make(cli, lock)
        said.append(subprocess.run([env / "bin" / "say"], capture_output=True, text=True, check=True).stdout)
    assert said == ["good\n", "evil\n"]
    assert make(cli, tmp_path / "good" / "requirements-lock.txt") != env


@pytest.mark.parametrize("offline", [False, True])
def test_a_poisoned_wheel_of_the_store_never_gets_in(offline: bool, lock: Path, cli: Cli) -> None:
    env = make(cli, lock)
    rooms = Path(open_store(cli.cache).room())
    (wheel,) = rooms.glob("wheels/*/alpha-*.whl")
    wheel.chmod(0o644)
    wheel.write_bytes(wheel.read_bytes().replace(b"'1.0'", b"'6.6'"))
    remove_tree(env.parent)
    remove_tree(rooms / "trees")
    if offline:
        done = cli("restore", str(lock), "--offline", code=4)
        assert "alpha==1.0" in done.stderr
    outcome = restore(cli, lock, "--verify")
    assert outcome["sound"] is True
    code = "import alpha; print(alpha.VERSION)"
    assert (
        subprocess.run([str(outcome["python"]), "-c", code], capture_output=True, text=True, check=True).stdout
        == "1.0\n"
    )


@pytest.mark.parametrize("engine", ["uv", "pip"])
def test_poisoned_caches_of_installers_never_get_in(engine: str, lock: Path, cli: Cli) -> None:
    env = Path(str(restore(cli, lock, "--engine", engine)["path"]))
    rooms = Path(open_store(cli.cache).room())
    remove_tree(env.parent)
    for room in ("trees", "wheels"):
        remove_tree(rooms / room)
    for room in ("uv", "pip", "virtualenv", "built", "interpreters"):
        for path in (rooms / room).rglob("*"):
            if path.is_file() and path.suffix not in (".lock", ".py"):
                path.chmod(0o644)
                path.write_bytes(b"poison" * 10)
    assert restore(cli, lock, "--engine", engine, "--verify")["sound"] is True
