"""What the installers get from the store: the wheels that fit, and those that were built once."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path

import pytest
from conftest import Cli, LocalIndex, commit_all, make_project

from repro.environments.installers.messages import explain
from repro.environments.machine import Machine
from repro.environments.snapshot import write_lock
from repro.files import remove_tree
from repro.formats.direct_url import Vcs
from repro.formats.lockfile import Distribution, Snapshot
from repro.process import Finished


def hash_of(path: Path) -> str:
    return f"--hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def add_for(index: LocalIndex, minor: str) -> Path:
    """Publish a wheel of zeta for one Python."""
    wheel = index.add("zeta", "1.0", files={"zeta_for.py": f"MINOR = {minor!r}\n"})
    return wheel.rename(wheel.with_name(f"zeta-1.0-cp{minor.replace('.', '')}-none-any.whl"))


@pytest.mark.interpreters
@pytest.mark.parametrize("engine", ["uv", "pip"])
def test_a_wheel_that_the_store_has_for_another_python_is_not_taken(engine: str, cli: Cli, index: LocalIndex) -> None:
    ours = f"{sys.version_info[0]}.{sys.version_info[1]}"
    other = next(minor for minor in ("3.12", "3.11", "3.10") if minor != ours)
    candidate = Machine.here(cache=str(cli.cache)).make_finder().find_version(other, implementation="cpython")
    if candidate is None:
        pytest.skip(f"Python {other} is not on this machine")
    hashes = " ".join(hash_of(add_for(index, minor)) for minor in (ours, other))
    Path("r.txt").write_text(f"zeta==1.0 {hashes}\n")
    for python, minor in ((sys.executable, ours), (candidate.path, other)):
        args = ("restore", "r.txt", "--engine", engine, "--python", python, "--json", "--")
        script = "import sys, zeta_for; sys.stderr.write(zeta_for.MINOR)"
        assert cli(*args, "python", "-c", script).stderr.endswith(minor)


@pytest.mark.parametrize("engine", ["uv", "pip"])
def test_what_was_built_of_an_sdist_is_built_once(engine: str, cli: Cli, index: LocalIndex, tmp_path: Path) -> None:
    sdist = index.add_sdist(make_project(tmp_path / "source", "zeta", "1.0"), "zeta", "1.0")
    Path("r.txt").write_text(f"zeta==1.0 {hash_of(sdist)}\nalpha==1.0 {hash_of(index.add('alpha', '1.0'))}\n")
    args = ("restore", "r.txt", "--engine", engine, "--python", sys.executable, "--json")
    cli(*args)
    for more in ((), ("--offline",)):
        for environment in (cli.cache / "repro" / "v1" / "envs").iterdir():
            remove_tree(environment)
        if "--offline" in more:
            shutil.rmtree(index.root / "simple" / "zeta")
        made = json.loads(cli(*args, *more).stdout)
        assert made["reused"] is False
        assert [path.name for path in Path(made["path"]).glob("lib/*/site-packages/zeta.py")] == ["zeta.py"]


def test_what_was_built_of_another_sdist_is_not_taken(cli: Cli, index: LocalIndex, tmp_path: Path) -> None:
    source = make_project(tmp_path / "source", "zeta", "1.0")
    args = ("restore", "r.txt", "--engine", "pip", "--python", sys.executable)
    script = ("--", "python", "-c", "import zeta; print(zeta.VERSION)")
    for version in ("first", "second"):
        (source / "src" / "zeta.py").write_text(f"VERSION = {version!r}\n")
        Path("r.txt").write_text(f"zeta==1.0 {hash_of(index.add_sdist(source, 'zeta', '1.0'))}\n")
        assert cli(*args, *script).stdout == f"{version}\n"


@pytest.mark.interpreters
def test_the_pip_of_an_old_python_builds_for_it(cli: Cli, index: LocalIndex, tmp_path: Path) -> None:
    candidate = Machine.here(cache=str(cli.cache)).make_finder().find_version("3.8", implementation="cpython")
    if candidate is None:
        pytest.skip("Python 3.8 is not on this machine")
    sdist = index.add_sdist(make_project(tmp_path / "source", "zeta", "1.0"), "zeta", "1.0")
    Path("r.txt").write_text(f"zeta==1.0 {hash_of(sdist)}\n")
    script = ("--", "python", "-c", "import sys, zeta; print(zeta.VERSION, sys.version_info[1])")
    assert cli("restore", "r.txt", "--engine", "pip", "--python", candidate.path, *script).stdout == "1.0 8\n"


def test_what_cannot_be_built_for_an_old_python_is_said() -> None:
    said = "ERROR: This version of pip does not support python 3.8 (requires >=3.10)."
    error = explain(Finished(returncode=1, stdout="", stderr=said), "building a wheel with pip")
    assert error.message == "building a wheel with pip failed: pip builds for Python >=3.10, not for 3.8"
    assert error.hint is not None
    assert "install uv" in error.hint


def check_built(cli: Cli, python: str, line: str, module: str) -> None:
    """Restore a requirement of an old Python, and offline again without building."""
    Path("r.txt").write_text(f"{line}\n")
    script = f"import sys, {module}; print(sys.version_info[:2] >= (3, 10), {module}.VERSION)"
    for more in ((), ("--offline",)):
        remove_tree(cli.cache / "repro" / "v1" / "envs")
        done = cli("restore", "r.txt", "--python", python, *more, "--", "python", "-c", script)
        assert done.stdout == "False 1.0\n"
    assert not list(Path(cli.cache, "repro", "v1", "tmp").iterdir())


def find_old_python(cli: Cli, minor: str) -> str:
    candidate = Machine.here(cache=str(cli.cache)).make_finder().find_version(minor, implementation="cpython")
    if candidate is None:
        pytest.skip(f"Python {minor} is not on this machine")
    return candidate.path


@pytest.mark.interpreters
@pytest.mark.parametrize("minor", ["3.8", "3.9"])
def test_an_sdist_is_built_for_a_python_that_pip_left_behind(
    minor: str, cli: Cli, index: LocalIndex, tmp_path: Path
) -> None:
    sdist = index.add_sdist(make_project(tmp_path / "source", "zeta", "1.0"), "zeta", "1.0")
    check_built(cli, find_old_python(cli, minor), f"zeta==1.0 {hash_of(sdist)}", "zeta")


@pytest.mark.interpreters
def test_a_changed_sdist_is_not_built_for_an_old_python(cli: Cli, index: LocalIndex, tmp_path: Path) -> None:
    python = find_old_python(cli, "3.8")
    sdist = index.add_sdist(make_project(tmp_path / "source", "zeta", "1.0"), "zeta", "1.0")
    Path("r.txt").write_text(f"zeta==1.0 {hash_of(sdist)}\n")
    index.add_sdist(make_project(tmp_path / "source", "zeta", "1.0", files={"evil.py": ""}), "zeta", "1.0")
    done = cli("restore", "r.txt", "--python", python, code=4)
    assert (
        "error: building a wheel of `zeta==1.0` with uv failed: a file of the index has another sha256 than the lock"
        in done.stderr
    )


@pytest.mark.interpreters
def test_a_commit_is_built_for_a_python_that_pip_left_behind(cli: Cli, index: LocalIndex, tmp_path: Path) -> None:
    python = find_old_python(cli, "3.9")
    source = make_project(tmp_path / "source", "zeta", "1.0")
    commit = commit_all(source)
    source_of = Vcs(vcs="git", url=f"file://{source}", commit=commit)
    entry = Distribution(name="zeta", version="1.0", source=source_of)
    interpreter = Machine.here(cache=str(cli.cache)).make_finder().find(None, given=python).interpreter
    lock = Path("requirements-lock.txt")
    write_lock(Snapshot(interpreter=interpreter, distributions=(entry,)), lock)
    for more in ((), ("--offline",)):
        remove_tree(cli.cache / "repro" / "v1" / "envs")
        script = "import sys, zeta; print(sys.version_info[:2], zeta.VERSION)"
        done = cli("restore", str(lock), "--python", python, *more, "--", "python", "-c", script)
        assert done.stdout == "(3, 9) 1.0\n"
