from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from repro.errors import ProjectError, UsageError
from repro.formats.mlproject import format_command
from repro.projects.project import open_project

MLPROJECT = "name: wine\nentry_points:\n  main: {command: train}\n  evaluate: {command: test}\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "my project"
    path.mkdir()
    return path


@pytest.mark.parametrize("name", ["MLproject", "mlproject", "MLPROJECT"])
def test_the_file_has_its_name_in_any_case(root: Path, name: str) -> None:
    (root / name).write_text(MLPROJECT)
    project = open_project(root)
    assert project.name == "wine"
    assert project.get_entry_point(None).command == "train"


def test_a_file_of_a_longer_name_is_not_the_projects(root: Path) -> None:
    (root / "MLproject.bak").write_text(MLPROJECT)
    project = open_project(root)
    assert (project.name, project.mlproject, project.root) == ("my project", None, root)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("train.py", ["python", "train.py"]),
        ("a b.py", ["python", "a b.py"]),
        ("{x}.py", ["python", "{x}.py"]),
        ("sub/go.sh", ["zsh", "sub/go.sh"]),
        ("-c.py", ["python", "./-c.py"]),
        ("train.R", ["Rscript", "train.R"]),
        ("-e.r", ["Rscript", "./-e.r"]),
    ],
)
def test_a_script_is_an_entry_point(root: Path, name: str, words: list[str]) -> None:
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).touch()
    entry = open_project(root).get_entry_point(name, shell="zsh")
    assert shlex.split(format_command(entry, {"a": "1"})) == [*words, "--a", "1"]


def test_a_declared_entry_point_wins_over_a_script(root: Path) -> None:
    (root / "MLproject").write_text("entry_points:\n  train.py: {command: declared}\n")
    (root / "train.py").touch()
    assert open_project(root).get_entry_point("train.py").command == "declared"


def test_an_unknown_entry_point_is_told_with_those_there_are(root: Path) -> None:
    (root / "MLproject").write_text(MLPROJECT)
    (root / "train.py").touch()
    with pytest.raises(UsageError) as caught:
        open_project(root).get_entry_point("evalute")
    assert caught.value.message == f"the project `{root}` has no entry point `evalute`"
    assert caught.value.details == ("declared: main, evaluate", "scripts (.py, .sh, .R): train.py")
    assert caught.value.hint == "did you mean `-e evaluate`?"


@pytest.mark.parametrize("name", ["../train.py", "sub/../../train.py", "/train.py"])
def test_a_script_outside_the_project_is_refused(root: Path, name: str) -> None:
    (root.parent / "train.py").touch()
    with pytest.raises(UsageError) as caught:
        open_project(root).get_entry_point(name)
    assert caught.value.message == f"the entry point `{name}` lies outside the project `{root}`"


def test_a_fault_of_the_file_names_the_file(root: Path) -> None:
    (root / "MLproject").write_text("entry_points: {main: {}}\n")
    with pytest.raises(ProjectError) as caught:
        open_project(root)
    assert caught.value.message == f"`{root / 'MLproject'}` cannot be used"
    assert caught.value.details == ("no `command` in `entry_points.main`, line 1",)


@pytest.mark.parametrize("name", ["loop.py", "gone.py", "train.jl", "folder.py", "x" * 300 + ".py"])
def test_what_is_no_script_is_no_entry_point(root: Path, name: str) -> None:
    (root / "loop.py").symlink_to("loop.py")
    (root / "train.jl").touch()
    (root / "folder.py").mkdir()
    with pytest.raises(UsageError) as caught:
        open_project(root).get_entry_point(name)
    assert caught.value.message == f"the project `{root}` has no entry point `{name}`"
    assert caught.value.details == ("declared: none", "scripts (.py, .sh, .R): none")


def test_a_link_out_of_the_project_is_refused(root: Path) -> None:
    (root.parent / "train.py").touch()
    (root / "train.py").symlink_to("../train.py")
    with pytest.raises(UsageError, match="lies outside the project"):
        open_project(root).get_entry_point("train.py")
