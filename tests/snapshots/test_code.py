"""What a project's files import."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from repro.snapshots import code as module
from repro.snapshots.code import Code, scan_code


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "project"
    path.mkdir()
    return path


def write(root: Path, files: dict[str, str]) -> Code:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return scan_code(root)


def list_foreign(code: Code) -> list[str]:
    return [named.name for named in code.imports if not named.local]


def test_files_and_notebooks_are_read_with_the_places_of_each_import(root: Path) -> None:
    notebook = json.dumps({"cells": [{"cell_type": "code", "source": "import a"}]})
    code = write(root, {"train.py": "import os\nimport a\n", "pkg/x.py": "import a", "n.ipynb": notebook})
    assert code.files == 3
    places = {named.name: named.places for named in code.imports}
    assert places == {"a": ("n.ipynb:1", "train.py:2", "pkg/x.py:1"), "os": ("train.py:1",)}


@pytest.mark.parametrize(
    "place",
    [
        "venv/lib/x.py",
        ".hidden/x.py",
        "node_modules/x.py",
        "a/__pycache__/x.py",
        "mlruns/0/x.py",
        "x.egg-info/x.py",
        "build/lib/x.py",
        "setup.py",
    ],
)
def test_what_is_not_the_projects_own_code_is_left_out(place: str, root: Path) -> None:
    (root / "venv").mkdir()
    (root / "venv" / "pyvenv.cfg").touch()
    assert write(root, {place: "import a"}).imports == ()


def test_a_package_called_build_is_the_projects_own(root: Path) -> None:
    assert list_foreign(write(root, {"build/__init__.py": "import a"})) == ["a"]


@pytest.mark.parametrize(
    ("files", "foreign"),
    [
        ({"train.py": "import helper", "helper.py": ""}, []),
        ({"train.py": "import pkg.sub", "pkg/__init__.py": "", "pkg/sub.py": ""}, []),
        ({"train.py": "import pkg", "src/pkg/__init__.py": ""}, []),
        ({"train.py": "import one", "src/one.py": ""}, []),
        ({"tests/test_a.py": "import helper", "helper.py": ""}, []),
        ({"scripts/a/run.py": "import pkg", "code/pkg/__init__.py": ""}, []),
        ({"pkg/a.py": "import b", "pkg/b.py": "", "pkg/__init__.py": ""}, []),
        ({"train.py": "import fast", "fast.cpython-311-x86_64-linux-gnu.so": ""}, []),
        ({"train.py": "import project.x"}, []),
        ({"train.py": "import yaml", "pkg/__init__.py": "", "pkg/yaml.py": ""}, ["yaml"]),
        ({"train.py": "import yaml", "pkg/__init__.py": "", "pkg/yaml/__init__.py": ""}, ["yaml"]),
        ({"examples/torch/train.py": "import torch"}, ["torch"]),
    ],
)
def test_modules_and_packages_of_the_project_are_local(files: dict[str, str], foreign: list[str], root: Path) -> None:
    assert list_foreign(write(root, files)) == foreign


def test_a_plain_directory_is_marked_since_it_may_be_a_package(root: Path) -> None:
    code = write(root, {"train.py": "import ns.a\nimport other", "ns/a.py": ""})
    assert {named.name: named.directory for named in code.imports} == {"ns.a": True, "other": False}


def test_an_import_that_is_needed_at_one_place_is_needed(root: Path) -> None:
    code = write(root, {"a.py": "try:\n    import x\nexcept ImportError:\n    pass", "b.py": "import x"})
    assert [(named.name, named.optional) for named in code.imports] == [("x", False)]


def test_what_cannot_be_read_is_named_and_the_others_are_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 1000)
    os.symlink("nowhere", root / "broken.py")
    os.mkfifo(root / "pipe.py")
    (root / "circle").symlink_to(root)
    code = write(root, {"old.py": "import print\nprint 'a'", "huge.py": "import h\n" * 200, "good.py": "import a"})
    assert dict(code.unreadable).keys() == {"old.py", "huge.py"}
    assert dict(code.unreadable)["huge.py"] == "it is too large to be read"
    assert list_foreign(code) == ["a"]


@pytest.mark.parametrize(("bound", "value"), [("MAX_FILES", 3), ("MAX_TOTAL_BYTES", 20)])
def test_a_huge_project_is_read_in_part_and_that_is_said(
    bound: str, value: int, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, bound, value)
    code = write(root, {f"d{number}/a.py": "import a" for number in range(9)})
    assert code.files == 3
    assert code.notes == (f"only the first 3 Python files of `{root}` were read for their imports",)


def test_a_directory_without_code_imports_nothing(root: Path) -> None:
    assert scan_code(root) == Code(root=root, files=0, imports=())
