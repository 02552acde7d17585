from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.formats.script_parameters import Computed, Origin, ScriptParameter, list_flags, parse_script_parameters

OWN_READING = "it reads `sys.argv` itself: what it takes from there cannot be known"


def parse_one(source: str) -> ScriptParameter:
    (parameter,) = parse_script_parameters(source).parameters
    return parameter


@pytest.mark.parametrize(
    ("source", "type_", "default", "required"),
    [
        ("import repro\nrepro.param('a', 0.5)", "numeric", 0.5, False),
        ("import repro\nrepro.param('a', -3)", "integer", -3, False),
        ("import repro as r\nr.param(name='a', type=int)", "integer", None, True),
        ("from repro import param as p\np('a', 'x', description='d')", "string", "x", False),
        ("import repro\nrepro.param('a', True)", "bool", True, False),
        ("import repro\nrepro.param('a', type='colour')", "colour", None, True),
        ("import repro\nN = 3\nrepro.param('a', N)", "integer", 3, False),
        ("import repro\nN = 3\nN = 4\nrepro.param('a', N)", None, Computed(source="N"), False),
        ("import repro\nfor N in range(3): repro.param('a', N)", None, Computed(source="N"), False),
        ("import repro\nrepro.param('a', len('x'))", None, Computed(source="len('x')"), False),
        ("import repro\nrepro.param('a', 1e999)", None, Computed(source="1e309"), False),
    ],
)
def test_a_call_of_param_is_read(source: str, type_: str | None, default: object, required: bool) -> None:
    found = parse_one(source)
    assert (found.name, found.origin, found.spellings) == ("a", Origin.REPRO, ("--a",))
    assert (found.type, found.default, found.required) == (type_, default, required)


@pytest.mark.parametrize(
    ("call", "name", "type_", "default", "required"),
    [
        ("'--lr', '-l', type=float, default=0.1", "lr", "float", 0.1, False),
        ("'-l', '--l1-ratio', required=True", "l1_ratio", "str", None, True),
        ("'--lr', dest='rate'", "rate", "str", None, False),
        ("'file'", "file", "str", None, True),
        ("'file', nargs='?', default='a.csv'", "file", "str", "a.csv", False),
        ("'-v', action='store_true'", "v", "flag", False, False),
        ("'--fast', action=argparse.BooleanOptionalAction", "fast", "flag", None, False),
        ("'--at', type=lambda x: x", "at", "lambda x: x", None, False),
        ("'--at', type=pathlib.Path", "at", "pathlib.Path", None, False),
        ("'--at', default=b'bytes'", "at", "str", Computed(source="b'bytes'"), False),
        ("'--at', default=[1, [2]]", "at", "str", Computed(source="[1, [2]]"), False),
        ("'--at', default=(1, 2)", "at", "str", [1, 2], False),
    ],
)
def test_an_argument_of_argparse_is_read(call: str, name: str, type_: str, default: object, required: bool) -> None:
    found = parse_one(f"import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument({call})")
    assert (found.name, found.type, found.default, found.required) == (name, type_, default, required)


@pytest.mark.parametrize(
    ("call", "name", "spellings", "type_", "required"),
    [
        ("click.option('--rate', default=0.5)", "rate", ("--rate",), "float", False),
        ("click.option('--n', 'number', type=click.INT, required=True)", "number", ("--n",), "int", True),
        ("click.option('--shout/--no-shout')", "shout", ("--shout", "--no-shout"), "flag", False),
        ("click.option('-v', count=True)", "v", ("-v",), "flag", False),
        ("click.option('--size', type=click.Choice(['s', 'm']))", "size", ("--size",), "choice", False),
        ("click.argument('file')", "file", (), "str", True),
        ("click.argument('file', required=False)", "file", (), "str", False),
    ],
)
def test_an_option_of_click_is_read(
    call: str, name: str, spellings: tuple[str, ...], type_: str, required: bool
) -> None:
    found = parse_one(f"import click\n@click.command()\n@{call}\ndef run(): pass")
    assert (found.name, found.spellings, found.type, found.required) == (name, spellings, type_, required)
    assert found.choices == (["s", "m"] if type_ == "choice" else None)


@pytest.mark.parametrize(
    ("source", "line", "text"),
    [
        ("import sys\nprint(sys.argv[1])", 2, OWN_READING),
        ("from sys import argv\nprint(argv)", 2, OWN_READING),
        ("import typer", 1, "it uses `typer`, whose parameters are not read"),
        ("import repro\nrepro.param('a' + b)", 2, "the name of a parameter is computed: `repro.param('a' + b)`"),
        ("import repro\nrepro.param('a')", 2, "the parameter `a` has neither a default nor a type"),
        ("p.add_argument(*names)", 1, "the name of a parameter is computed: `p.add_argument(*names)`"),
        ("p.add_argument('--a', **more)", 1,
         "some of what is said of a parameter is computed: `p.add_argument('--a', **more)`"),
        ("p.add_subparsers()", 1, "it has subcommands: the parameters of all of them are listed together"),
        ("p.parse_known_args()", 1, "it accepts other options too (`parse_known_args`)"),
    ],
)  # fmt: skip
def test_what_cannot_be_known_is_said_with_its_line(source: str, line: int, text: str) -> None:
    assert [(each.line, each.text) for each in parse_script_parameters(source).remarks] == [(line, text)]


def test_calls_of_other_libraries_are_no_parameters() -> None:
    source = "import sys, mine\nmine.param('a', 1)\nparam('b', 2)\nmine.option('--c')\nsys.exit(0)"
    assert parse_script_parameters(source).parameters == ()
    assert parse_script_parameters(source).remarks == ()


def test_help_and_version_are_no_parameters() -> None:
    source = "p.add_argument('--version', action='version')\np.add_argument('-h', action='help')"
    assert parse_script_parameters(source).parameters == ()


def test_flags_are_told_from_options_with_a_value() -> None:
    accepted = parse_script_parameters("p.add_argument('-l', '--l1-ratio')\np.add_argument('--v', action='count')")
    assert list_flags(accepted) == {"l1_ratio": False, "v": True}


def test_what_is_not_python_is_said_with_its_line() -> None:
    with pytest.raises(ValueError, match=r"^line 2: "):
        parse_script_parameters("a = 1\nb = = 2")
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_script_parameters("a = " + "(" * 150 + "-" * 100_000 + "1" + ")" * 150)


NAMES = st.text("abcdefgh_", min_size=1, max_size=8)
DEFAULTS = st.one_of(st.integers(), st.booleans(), st.text(), st.floats(allow_nan=False, allow_infinity=False))


@given(st.lists(st.tuples(NAMES, DEFAULTS), max_size=5))
def test_any_literal_default_is_read_as_python_does(pairs: list[tuple[str, object]]) -> None:
    lines = ["import repro", *(f"repro.param({name!r}, {default!r})" for name, default in pairs)]
    found = parse_script_parameters("\n".join(lines)).parameters
    assert [(each.name, each.default) for each in found] == pairs
