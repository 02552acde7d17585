"""pyproject.toml and the headers of scripts."""

from __future__ import annotations

import pytest

from repro.errors import ProjectError, ReproError
from repro.formats.pyproject import parse_pyproject, parse_script

PROJECT = """\
[project]
name = "Mine"
requires-python = ">=3.9"
dependencies = ["six>1", "idna; python_version > '3'"]

[project.optional-dependencies]
plot = ["mine[Base_Line]", "attrs"]
base-line = ["pluggy"]

[dependency-groups]
dev = ["iniconfig", {include-group = "Test"}]
test = ["pytest", "six>1"]
"""


def test_dependencies_extras_and_groups_are_read() -> None:
    wanted = parse_pyproject(PROJECT, where="p.toml", extras=["plot"], groups=["dev"])
    assert wanted.faults == ()
    assert [(each.name, each.place.line) for each in wanted.required] == [
        ("six", 4), ("idna", 4), ("attrs", 7), ("pluggy", 8), ("iniconfig", 11), ("pytest", 12),
    ]  # fmt: skip
    assert [each.range for each in wanted.pythons] == [">=3.9"]
    assert [each.name for each in parse_pyproject(PROJECT, where="p.toml").required] == ["six", "idna"]


def test_the_files_that_setuptools_reads_are_followed() -> None:
    text = '[project]\nname = "x"\ndynamic = ["dependencies"]\n'
    setuptools = text + '[tool.setuptools.dynamic]\ndependencies = {file = ["requirements.in"]}\n'
    assert [each.path for each in parse_pyproject(setuptools, where="p.toml").includes] == ["requirements.in"]
    assert "only its build backend knows them" in parse_pyproject(text, where="p.toml").faults[0]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "p.toml: it has no `[project]` table"),
        ("[tool.poetry.dependencies]\na = '1'", "p.toml: it has no `[project]` table; poetry's own table is not read"),
        ("[project]\ndependencies = 'six'", "p.toml: `project.dependencies` is not a list of texts"),
        ("[project]\ndependencies = [\n 'a b']", "p.toml, line 3: `a b` is not a requirement"),
        ("[project]\ndependencies = ['x @ file:///x']", "p.toml, line 2: `file:///x` is a local path"),
        ("[project]\nrequires-python = 'three'", "p.toml, line 2: `three` is not a range of Python versions"),
        ("[project]\n[project.optional-dependencies]\nb = []", "p.toml: there is no extra `a`; it has `b`"),
        ("[project]\n[dependency-groups]\ng = [{include-group='g'}]", "include each other in a circle: g -> g"),
        ("[project]\n[dependency-groups]\ng = [{nonsense='g'}]", "p.toml: `dependency-groups.g` is not a list of"),
        ("[project]\n[dependency-groups]\nh = []", "p.toml: there is no dependency group `g`; it has `h`"),
        (
            "[project]\ndependencies=['a']\n[tool.uv.sources]\nA = {path='x'}",
            "`a` has a source of its own in `tool.uv.sources`, which is not read: lock it with `uv lock`",
        ),
    ],
)
def test_each_fault_is_named_with_its_place(text: str, fault: str) -> None:
    wanted = parse_pyproject(text, where="p.toml", extras=["a"], groups=["g"])
    assert any(fault in each for each in wanted.faults), wanted.faults


def test_the_header_of_a_script_is_read() -> None:
    header = "# /// script\n# requires-python = '>=3.11'\n# dependencies = [\n#   'six',\n# ]\n# ///\n"
    wanted = parse_script(f"#!/usr/bin/env python\n{header}print('hi')\n", where="train.py")
    assert [(each.name, each.place.line) for each in wanted.required] == [("six", 5)]
    assert [each.range for each in wanted.pythons] == [">=3.11"]


@pytest.mark.parametrize("text", ["print()", "# /// script\n# x = \n# ///\n", "# /// script\n# ///\n" * 2])
def test_a_script_without_a_header_that_can_be_read_is_refused(text: str) -> None:
    with pytest.raises(ReproError, match=r"`train\.py`"):
        parse_script(text, where="train.py")
    with pytest.raises(ProjectError, match="has no `# /// script` header"):
        parse_script("", where="train.py")
