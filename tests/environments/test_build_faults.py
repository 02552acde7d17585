from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from repro.environments.installers.build_faults import find_build_constraint
from repro.environments.installers.pip import PipBuilder
from repro.environments.installers.uv import UvBuilder
from repro.errors import RestoreError
from repro.process import Finished

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
        PipBuilder(python="python", runner=runner, env={})  # type: ignore[arg-type]
        if tool == "pip"
        else UvBuilder("uv", python="python", runner=runner, env={})  # type: ignore[arg-type]
    )
    with pytest.raises(RestoreError, match=f"building a wheel of `markupsafe==1.0` with {tool} failed"):
        builder.build(["markupsafe==1.0 --hash=sha256:0"], hashed=True, directory=str(tmp_path))
    assert runner.told == ["", "setuptools<46\n"]
