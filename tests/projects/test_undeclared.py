from __future__ import annotations

from pathlib import Path

import pytest

from repro.projects.undeclared import find_undeclared

HERE = frozenset({"os", "sys", "numpy"})


def find(root: Path, **files: str) -> dict[str, bool]:
    """Return the modules that `train` and what it imports lack, and whether they are certain."""
    for name, text in files.items():
        path = root / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    found = find_undeclared(root, Path("train.py"), has=HERE.__contains__)
    return {each.module: each.certain for each in found}


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("import os, numpy.linalg\nfrom sys import argv\n", {}),
        ("import a.b\nfrom c import d\n", {"a": True, "c": True}),
        ("def f():\n    import a\n", {"a": False}),
        ("def f():\n    import a\nimport a\n", {"a": True}),
        ("try:\n    import a\nexcept ImportError:\n    a = None\n", {}),
        ("try:\n    import a\n    a.run()\nexcept Exception:\n    pass\n", {"a": False}),
        ("if x:\n    import a\n", {"a": False}),
        ("if __name__ == '__main__':\n    import a\n", {"a": True}),
        ("class A:\n    import a\n", {"a": True}),
        ("with open('x'):\n    import a\n", {"a": True}),
        ("import sys\nsys.path.append('x')\nimport a\n", {"a": False}),
        ("import repro\n", {}),
        ("this is no Python", {}),
    ],
)
def test_what_the_start_needs_is_told_from_what_may_be_needed(
    source: str, missing: dict[str, bool], tmp_path: Path
) -> None:
    assert find(tmp_path, train=source) == missing


def test_modules_of_the_project_are_followed_and_none_of_others(tmp_path: Path) -> None:
    found = find(
        tmp_path,
        train="import helpers\nfrom pack.part import x\n",
        helpers="import a\nif __name__ == '__main__':\n    import b\n",
        pack__part="import c\n",
        other="import d\n",
    )
    assert found == {"a": True, "b": False, "c": True}


def test_relative_imports_of_a_module_are_followed(tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    for name, text in {
        "train": "from . import plot\nfrom .deep.part import x\n",
        "plot": "import a\n",
        "deep/part": "from ..common import y\n",
        "common": "import b\ndef f():\n    from . import unused\n",
        "unused": "import c\n",
    }.items():
        path = tmp_path / "pack" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    found = find_undeclared(tmp_path, Path("pack/train.py"), has=HERE.__contains__)
    assert {each.module: (each.file, each.certain) for each in found} == {
        "a": ("pack/plot.py", True),
        "b": ("pack/common.py", True),
    }


def test_modules_that_import_each_other_come_to_an_end(tmp_path: Path) -> None:
    assert find(tmp_path, train="import one\n", one="import two, a\n", two="import one\n") == {"a": True}
