"""python_env.yaml and conda.yaml, read and written."""

from __future__ import annotations

import pytest

from repro.errors import ProjectError
from repro.formats.conda_env import format_conda_env, parse_conda_env
from repro.formats.python_env import format_python_env, parse_python_env
from repro.formats.wanted import Wanted


def describe(wanted: Wanted) -> tuple[list[str], list[str | None]]:
    return [each.text for each in wanted.required], [each.version or each.range for each in wanted.pythons]


def test_a_python_env_is_read() -> None:
    text = 'python: "3.11.7"\nbuild_dependencies:\n- pip==24.0\ndependencies:\n- -r requirements.txt\n- six\n'
    wanted = parse_python_env(text, where="e.yaml")
    assert wanted.faults == ()
    assert describe(wanted) == (["pip==24.0", "six"], ["3.11.7"])
    assert [(each.path, each.place.line) for each in wanted.includes] == [("requirements.txt", 5)]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("python: 3.10\n", "e.yaml: YAML reads 3.10 as the number 3.1"),
        ("python: [3]\n", "e.yaml: not a single value in `python`"),
        ("python: latest\n", "e.yaml, line 1: `latest` is not a Python version"),
        ("dependencies: six\n", "e.yaml: `dependencies` is not a list of requirements"),
        ("dependencies:\n- six\n- 'a b'\n", "e.yaml, line 3: `a b` is not a requirement"),
        ('dependencies:\n- "six\\n--index-url https://example.org"\n', "has control characters"),
        ("name: x\n", "e.yaml: unknown key `name`; it may have python, build_dependencies, dependencies"),
    ],
)
def test_each_fault_of_a_python_env_is_named(text: str, fault: str) -> None:
    assert any(fault in each for each in parse_python_env(text, where="e.yaml").faults)


CONDA = """\
name: mlflow-env
channels:
- conda-forge
dependencies:
- python=3.11.7
- conda-forge::cudatoolkit=11.8
- libgcc
- pip<=23.2.1
- setuptools=68
- pip:
  - mlflow==2.0
  - -r requirements.txt
"""


def test_the_pip_part_of_a_conda_environment_is_read_and_the_rest_named() -> None:
    wanted = parse_conda_env(CONDA, where="c.yaml")
    assert wanted.faults == ()
    assert describe(wanted) == (["pip<=23.2.1", "setuptools==68", "mlflow==2.0"], ["3.11.7"])
    assert wanted.notes == (
        "c.yaml: packages of conda that no package index is known to have, left out: "
        "conda-forge::cudatoolkit=11.8, libgcc",
    )
    assert [each.path for each in wanted.includes] == ["requirements.txt"]


@pytest.mark.parametrize(
    ("python", "wish"),
    [("=3.11", "3.11"), ("==3.11.7", "3.11.7"), ("=3.11.*", "3.11"), ("=3.11.7=h1_0_cpython", "3.11.7"),
     (" >=3.10,<3.12", "<3.12,>=3.10"), ("", None)],
)  # fmt: skip
def test_the_python_of_a_conda_environment_is_read(python: str, wish: str | None) -> None:
    wanted = parse_conda_env(f"dependencies: ['python{python}']\n", where="c.yaml")
    assert wanted.faults == ()
    assert describe(wanted)[1] == ([wish] if wish else [])


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("dependencies: six\n", "c.yaml: `dependencies` is not a list"),
        ("dependencies: [{npm: [x]}]\n", "is neither a package of conda nor a `pip:` list"),
        ("dependencies: [3]\n", "`3` is neither a package"),
        ("dependencies: ['python=latest']\n", "`python=latest` is not a Python version"),
        ("dependencies:\n- pip:\n  - ./x\n", "c.yaml, line 3: `./x` is a local path"),
        ("nonsense: 1\n", "c.yaml: unknown key `nonsense`"),
    ],
)
def test_each_fault_of_a_conda_environment_is_named(text: str, fault: str) -> None:
    assert any(fault in each for each in parse_conda_env(text, where="c.yaml").faults)


def test_what_is_no_yaml_is_an_error_with_its_file() -> None:
    for parse in (parse_conda_env, parse_python_env):
        with pytest.raises(ProjectError, match=r"^`x.yaml`"):
            parse("a: [", where="x.yaml")


PINS = ("alpha==1.0", "mine @ git+https://example.org/m@0123", "pip==24.0")


def test_what_is_written_is_read_back() -> None:
    python_env = parse_python_env(format_python_env(python="3.11.7", pins=PINS), where="e.yaml")
    assert (python_env.faults, sorted(describe(python_env)[0])) == ((), sorted(PINS))
    conda = parse_conda_env(format_conda_env(python="3.11.7", pins=PINS), where="c.yaml")
    assert (conda.faults, sorted(describe(conda)[0])) == ((), sorted(PINS))
    assert describe(conda)[1] == describe(python_env)[1] == ["3.11.7"]


@pytest.mark.parametrize(
    ("package", "requirement"),
    [
        ("scikit-learn", "scikit-learn"),
        ("scikit-learn=0.19.1", "scikit-learn==0.19.1.*"),
        ("numpy=1.14", "numpy==1.14.*"),
        ("numpy==1.14.3", "numpy==1.14.3"),
        ("numpy=1.14.3=py36_0", "numpy==1.14.3"),
        ("numpy 1.14.*", "numpy==1.14.*"),
        ("numpy >=1.14,<2", "numpy<2,>=1.14"),
        ("conda-forge::pytorch=2.1", "torch==2.1.*"),
        ("tensorflow-mkl", "tensorflow"),
        ("category_encoders", "category-encoders"),
    ],
)
def test_a_package_that_an_index_has_too_is_taken_from_there(package: str, requirement: str) -> None:
    wanted = parse_conda_env(f"dependencies:\n- {package}\n", where="c.yaml")
    assert [each.text for each in wanted.required] == [requirement]
    assert wanted.required[0].place.line == 2
    assert wanted.notes == (f"c.yaml: packages of conda, taken from the package index instead: {package}",)


def test_a_version_that_only_conda_understands_is_left_out() -> None:
    wanted = parse_conda_env("dependencies: ['numpy=1.14|2.0']\n", where="c.yaml")
    assert wanted.required == ()
    assert "left out: numpy=1.14|2.0" in wanted.notes[0]
