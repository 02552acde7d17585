from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.errors import ProjectError
from repro.formats.mlproject import EntryPoint, Parameter, ParameterType, format_command, parse_mlproject


def parse_main(parameters: str) -> tuple[Parameter, ...]:
    text = f"entry_points:\n  main:\n    parameters: {parameters}\n    command: train\n"
    return parse_mlproject(text).entry_points[0].parameters


@pytest.mark.parametrize(
    ("text", "parameter"),
    [
        ("{a: float}", Parameter(name="a", type=ParameterType.FLOAT)),
        ("{a: {type: int, default: 3}}", Parameter(name="a", type=ParameterType.INT, default="3")),
        ("{a: {default: x}}", Parameter(name="a", default="x")),
        ("{a: {type: path, default: d.csv}}", Parameter(name="a", type=ParameterType.PATH, default="d.csv")),
        ("{a: {type: uri}}", Parameter(name="a", type=ParameterType.URI)),
        ("{a: {type: bool, default: true}}", Parameter(name="a", type=ParameterType.BOOL, default="true")),
        ('{a: {default: ""}}', Parameter(name="a", default="")),
    ],
)
def test_a_parameter_is_a_type_or_a_mapping(text: str, parameter: Parameter) -> None:
    assert parse_main(text) == (parameter,)


def test_names_environment_and_order_are_kept() -> None:
    project = parse_mlproject(
        "name: wine\npython_env: python_env.yaml\nunknown: ignored\n"
        "entry_points:\n  main: {command: a}\n  evaluate: {command: b}\n"
    )
    assert (project.name, project.python_env, project.conda_env) == ("wine", "python_env.yaml", None)
    assert [(each.name, each.command) for each in project.entry_points] == [("main", "a"), ("evaluate", "b")]


def test_all_faults_are_told_at_once_each_with_its_place() -> None:
    with pytest.raises(ProjectError) as caught:
        parse_mlproject(
            "python_env: p.yaml\nconda_env: c.yaml\n"
            "entry_points:\n"
            "  main: {parameters: {alpha: flaot, beta: {type: colour}}, command: train}\n"
            "  empty: {}\n"
        )
    assert caught.value.message == "`MLproject` cannot be used"
    assert caught.value.details == (
        "more than one environment is named: `python_env`, `conda_env`",
        "unknown type `flaot` in `entry_points.main.parameters.alpha`; did you mean `float`?",
        "unknown type `colour` in `entry_points.main.parameters.beta`; one of string, float, int, bool, path, uri",
        "no `command` in `entry_points.empty`",
    )


def make_entry(command: str, *names: str) -> EntryPoint:
    return EntryPoint(name="main", command=command, parameters=tuple(Parameter(name=name) for name in names))


@pytest.mark.parametrize(
    ("command", "declared", "values", "line"),
    [
        ("train {a}", ("a",), {"a": "1"}, "train 1"),
        ("train {a} {a}", ("a",), {"a": "x y"}, "train 'x y' 'x y'"),
        ("train", (), {"b": "$(id)", "a": ""}, "train --b '$(id)' --a ''"),
        ("train", ("a",), {"a": "1"}, "train"),
        ("echo {{a}} ${{HOME}}", (), {}, "echo {a} ${HOME}"),
        ("train", (), {"a; id": "1"}, "train '--a; id' 1"),
    ],
)
def test_a_command_holds_each_value_quoted_once(
    command: str, declared: tuple[str, ...], values: dict[str, str], line: str
) -> None:
    assert format_command(make_entry(command, *declared), values) == line


@pytest.mark.parametrize("command", ["train {a}", "train {}", "train {0}", "train {a", "train ${HOME}", "t {b.x} {b}"])
def test_a_place_without_a_value_is_an_error(command: str) -> None:
    with pytest.raises(ProjectError) as caught:
        format_command(make_entry(command, "a"), {"b": "1"})
    assert caught.value.message.startswith("the command of entry point `main` has a place that no parameter fills")


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",))))
def test_the_shell_gives_every_value_back_as_it_was(value: str) -> None:
    line = format_command(make_entry("train {a}", "a"), {"a": value, "b": value})
    assert shlex.split(line) == ["train", value, "--b", value]
