"""The code that goes along with a model."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from repro.errors import ModelError
from repro.models.code_files import copy_code, copy_loader


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model's directory that has a loader."""
    (tmp_path / "loader.py").write_text("def _load_pyfunc(path): ...\n")
    directory = tmp_path / "model"
    directory.mkdir()
    copy_loader(tmp_path / "loader.py", directory, "mine")
    return directory


def list_code(model: Path) -> list[str]:
    return sorted(str(each.relative_to(model / "code")) for each in (model / "code").rglob("*") if each.is_file())


def make_package(directory: Path) -> Path:
    (directory / "__pycache__").mkdir(parents=True)
    (directory / "__pycache__" / "a.pyc").write_bytes(b"")
    (directory / "deep").mkdir()
    (directory / "__init__.py").write_text("")
    (directory / "deep" / "data.csv").write_text("1")
    return directory


def test_a_loaders_name_says_its_content(model: Path, tmp_path: Path) -> None:
    first = copy_loader(tmp_path / "loader.py", model, "mine")
    assert copy_loader(tmp_path / "loader.py", model, "mine") == first
    (tmp_path / "loader.py").write_text("def _load_pyfunc(path): return path\n")
    assert copy_loader(tmp_path / "loader.py", model, "mine") != first


def test_files_and_directories_keep_their_names_and_leave_bytecode(model: Path, tmp_path: Path) -> None:
    package = make_package(tmp_path / "features")
    (tmp_path / "single.py").write_text("X = 1\n")
    (package / "alias.py").symlink_to("__init__.py")
    copy_code([package, str(tmp_path / "single.py")], model)
    assert list_code(model)[:-2] == ["features/__init__.py", "features/alias.py", "features/deep/data.csv"]
    assert list_code(model)[-1] == "single.py"
    assert not (model / "code" / "features" / "alias.py").is_symlink()


def test_a_link_that_leads_out_is_refused(model: Path, tmp_path: Path) -> None:
    package = make_package(tmp_path / "features")
    (tmp_path / "secret").write_text("x")
    (package / "config").symlink_to(tmp_path / "secret")
    with pytest.raises(ModelError, match="is a link that leads out of it"):
        copy_code([package], model)


@pytest.mark.parametrize(("target", "text"), [("nowhere", "leads nowhere"), (".", "leads back up"), ("..", "back up")])
def test_a_link_that_cannot_be_followed_is_refused(model: Path, tmp_path: Path, target: str, text: str) -> None:
    package = make_package(tmp_path / "features")
    (package / "deep" / "link").symlink_to(target)
    with pytest.raises(ModelError, match=text):
        copy_code([package], model)


def test_links_that_lead_into_each_other_are_refused(model: Path, tmp_path: Path) -> None:
    package = make_package(tmp_path / "features")
    (package / "other").mkdir()
    (package / "other" / "x").symlink_to("../deep")
    (package / "deep" / "y").symlink_to("../other")
    with pytest.raises(ModelError, match="leads back up"):
        copy_code([package], model)


def test_what_is_neither_file_nor_directory_is_refused(model: Path, tmp_path: Path) -> None:
    package = make_package(tmp_path / "features")
    os.mkfifo(package / "pipe")
    with pytest.raises(ModelError, match="neither a file nor a directory"):
        copy_code([package], model)


def test_a_path_that_is_not_there_is_refused(model: Path) -> None:
    with pytest.raises(ModelError, match=r"`absent\.py`, of `code_paths`, is not there"):
        copy_code(["absent.py"], model)


def test_one_path_is_not_taken_for_a_list_of_letters(model: Path) -> None:
    with pytest.raises(ModelError, match="is a list of paths"):
        copy_code("features", model)


def test_two_of_one_name_are_refused(model: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_package(tmp_path / name / "features")
    with pytest.raises(ModelError, match="names `features` twice"):
        copy_code([tmp_path / "a" / "features", tmp_path / "b" / "features"], model)


def test_the_directory_that_the_model_is_saved_in_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is where the model itself is saved"):
        copy_code([tmp_path], model)
