"""What is guessed from imports, read from files alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import REPOSITORY

from repro.errors import ProjectError
from repro.projects.guess import guess_of_project, guess_of_scripts


def guess(root: Path, **files: str) -> dict[str, tuple[bool, bool]]:
    """Return the distributions guessed of `train`: whether each is well known, and whether certain."""
    for name, text in files.items():
        path = root / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return {each.distribution: (each.known, each.certain) for each in guess_of_scripts(root, [Path("train.py")])}


@pytest.mark.parametrize(
    ("source", "guessed"),
    [
        ("import os, repro\nfrom __future__ import annotations\nimport imp, tomllib, urllib2\n", {}),
        ("import numpy as np, sklearn.linear_model\n", {"numpy": (True, True), "scikit-learn": (True, True)}),
        ("from PIL import Image\nimport cv2, bs4, skimage, dateutil.parser\n", {
            "pillow": (True, True), "opencv-python": (True, True), "beautifulsoup4": (True, True),
            "scikit-image": (True, True), "python-dateutil": (True, True),
        }),
        ("def f():\n    import yaml\n", {"pyyaml": (True, False)}),
        ("def f():\n    import yaml\nimport yaml\n", {"pyyaml": (True, True)}),
        ("import My_Own\n", {"my-own": (False, True)}),
        ("from google.cloud import storage\nimport google.protobuf\n", {
            "google-cloud-storage": (False, True), "protobuf": (True, True),
        }),
        ("try:\n    import cupy\nexcept ImportError:\n    cupy = None\n", {}),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pandas\n", {}),
        ("import sys\nsys.path.append('lib')\nimport thing\n", {"thing": (False, False)}),
    ],
)  # fmt: skip
def test_an_import_means_the_distribution_that_is_known_for_it_else_that_of_its_name(
    source: str, guessed: dict[str, tuple[bool, bool]], tmp_path: Path
) -> None:
    assert guess(tmp_path, train=source) == guessed


def test_modules_that_may_be_imported_are_read_and_the_projects_own_are_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "pandas.db").touch()
    found = guess(
        tmp_path,
        train="import helpers, datasets.wine, xgboost\nfrom data import read\ndef f():\n    import late\n",
        helpers="import pandas\n",
        late="import scipy\n",
        data__read="import polars\n",
        datasets__wine="import tqdm\n",
        xgboost__example="import never\n",
        apart="import never\n",
    )
    assert sorted(found) == ["pandas", "polars", "scipy", "tqdm", "xgboost"]
    assert not found["scipy"][1]


def test_of_a_project_without_a_script_all_files_and_notebooks_are_read_and_nothing_is_certain() -> None:
    found = guess_of_project(REPOSITORY / "fixtures" / "projects" / "only_imports")
    assert [each.distribution for each in found] == ["beta", "gamma-ray", "nobody-has-this", "pyyaml", "scikit-learn"]
    assert not any(each.certain for each in found)
    assert str(found[0].place) == "explore.ipynb, line 1"


@pytest.mark.parametrize("source", ["print 'old'\n", "import\n"])
def test_a_script_that_is_no_python_says_so(source: str, tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"what `train.py` needs cannot be told from its imports: line 1: "):
        guess(tmp_path, train=source)
