from __future__ import annotations

import os
import shutil
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from conftest import REPOSITORY, Cli, LocalIndex, get_uv, make_project

from repro import settings
from repro.environments.installers.build_faults import Aid, find_aid, find_build_constraint
from repro.environments.installers.pip import PipBuilder
from repro.environments.installers.uv import UvBuilder
from repro.errors import RestoreError
from repro.process import Finished, Runner
from repro.snapshots.old_pip import find_old_pip

FEATURE = "ImportError: cannot import name 'Feature' from 'setuptools' (/x/setuptools/__init__.py)"


@pytest.mark.parametrize(
    ("said", "constraint"),
    [
        (FEATURE, "setuptools<46"),
        ("error in nose setup command: use_2to3 is invalid.", "setuptools<58"),
        ("ModuleNotFoundError: No module named 'pkg_resources'", "setuptools<81"),
        ("ModuleNotFoundError: No module named 'numpy'", None),
        ("error: command 'gcc' failed", None),
    ],
)
def test_the_setuptools_that_an_old_setup_needs_is_known_by_its_error(said: str, constraint: str | None) -> None:
    assert find_build_constraint(said) == constraint


@pytest.mark.parametrize(
    ("said", "before", "aid"),
    [
        ("ModuleNotFoundError: No module named 'sklearn.base'", Aid(), Aid(needs=("scikit-learn==1.0",))),
        ("No module named 'a'\nImportError: No module named Cython", Aid(), Aid(needs=("cython==3.0",))),
        (
            "ModuleNotFoundError: No module named 'sklearn'",
            Aid(setuptools="setuptools<46", needs=("cython==3.0",)),
            Aid(setuptools="setuptools<46", needs=("cython==3.0", "scikit-learn==1.0")),
        ),
        ("ModuleNotFoundError: No module named 'sklearn'", Aid(needs=("scikit-learn==1.0",)), None),
        ("ModuleNotFoundError: No module named 'numpy'", Aid(), None),
        ("error: command 'gcc' failed", Aid(), None),
    ],
)
def test_a_module_that_a_build_lacks_comes_from_what_is_locked_beside_it(
    said: str, before: Aid, aid: Aid | None
) -> None:
    pins = {"scikit-learn": "scikit-learn==1.0", "cython": "cython==3.0"}
    assert find_aid(said, before, pins) == aid


NEEDY = """\
import tool
from pathlib import Path
Path("src/built_with.py").write_text(f"VERSION = {tool.VERSION!r}")
"""


def add_needy(index: LocalIndex, directory: Path) -> None:
    """Publish `old`, whose build imports `tool` and does not say so, and nothing else of what it is made of."""
    for version in ("1.0", "2.0"):
        index.add("tool", version)
    source = make_project(directory, "old", "1.0")
    backend = source / "backend.py"
    backend.write_text(NEEDY + backend.read_text())
    project = source / "pyproject.toml"
    project.write_text(project.read_text().partition("[project]")[0])
    index.add_sdist(source, "old", "1.0")
    for name in ("setuptools", "wheel"):
        index.add(name, "1.0")


@pytest.mark.parametrize("resolver", ["uv", "an old pip"])
def test_a_project_is_locked_and_built_with_what_a_build_imports_and_does_not_say(
    resolver: str, index: LocalIndex, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_needy(index, tmp_path / "old")
    project = Path(shutil.copytree(REPOSITORY / "fixtures" / "projects" / "setup_needs", tmp_path / "setup_needs"))
    monkeypatch.setenv("MLFLOW_PYTHON_BIN", sys.executable)
    if resolver != "uv":
        if find_old_pip(sys.executable, runner=Runner(), env=os.environ, caches_dir=str(tmp_path)) is None:
            pytest.skip("this Python brings no pip below 24.1")
        index.add("pytz", "2020.1")
        index.add("oldpandas", "0.22.0", requires=("pytz (>=2011k)",))
        requirements = project / "requirements.txt"
        requirements.write_text(f"{requirements.read_text()}oldpandas\n")
    done = cli("run", str(project), "-e", "train.py", "--restore", "--no-snapshot")
    assert done.stdout == "old 1.0 with tool 1.0\n"
    assert ("which reads it, has chosen the versions" in done.stderr) == (resolver != "uv")


def test_uv_builds_with_what_is_locked_beside_it_and_else_says_what_is_lacking(
    index: LocalIndex, tmp_path: Path
) -> None:
    add_needy(index, tmp_path / "old")
    env = {**settings.make_installer_environment(os.environ), "UV_DEFAULT_INDEX": index.url}
    directory = tmp_path / "wheels"
    directory.mkdir()

    def build(pins: Mapping[str, str]) -> None:
        builder = UvBuilder(get_uv(), python=sys.executable, runner=Runner(), env=env, pins=pins)
        builder.build(["old==1.0"], hashed=False, directory=str(directory))

    with pytest.raises(RestoreError, match="failed: it imports `tool` and does not say that it needs it"):
        build({})
    build({"tool": "tool==1.0"})
    with zipfile.ZipFile(directory / "old-1.0-py3-none-any.whl") as wheel:
        assert wheel.read("built_with.py") == b"VERSION = '1.0'"


class FailingAtFirst:
    """A runner whose first command fails as an old setup.py does; it keeps what the others were told."""

    def __init__(self, said: str) -> None:
        self.said = said
        self.told: list[str] = []

    def capture(self, args: Sequence[str], *, env: Mapping[str, str], stdin: str = "") -> Finished:
        places = [
            env.get("PIP_BUILD_CONSTRAINT"),
            *(args[at + 1] for at, each in enumerate(args) if "constraints" in each),
        ]
        named = [Path(place).read_text() for place in places if place and Path(place).is_file()]
        self.told.append("".join(named))
        return Finished(returncode=1, stdout="", stderr=self.said)


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_a_build_that_an_old_setuptools_mends_is_tried_with_it_once(tool: str, tmp_path: Path) -> None:
    runner = FailingAtFirst(FEATURE)
    builder = (
        PipBuilder(python="python", runner=runner, env={}, pins={})  # type: ignore[arg-type]
        if tool == "pip"
        else UvBuilder("uv", python="python", runner=runner, env={}, pins={})  # type: ignore[arg-type]
    )
    with pytest.raises(RestoreError, match=f"building a wheel of `markupsafe==1.0` with {tool} failed"):
        builder.build(["markupsafe==1.0 --hash=sha256:0"], hashed=True, directory=str(tmp_path))
    assert runner.told == ["", "setuptools<46\n"]
