from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
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
        ("{a: {type: bool, default: no}}", Parameter(name="a", type=ParameterType.BOOL, default="false")),
        ("{a: {type: float, default: 0.5}}", Parameter(name="a", type=ParameterType.FLOAT, default="0.5")),
        ("{a: {type: float, default: 1e-05}}", Parameter(name="a", type=ParameterType.FLOAT, default="1e-05")),
        ("{a: {type: float, default: 1.0e-05}}", Parameter(name="a", type=ParameterType.FLOAT, default="1e-05")),
        ("{a: {default: null}}", Parameter(name="a")),
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
            "  main: {parameters: {alpha: 3, beta: {type: [colour]}}, command: train}\n"
            "  empty: {}\n"
        )
    assert caught.value.message == "`MLproject` cannot be used"
    assert caught.value.details == (
        "more than one environment is named: `python_env`, `conda_env`",
        "neither a type nor a mapping in `entry_points.main.parameters.alpha`, line 4",
        "not a single value in `entry_points.main.parameters.beta.type`, line 4",
        "no `command` in `entry_points.empty`, line 5",
    )


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("entry_points: [a]\n", "not a mapping in `entry_points`, line 1"),
        ("entry_points: {main: train}\n", "no `command` in `entry_points.main`, line 1"),
        ("entry_points: {main: {command: [train]}}\n", "no `command` in `entry_points.main`, line 1"),
        ("entry_points:\n  train.py:\n    parameters: {}\n", "no `command` in `entry_points.train.py`, line 2"),
        (
            "entry_points:\n  main:\n    command: t\n    parameters: [a]\n",
            "not a mapping in `entry_points.main.parameters`, line 4",
        ),
        (
            "entry_points:\n main:\n  command: t\n  parameters:\n   a:\n    type: int\n    default: [1]\n",
            "not a single value in `entry_points.main.parameters.a.default`, line 7",
        ),
        ("name: [x]\n", "not a single value in `name`, line 1"),
        ("conda_env: {x: 1}\n", "not a single value in `conda_env`, line 1"),
        ("docker_env: image\n", "not a mapping in `docker_env`, line 1"),
        ("docker_env: {volumes: []}\n", "no `image` in `docker_env`, line 1"),
        (
            "databricks_spark_job: {python_file: a.py}\n",
            "only Databricks runs what stands in `databricks_spark_job`, line 1",
        ),
    ],
)
def test_a_fault_is_told_with_its_place(text: str, detail: str) -> None:
    with pytest.raises(ProjectError) as caught:
        parse_mlproject(text)
    assert caught.value.details == (detail,)


@pytest.mark.parametrize(
    ("word", "type_"),
    [("str", "string"), ("integer", "int"), ("Number", "float"), ("double", "float"), ("boolean", "bool")],
)
def test_other_words_for_a_type_are_known(word: str, type_: str) -> None:
    assert parse_main(f"{{a: {word}}}") == (Parameter(name="a", type=ParameterType(type_)),)


@pytest.mark.parametrize(
    ("word", "advice"), [("flaot", "did you mean `float`?"), ("colour", "one of string, float, int, bool, path, uri")]
)
def test_an_unknown_type_checks_nothing_and_is_said(word: str, advice: str) -> None:
    project = parse_mlproject(f"entry_points:\n  main:\n    command: t\n    parameters:\n      a: {word}\n", where="M")
    assert project.entry_points[0].parameters == (Parameter(name="a"),)
    assert project.notes == (
        f"M: unknown type `{word}` in `entry_points.main.parameters.a`, line 5 is taken as string; {advice}",
    )


def test_a_docker_environment_is_its_image() -> None:
    assert parse_mlproject("docker_env: {image: wine, volumes: [a]}\n").docker_env == "wine"


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
        ("train '{a}' \"{a}\" {a}", ("a",), {"a": "x"}, "train 'x' \"x\" x"),
        ("train '{a}' \"{a}\" {a}", ("a",), {"a": ""}, "train '' \"\" ''"),
    ],
)
def test_a_command_holds_each_value_quoted_once(
    command: str, declared: tuple[str, ...], values: dict[str, str], line: str
) -> None:
    assert format_command(make_entry(command, *declared), values) == line


@pytest.mark.parametrize(
    ("command", "places"),
    [
        ("train {a}", "`{a}`"),
        ("train {a} {c} {a}", "`{a}`, `{c}`"),
        ("train {}", "`{}`"),
        ("train {0}", "`{0}`"),
        ("train ${HOME}", "`{HOME}`"),
        ("train {b.x} {b}", "`{b.x}`"),
        ("train {b[0]}", "`{b[0]}`"),
        ("train {b!r}", "`{b!r}`"),
        ("train {b:>9}", "`{b:>9}`"),
    ],
)
def test_a_place_without_a_value_is_an_error(command: str, places: str) -> None:
    with pytest.raises(ProjectError) as caught:
        format_command(make_entry(command, "a"), {"b": "x y"})
    assert caught.value.message == (
        f"the command of entry point `main` has a place that no parameter fills: {places} in `{command}`"
    )
    assert caught.value.hint == "declare it under `parameters`; a literal brace is written twice"


@pytest.mark.parametrize("command", ["train {a", "train }", "train {a:{b}"])
def test_a_single_brace_is_an_error(command: str) -> None:
    with pytest.raises(ProjectError) as caught:
        format_command(make_entry(command, "a"), {"a": "1"})
    assert caught.value.message == f"the command of entry point `main` has a brace that does not pair: `{command}`"


NASTY = st.sampled_from([
    "'", '"', " ", "\n", "\r", "\t", "\\", "$HOME", "$(id)", "`id`", "; rm", "&& id", "| cat", "*", "~", "!", "#",
    "{a}", "{{", "}", "%s", "-n", "--b", "ü", "日本", "🍷", "\u202e", "\x1b[31m", "",
])  # fmt: skip
ANY_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)))


@settings(deadline=None, max_examples=100)
@given(st.one_of(ANY_TEXT, st.lists(st.one_of(NASTY, ANY_TEXT), max_size=6).map("".join)))
def test_bash_gives_every_value_back_as_it_was(value: str) -> None:
    entry = make_entry(r"""printf '%s\0' {a} x{a}x "{a}" '{a}' "\"it's{a}" """, "a")
    done = subprocess.run(
        ["bash", "-c", format_command(entry, {"a": value, "b": value})], check=True, capture_output=True
    )
    assert done.stdout.decode().split("\0") == [
        value, f"x{value}x", value, value, f"\"it's{value}", "--b", value, "",
    ]  # fmt: skip
    assert done.stderr == b""
