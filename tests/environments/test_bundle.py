"""Bundling a lock, and installing the zip with repro, stock pip and uv, without a network."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Cli, LocalIndex, TestEnvironment, commit_all, get_uv, make_project, make_wheel
from locks import add, keep, lock_alpha

from repro.environments.bundle import Wheel, write_bundle
from repro.environments.machine import Machine
from repro.environments.satisfy import look_here
from repro.errors import RestoreError
from repro.files import sha256_file
from repro.formats.direct_url import Archive, Editable, Index, System, Vcs
from repro.formats.lockfile import Distribution
from repro.snapshots.bundled import open_bundle
from repro.snapshots.load import load_lock


@pytest.fixture
def lock(index: LocalIndex, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The lock of alpha and beta, here."""
    monkeypatch.setenv("MLFLOW_PYTHON_BIN", sys.executable)
    return lock_alpha(cli)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Cli:
    """The command line of another machine: its cache is empty."""
    (tmp_path / "elsewhere").mkdir()
    return Cli(tmp_path / "elsewhere")


def cut_off(index: LocalIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the index away."""
    index.close()
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple/")


def get_versions(python: str, cache: Path) -> dict[str, str]:
    here = look_here(Machine.here(cache=str(cache)), python)
    return {each.name: each.version for each in here.distributions}


def test_a_bundle_restores_elsewhere_without_a_network_and_the_second_time_is_a_look_up(
    lock: Path, index: LocalIndex, cli: Cli, elsewhere: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(lock, keep(cli.cache, tmp_path / "mine"))
    done = cli("bundle", "-o", "b.zip")
    assert "b.zip: 3 distributions of requirements-lock.txt" in done.stdout
    cut_off(index, monkeypatch)
    made = json.loads(elsewhere("restore", "b.zip", "--json").stdout)
    assert (made["reused"], made["digest"]) == (False, load_lock(lock).snapshot.compute_digest())
    assert get_versions(made["python"], cli.cache) == {"alpha": "1.0", "beta": "2.1", "mine": "0.1"}
    again = json.loads(elsewhere("restore", "b.zip", "--json").stdout)
    assert (again["reused"], again["path"]) == (True, made["path"])
    assert made["path"] in elsewhere("restore", "b.zip").stdout
    shutil.copyfile("b.zip", "copy.zip")
    Path("b.zip").rename("moved.zip")
    for name in ("copy.zip", "moved.zip"):
        assert json.loads(elsewhere("restore", name, "--json").stdout)["path"] == made["path"]
    os.rename("copy.zip", "b.zip")
    assert elsewhere("restore", "b.zip", "--", "python", "-c", "import mine; print(mine.VERSION)").stdout == "0.1\n"


def test_the_lock_in_a_bundle_is_the_lock_byte_for_byte(lock: Path, cli: Cli) -> None:
    cli("bundle", ".", "-o", "b.zip")
    with zipfile.ZipFile("b.zip") as archive:
        assert archive.read("requirements-lock.txt") == lock.read_bytes()
        assert archive.namelist() == [
            "bundle.json", "pylock.toml", "requirements-lock.txt", "wheels/alpha-1.0-py3-none-any.whl",
            "wheels/beta-2.1-py3-none-any.whl",
        ]  # fmt: skip
        assert json.loads(archive.read("bundle.json")) == {
            "bundle": 1,
            "contents": ["pylock.toml", "requirements-lock.txt", "wheels"],
            "digest": load_lock(lock).snapshot.compute_digest(),
            "left_out": [],
        }


def install_with_pip_of_pylock(python: str) -> list[str]:
    return [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "-r", "pylock.toml"]


def install_with_pip_of_lock(python: str) -> list[str]:
    args = ["--no-index", "--find-links", "wheels", "--require-hashes", "--no-deps", "-r", "requirements-lock.txt"]
    return [sys.executable, "-m", "pip", "--python", python, "install", *args]


def sync_with_uv(python: str) -> list[str]:
    return [get_uv(), "pip", "sync", "--offline", "--python", python, "pylock.toml"]


def sync_lock_with_uv(python: str) -> list[str]:
    args = ["--no-index", "--find-links", "wheels", "--require-hashes", "requirements-lock.txt"]
    return [get_uv(), "pip", "sync", "--offline", "--python", python, *args]


STOCK = [install_with_pip_of_pylock, install_with_pip_of_lock, sync_with_uv, sync_lock_with_uv]


def unzip_and_install(make: Callable[[str], list[str]], bundle: str, target: TestEnvironment) -> None:
    """Unpack a bundle where nothing else is, and install it with no index to ask."""
    place = Path("unzipped")
    shutil.rmtree(place, ignore_errors=True)
    shutil.unpack_archive(bundle, place)
    environ = {
        **os.environ,
        "UV_CACHE_DIR": str(Path("uv-cache").absolute()),
        "HOME": str(Path.cwd()),
        "PIP_NO_CACHE_DIR": "1",
    }
    subprocess.run(make(target.python), check=True, env=environ, cwd=place)


@pytest.mark.parametrize("make", STOCK)
def test_an_unzipped_bundle_installs_with_stock_tools_and_no_network(
    make: Callable[[str], list[str]],
    lock: Path,
    index: LocalIndex,
    cli: Cli,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add(lock, keep(cli.cache, tmp_path / "mine"))
    cli("bundle", "-o", "b.zip")
    cut_off(index, monkeypatch)
    target = TestEnvironment(tmp_path / "target")
    unzip_and_install(make, "b.zip", target)
    assert get_versions(target.python, cli.cache) == {"alpha": "1.0", "beta": "2.1", "mine": "0.1"}


def test_equal_locks_and_wheels_give_equal_bytes(lock: Path, cli: Cli, elsewhere: Cli) -> None:
    cli("bundle", "-o", "b.zip")
    elsewhere("restore", ".")
    elsewhere("bundle", "--offline", "-o", "c.zip")
    assert Path("b.zip").read_bytes() == Path("c.zip").read_bytes()
    with zipfile.ZipFile("b.zip") as archive:
        assert {each.compress_type for each in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {each.date_time for each in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def publish_commit(index: LocalIndex, tmp_path: Path, name: str) -> tuple[str, str]:
    """Serve a repository; return its URL and commit."""
    source = make_project(tmp_path / name, name, "0.1")
    commit = commit_all(source)
    subprocess.run(["git", "clone", "-q", "--bare", str(source), str(index.root / f"{name}.git")], check=True)
    subprocess.run(["git", "-C", str(index.root / f"{name}.git"), "update-server-info"], check=True)
    return f"http://{index.host}/{name}.git", commit


def test_what_only_a_build_can_give_is_bundled_built_and_the_digest_stays(
    lock: Path, index: LocalIndex, cli: Cli, elsewhere: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sdist = index.add_sdist(make_project(tmp_path / "s", "only_sdist", "1.0"), "only-sdist", "1.0")
    url, commit = publish_commit(index, tmp_path, "made")
    archive = make_wheel(index.root, "by-url", "3.0")
    hashes = {path: f"sha256:{sha256_file(path)}" for path in (sdist, archive)}
    add(
        lock,
        Distribution(name="only-sdist", version="1.0", source=Index(), hashes=(hashes[sdist],)),
        Distribution(name="made", version="0.1", source=Vcs(vcs="git", url=url, commit=commit)),
        Distribution(
            name="by-url", version="3.0", hashes=(hashes[archive],),
            source=Archive(url=f"http://{index.host}/{archive.name}", sha256=hashes[archive][7:]),
        ),
    )  # fmt: skip
    before = load_lock(lock).snapshot
    said = json.loads(cli("bundle", "-o", "b.zip", "--json").stdout)
    assert (said["digest"], said["distributions"]) == (before.compute_digest(), 5)
    cut_off(index, monkeypatch)
    target = TestEnvironment(tmp_path / "target")
    for make in STOCK:
        unzip_and_install(make, "b.zip", target)
        assert len(get_versions(target.python, cli.cache)) == 5
    inside = {each.name: each for each in load_lock("b.zip").snapshot.distributions}
    assert inside["only-sdist"].hashes[1:] == (hashes[sdist],)
    assert not inside["only-sdist"].kept
    assert inside["made"].kept
    assert inside["by-url"].hashes == (hashes[archive],)
    assert (inside["alpha"], inside["beta"]) == (before.distributions[0], before.distributions[1])
    made = json.loads(elsewhere("restore", "b.zip", "--json").stdout)
    assert made["digest"] == before.compute_digest()
    assert get_versions(made["python"], cli.cache).keys() == inside.keys()


def test_a_commit_whose_kept_wheel_is_gone_is_built_again(
    environment: TestEnvironment, index: LocalIndex, cli: Cli, elsewhere: Cli, tmp_path: Path
) -> None:
    url, _ = publish_commit(index, tmp_path, "vcs_made")
    environment.install(f"git+{url}")
    cli("snapshot", ".", "--python", environment.python)
    before = load_lock(".").snapshot
    assert before.count()["kept"] == 1
    elsewhere("bundle", "-o", "b.zip")
    assert load_lock("b.zip").snapshot.compute_digest() == before.compute_digest()
    assert load_lock("b.zip").snapshot.count() == before.count()


def test_plain_pins_become_a_hashed_lock_of_one_python(lock: Path, index: LocalIndex, cli: Cli, tmp_path: Path) -> None:
    Path("plain.txt").write_text("alpha==1.0\nbeta==2.0\n")
    done = cli("bundle", "plain.txt", "-o", "b.zip", "--python", sys.executable)
    assert "is a plain requirements file" in done.stderr
    inside = load_lock("b.zip").snapshot
    assert inside.interpreter is not None
    assert inside.is_hashed
    assert [(each.name, each.version, len(each.hashes)) for each in inside.distributions] == [
        ("alpha", "1.0", 1), ("beta", "2.0", 1),
    ]  # fmt: skip


def test_what_cannot_be_restored_is_named_or_left_out_and_said_at_restore(lock: Path, cli: Cli, elsewhere: Cli) -> None:
    gone = Distribution(name="gone", version="1", source=Editable(), hashes=(f"sha256:{'0' * 64}",), kept=True)
    add(lock, gone, Distribution(name="os-own", version="2", source=System()))
    refused = cli("bundle", "-o", "b.zip", code=4).stderr
    assert "2 distribution(s) of `requirements-lock.txt` cannot be bundled" in refused
    assert "  gone 1: its wheel is not in this cache (editable)\n  os-own 2: the lock names no file for it" in refused
    assert not Path("b.zip").exists()
    done = cli("bundle", "-o", "b.zip", "--allow-missing")
    assert "warning: left out: os-own 2: " in done.stderr
    assert "warning: the bundle was made without gone 1\n" in elsewhere("restore", "b.zip").stderr
    assert [each.name for each in load_lock("b.zip").snapshot.distributions] == ["alpha", "beta"]


def test_offline_names_what_the_cache_does_not_have(lock: Path, index: LocalIndex, cli: Cli) -> None:
    asked = index.requests
    refused = cli("bundle", "-o", "b.zip", "--offline", code=4).stderr
    assert "  alpha==1.0\n  beta==2.1\n" in refused
    assert index.requests == asked
    cli("bundle", "-o", "b.zip")
    asked = index.requests
    cli("bundle", "-o", "b.zip", "--offline")
    assert index.requests == asked


def test_a_wheel_that_the_store_has_dropped_is_fetched_again_though_its_tree_is_left(lock: Path, cli: Cli) -> None:
    cli("bundle", "-o", "b.zip")
    shutil.rmtree(cli.cache / "repro" / "v1" / "wheels")
    assert "offline" in cli("bundle", "-o", "c.zip", "--offline", code=4).stderr
    cli("bundle", "-o", "c.zip")
    assert Path("b.zip").read_bytes() == Path("c.zip").read_bytes()


def test_a_changed_wheel_of_the_store_is_not_bundled_and_the_old_bundle_stays(lock: Path, cli: Cli) -> None:
    cli("bundle", "-o", "b.zip")
    before = Path("b.zip").read_bytes()
    wheel = next((cli.cache / "repro" / "v1" / "wheels").glob("*/alpha*.whl"))
    wheel.chmod(0o644)
    wheel.write_bytes(wheel.read_bytes() + b"\n")
    assert "the kept wheel `alpha-1.0-py3-none-any.whl` was changed" in cli("bundle", "-o", "b.zip", code=4).stderr
    assert Path("b.zip").read_bytes() == before
    assert sorted(path.name for path in Path().glob(".*")) == []


def test_a_lock_of_another_platform_is_refused(lock: Path, cli: Cli) -> None:
    lock.write_text(lock.read_text().replace('"platform": "linux', '"platform": "plan9'))
    refused = cli("bundle", "-o", "b.zip", code=4).stderr
    assert "is for plan9-" in refused
    assert "error: the lock `requirements-lock.txt`" in refused


def test_status_and_diff_read_a_bundle_as_its_lock(lock: Path, cli: Cli) -> None:
    cli("bundle", "-o", "b.zip")
    assert cli("diff", "b.zip", "./requirements-lock.txt").returncode == 0
    made = json.loads(cli("restore", "b.zip", "--json").stdout)
    assert cli("status", "b.zip", "--no-code", "--python", made["python"]).returncode == 0


def test_large_members_are_written_and_read_as_zip64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = make_wheel(tmp_path, "large", "1.0", files={"large.py": "#" * 5000})
    texts = {"bundle.json": b'{"bundle": 1, "contents": []}', "requirements-lock.txt": b"a lock"}
    with monkeypatch.context() as patched:
        patched.setattr(zipfile, "ZIP64_LIMIT", 1000)
        for name in ("b.zip", "c.zip"):
            write_bundle(Path(name), texts, [Wheel(path=wheel, sha256=sha256_file(wheel), record="sha256:" + "0" * 64)])
    assert Path("b.zip").read_bytes() == Path("c.zip").read_bytes()
    assert b"PK\x06\x06" in Path("b.zip").read_bytes()
    with open_bundle(Path("b.zip")) as bundle:
        found = b"".join(bundle.read_blocks(bundle.members[-1]))
    assert hashlib.sha256(found).hexdigest() == sha256_file(wheel)


def test_members_have_plain_modes_whatever_the_wheel_had(lock: Path, cli: Cli) -> None:
    cli("bundle", "-o", "b.zip")
    with zipfile.ZipFile("b.zip") as archive:
        assert {each.external_attr >> 16 for each in archive.infolist()} == {stat.S_IFREG | 0o644}


def test_a_bundle_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "one", "1.0")
    with pytest.raises(RestoreError, match="was changed"):
        write_bundle(Path("b.zip"), {"bundle.json": b""}, [Wheel(path=wheel, sha256="0" * 64, record="x")])
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("args", "code", "sentence"),
    [
        (("-o", "b.tar"), 2, "`b.tar` is no name for a bundle: it is known by `.zip`"),
        ((), 2, "the following arguments are required: -o/--output"),
        (("nowhere", "-o", "b.zip"), 3, "there is no snapshot at `nowhere`"),
        (("-o", "no/where/b.zip"), 5, "`no/where/b.zip` cannot be written (No such file or directory)"),
        (("-o", "b.zip", "--python", "/nowhere/python"), 4, "/nowhere/python"),
    ],
)
def test_each_bad_input_gets_one_sentence_and_its_exit_code(
    args: tuple[str, ...], code: int, sentence: str, lock: Path, cli: Cli
) -> None:
    assert sentence in cli("bundle", *args, code=code).stderr
    assert not list(Path().glob("*.zip"))


def test_a_lock_is_not_written_over_a_bundle(lock: Path, cli: Cli) -> None:
    cli("bundle", "-o", "b.zip")
    before = Path("b.zip").read_bytes()
    refused = cli("lock", "r.in", "-o", "b.zip", code=2).stderr
    assert "`b.zip` is the name of a bundle, not of a lock\nhint: `repro bundle` writes one" in refused
    assert Path("b.zip").read_bytes() == before
