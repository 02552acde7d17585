from __future__ import annotations

import math
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from repro.errors import UsageError
from repro.projects.parameters import param


class Ratio(float):
    """A float of another class, as numpy's are."""


def set_arguments(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.setattr("sys.argv", ["train.py", *line.split()])


@pytest.mark.parametrize(
    ("line", "default", "type_", "value"),
    [
        ("", 0.5, None, 0.5),
        ("--my_x 3", 0.5, None, 3.0),
        ("--my-x=3", 0.5, None, 3.0),
        ("--args --my_x 3", 1, None, 3),
        ("--my_x -3", 1, None, -3),
        ("--my_x 1e3", None, "numeric", 1000.0),
        ("--my_x 007", None, "string", "007"),
        ("--my_x no", "a", None, "no"),
        ("--my_x no", True, None, False),
        ("--my_x YES", None, bool, True),
        ("--my_x=", "a", None, ""),
        ("--other --my_x 3", None, int, 3),
        ("--my_x 1 --my_x 2", None, "int", 2),
        ("", 10.0, "integer", 10),
        ("--other", 1, None, 1),
        ("--my_x --dashes", "a", None, "--dashes"),
        ("my_x 3", 1, None, 1),
        ("", "7", int, 7),
        ("", 5, str, "5"),
        ("", Ratio(2), None, 2.0),
        ("--my_x 1", False, "bool", True),
        ("--my_x nan", "inf", float, math.nan),
    ],
)
def test_a_parameter_is_read_by_its_type(
    monkeypatch: pytest.MonkeyPatch, line: str, default: object, type_: object, value: Any
) -> None:
    set_arguments(monkeypatch, line)
    found = param("my_x", default, type_)
    assert found == value or (math.isnan(found) and math.isnan(value))
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("line", "default", "type_", "message"),
    [
        ("", None, None, "the parameter `x` has neither a default nor a type"),
        ("", None, "int", "the parameter `x` needs a value"),
        ("", 1, "colour", "the parameter `x` has the unknown type `colour`"),
        ("", "a", "integer", "the default of parameter `x` must be of type integer, and `a` is not"),
        ("", 1.5, "integer", "the default of parameter `x` must be of type integer, and `1.5` is not"),
        ("--x a", 1, None, "the value of parameter `x` must be of type integer, and `a` is not"),
        ("--x 10.0", 1, None, "the value of parameter `x` must be of type integer, and `10.0` is not"),
        ("--x 1e3", 1, None, "the value of parameter `x` must be of type integer, and `1e3` is not"),
        ("--x a", 0.5, None, "the value of parameter `x` must be of type numeric, and `a` is not"),
        ("--x 1_0", 1, None, "the value of parameter `x` must be of type integer, and `1_0` is not"),
        ("--x 1_0", 0.5, None, "the value of parameter `x` must be of type numeric, and `1_0` is not"),
        ("--x 5", True, "numeric", "the default of parameter `x` must be of type numeric, and `True` is not"),
        ("", [1], None, "the parameter `x` has the unknown type `list`"),
        ("", 1, [int], "the parameter `x` has the unknown type `[<class 'int'>]`"),
        ("--x 2", True, None, "the value of parameter `x` must be of type bool, and `2` is not"),
        ("--x", 1, None, "the parameter `x` has no value behind `--x`"),
    ],
)
def test_what_is_wrong_with_a_parameter_is_said(
    monkeypatch: pytest.MonkeyPatch, line: str, default: object, type_: object, message: str
) -> None:
    set_arguments(monkeypatch, line)
    with pytest.raises(UsageError) as caught:
        param("x", default, type_)
    assert caught.value.message == message


def test_a_leading_args_is_no_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    set_arguments(monkeypatch, "--args --x 3")
    assert param("args", "none") == "none"
    set_arguments(monkeypatch, "--args --args 3")
    assert param("args", "none") == "3"


def test_the_default_is_checked_though_a_value_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    set_arguments(monkeypatch, "--x 3")
    with pytest.raises(UsageError, match="the default of parameter `x`"):
        param("x", "a", "integer")


def test_parameters_are_read_with_the_standard_library_only() -> None:
    code = "import sys, repro.projects.parameters; print({'yaml', 'packaging', 'filelock', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"


def test_the_params_example_logs_what_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: dict[str, object] = {}
    script = Path(__file__).parents[2] / "fixtures" / "projects" / "params" / "params_example.py"
    set_arguments(monkeypatch, "--my_int 10 --my_num 20.0 --my_str XYZ")
    repro = SimpleNamespace(param=param, log_param=logged.__setitem__)
    monkeypatch.setitem(sys.modules, "repro", repro)
    runpy.run_path(str(script))
    assert logged == {"param_int": 10, "param_num": 20.0, "param_str": "XYZ"}
