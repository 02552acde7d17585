from __future__ import annotations

from pathlib import Path

import pytest

from repro.errors import UsageError
from repro.formats.mlproject import EntryPoint, Parameter, ParameterType
from repro.projects.assignments import parse_assignments, resolve_parameters
from repro.projects.parameters import param


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
    ],
)
def test_a_parameter_is_read_by_its_type(
    monkeypatch: pytest.MonkeyPatch, line: str, default: object, type_: object, value: object
) -> None:
    set_arguments(monkeypatch, line)
    found = param("my_x", default, type_)
    assert found == value
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


def test_an_assignment_may_hold_anything_behind_its_name() -> None:
    assert parse_assignments(["a=1", "b=", "c=x=y"]) == {"a": "1", "b": "", "c": "x=y"}


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["a"], "`-P a` is not `NAME=VALUE`"),
        (["=1"], "`-P =1` is not `NAME=VALUE`"),
        (["a=1", "a=2"], "the parameter `a` is given twice: `1` and `2`"),
    ],
)
def test_what_is_no_assignment_is_said(pairs: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_assignments(pairs)
    assert caught.value.message == message


def resolve(parameter: Parameter, given: dict[str, str], here: Path) -> dict[str, str]:
    entry = EntryPoint(name="main", command="train", parameters=(parameter,))
    return resolve_parameters(entry, given, project_dir=here / "project", cwd=here)


def test_defaults_fill_in_and_the_undeclared_follow(tmp_path: Path) -> None:
    values = resolve(Parameter(name="a", default="1"), {"z": "2", "b": "3"}, tmp_path)
    assert list(values.items()) == [("a", "1"), ("z", "2"), ("b", "3")]


def test_all_missing_parameters_are_named_at_once(tmp_path: Path) -> None:
    entry = EntryPoint(name="main", command="t", parameters=(Parameter(name="a"), Parameter(name="b")))
    with pytest.raises(UsageError) as caught:
        resolve_parameters(entry, {}, project_dir=tmp_path, cwd=tmp_path)
    assert caught.value.message == "the entry point `main` needs a value for `a`, `b`"
    assert caught.value.hint == "-P a=VALUE -P b=VALUE"


@pytest.mark.parametrize(
    ("type_", "good", "bad"),
    [
        (ParameterType.FLOAT, "1e-3", "notafloat"),
        (ParameterType.INT, "007", "1.0"),
        (ParameterType.INT, "-3", "1e3"),
        (ParameterType.BOOL, "Yes", "2"),
        (ParameterType.URI, "s3://bucket/x", "bucket/x"),
        (ParameterType.URI, "file:///x", "http://["),
    ],
)
def test_a_value_is_checked_by_type_and_kept_as_its_text(
    type_: ParameterType, good: str, bad: str, tmp_path: Path
) -> None:
    parameter = Parameter(name="a", type=type_)
    assert resolve(parameter, {"a": good}, tmp_path) == {"a": good}
    with pytest.raises(UsageError) as caught:
        resolve(parameter, {"a": bad}, tmp_path)
    assert caught.value.message == f"the parameter `a` must be of type {type_.value}, and `{bad}` is not"


def test_a_given_path_is_the_callers_and_a_default_the_projects(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "project"):
        directory.mkdir(exist_ok=True)
        (directory / "d.csv").touch()
    parameter = Parameter(name="data", type=ParameterType.PATH, default="d.csv")
    assert resolve(parameter, {}, tmp_path) == {"data": str(tmp_path / "project" / "d.csv")}
    assert resolve(parameter, {"data": "d.csv"}, tmp_path) == {"data": str(tmp_path / "d.csv")}
    with pytest.raises(UsageError) as caught:
        resolve(parameter, {"data": "gone"}, tmp_path)
    assert caught.value.message == f"the parameter `data` is a path, and there is no `{tmp_path / 'gone'}`"
