"""Exporting a lock, and installing what was written with stock pip and uv."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Cli, LocalIndex, TestEnvironment, get_uv, make_wheel
from locks import add, keep, lock_alpha

from repro.environments.machine import Machine
from repro.environments.satisfy import look_here
from repro.environments.snapshot import write_lock
from repro.formats.direct_url import Editable, System, Vcs
from repro.formats.lockfile import Distribution
from repro.formats.toml import parse_toml
from repro.snapshots.load import load_lock

EXPORT_ALL = ("pylock", "requirements", "conda-yaml", "python-env")


@pytest.fixture(autouse=True)
def lock(index: LocalIndex, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The lock of alpha and beta, here."""
    monkeypatch.setenv("MLFLOW_PYTHON_BIN", sys.executable)
    return lock_alpha(cli)


def install(tool: str, target: TestEnvironment, *args: str) -> None:
    environ = {**os.environ, "UV_CACHE_DIR": str(Path("uv-cache").absolute()), "HOME": str(Path.cwd())}
    if tool == "uv":
        command = [get_uv(), "pip", "install", "--quiet", "--python", target.python, *args]
        environ["UV_DEFAULT_INDEX"] = os.environ["PIP_INDEX_URL"]
    else:
        command = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            target.python,
            "install",
            "--quiet",
            "--no-cache-dir",
            *args,
        ]
    subprocess.run(command, check=True, env=environ)


def get_versions(target: TestEnvironment, cache: Path) -> dict[str, str]:
    here = look_here(Machine.here(cache=str(cache)), target.python)
    return {each.name: each.version for each in here.distributions}


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_a_pylock_installs_with_stock_tools(tool: str, lock: Path, cli: Cli, tmp_path: Path) -> None:
    Path("out").mkdir()
    add(lock, keep(cli.cache, tmp_path / "mine"))
    cli("export", "-f", "pylock", "-o", "out/pylock.toml", "--wheels", "out/wheels")
    Path("out").rename("moved")
    target = TestEnvironment(tmp_path / "target")
    install(tool, target, "-r", "moved/pylock.toml")
    assert get_versions(target, cli.cache) == {"alpha": "1.0", "beta": "2.1", "mine": "0.1"}


def test_a_pylock_has_every_file_that_the_lock_allows_and_no_other(lock: Path, index: LocalIndex, cli: Cli) -> None:
    wheel = index.root / "simple" / "beta" / "beta-2.1-py3-none-any.whl"
    other = wheel.with_name("beta-2.1-1-py3-none-any.whl")
    other.write_bytes(wheel.read_bytes() + b"\n")
    index.add("beta", "2.2")
    text = cli("export", "-f", "pylock").stdout
    beta = parse_toml(text, where="x")["packages"][1]  # type: ignore[index]
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert beta["wheels"] == [{"url": f"{index.url}beta/{wheel.name}", "hashes": {"sha256": sha256}}]
    assert beta["index"] == index.url
    assert cli("export", "-f", "pylock").stdout == text


def test_files_of_this_machine_are_copied_beside_the_pylock(cli: Cli, tmp_path: Path) -> None:
    Path("links").mkdir()
    make_wheel(Path("links"), "local-one", "1.0")
    Path("r.in").write_text("local-one\n-f links\n")
    cli("lock", "r.in")
    links = ("--find-links", "links")
    refused = cli("export", "-f", "pylock", *links, code=5)
    assert "no index has a file of 1 distribution(s)" in refused.stderr
    cli("export", "-f", "pylock", *links, "-o", "pylock.toml", "--wheels", "wheels")
    assert 'path = "wheels/local_one-1.0-py3-none-any.whl"' in Path("pylock.toml").read_text()
    Path("links").rename("gone")
    target = TestEnvironment(tmp_path / "target")
    install("uv", target, "-r", "pylock.toml", "--no-index")
    assert get_versions(target, cli.cache) == {"local-one": "1.0"}


def test_a_file_that_no_index_has_is_named(lock: Path, cli: Cli) -> None:
    lock.write_text(lock.read_text().replace("alpha==1.0", "alpha==7.0"))
    done = cli("export", "-f", "pylock", code=5)
    assert "no index has a file of 1 distribution(s) with a hash of the lock\n  alpha==7.0\nhint: " in done.stderr


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_plain_requirements_install_with_stock_tools(tool: str, lock: Path, cli: Cli, tmp_path: Path) -> None:
    add(lock, keep(cli.cache, tmp_path / "mine"))
    cli("export", "-f", "requirements", "-o", "r.txt", "--wheels", "wheels")
    assert "#" not in Path("r.txt").read_text()
    target = TestEnvironment(tmp_path / "target")
    install(tool, target, "--require-hashes", "--no-deps", "-r", "r.txt")
    assert get_versions(target, cli.cache) == {"alpha": "1.0", "beta": "2.1", "mine": "0.1"}


def test_requirements_are_pins_alone_where_the_lock_has_no_hashes(lock: Path, cli: Cli) -> None:
    bare = [replace(each, hashes=()) for each in load_lock(lock).snapshot.distributions]
    write_lock(replace(load_lock(lock).snapshot, distributions=tuple(bare), index_urls=()), lock)
    assert cli("export", "-f", "requirements").stdout == "alpha==1.0\nbeta==2.1\n"
    refused = cli("export", "-f", "pylock", code=5).stderr
    assert "alpha: the lock has no hash of it, and a pylock.toml has to" in refused


@pytest.mark.parametrize("format_name", ["conda-yaml", "python-env"])
def test_what_mlflow_reads_leads_back_to_the_same_lock(format_name: str, lock: Path, cli: Cli) -> None:
    cli("export", "-f", format_name, "-o", "out.yaml")
    cli("lock", "out.yaml", "-o", "back.txt")
    before, after = load_lock(lock).snapshot, load_lock("back.txt").snapshot
    assert [(each.name, each.version, each.hashes) for each in after.distributions] == [
        (each.name, each.version, each.hashes) for each in before.distributions
    ]
    assert after.interpreter == before.interpreter


VCS = Distribution(
    name="vcs", version="1", source=Vcs(vcs="git", url="https://example.org/v.git", commit="0" * 40, subdirectory="s")
)
SYSTEM = Distribution(name="system", version="1", source=System())


@pytest.mark.parametrize("format_name", EXPORT_ALL)
def test_what_a_format_cannot_say_is_told_or_left_out(format_name: str, lock: Path, cli: Cli, tmp_path: Path) -> None:
    add(lock, VCS, SYSTEM, keep(cli.cache, tmp_path / "mine"))
    told = cli("export", "-f", format_name, code=5).stderr
    says_commit = format_name != "requirements"
    assert f"{2 if says_commit else 3} distribution(s) of `requirements-lock.txt` cannot be written" in told
    assert "system: the lock names no file for it (system)" in told
    assert "mine: its wheel is in the cache alone" in told
    done = cli("export", "-f", format_name, "--allow-missing")
    assert "warning: left out: system: " in done.stderr
    assert ("0" * 40 in done.stdout) is says_commit
    assert "mine" not in done.stdout


def test_a_commit_whose_wheel_is_kept_is_written_as_either(lock: Path, cli: Cli, tmp_path: Path) -> None:
    add(lock, replace(keep(cli.cache, tmp_path / "mine"), source=VCS.source))
    assert "commit-id = " in cli("export", "-f", "pylock").stdout
    assert "mine @ git+https://example.org/v.git@" in cli("export", "-f", "conda-yaml").stdout
    cli("export", "-f", "pylock", "-o", "pylock.toml", "--wheels", "wheels")
    assert 'path = "wheels/mine-0.1-py3-none-any.whl"' in Path("pylock.toml").read_text()


def test_a_kept_wheel_that_is_gone_is_told(lock: Path, cli: Cli) -> None:
    add(lock, Distribution(name="gone", version="1", source=Editable(), hashes=(f"sha256:{'0' * 64}",), kept=True))
    done = cli("export", "-f", "pylock", "-o", "pylock.toml", "--wheels", "w", code=5)
    assert "the wheel of `gone` 1 is not in the cache" in done.stderr
    assert not Path("pylock.toml").exists()


def test_json_says_what_was_written(lock: Path, cli: Cli) -> None:
    done = json.loads(cli("export", "-f", "requirements", "--json").stdout)
    assert done["text"].startswith("--extra-index-url ")
    done = json.loads(cli("export", "-f", "requirements", "-o", "r.txt", "--json").stdout)
    assert done == {
        "lock": "requirements-lock.txt", "format": "requirements", "path": "r.txt", "distributions": 2, "left_out": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("args", "code", "sentence"),
    [
        (("-f", "pylock", "-o", "lock.toml"), 2, "`lock.toml` is no name for a pylock"),
        (("-f", "poetry"), 2, "invalid choice: 'poetry'"),
        ((), 2, "the following arguments are required: -f/--format"),
        (("-f", "requirements", "nowhere"), 3, "there is no snapshot at `nowhere`"),
        (("-f", "requirements", "-o", "/dev/null/r.txt"), 5, "`/dev/null/r.txt` cannot be written"),
    ],
)
def test_each_bad_input_gets_one_sentence_and_its_exit_code(
    args: tuple[str, ...], code: int, sentence: str, cli: Cli
) -> None:
    assert sentence in cli("export", *args, code=code).stderr
