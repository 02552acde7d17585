from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repro.errors import ProjectError
from repro.formats.fields import load_mapping
from repro.formats.nested_yaml import parse_nested

_FIXTURES = Path(__file__).parents[2] / "fixtures"
PLAIN = """\
# a project
name: wine-quality

python_env: python_env.yaml
entry_points:
  main:
    parameters:
      alpha: {type: float, default: 0.5}
      depth: { type: int, default: 3 }
      # what it reads
      data:
        type: path
        default: "data/wine quality.csv"
      name: string
      other:
    command: "python train.py --alpha {alpha} --name {name}"
  check-it:
    command: python -m check {data} --x={y}
"""
KEYS = ["a", "b", "name", "entry_points", "type", "default", "no", "a-b", "1", "<<", "? a", "- a"]
VALUES = [
    "", "x", "0.5", "-3", "007", "1.", "1e3", "0x1f", "1_0", ".5", "-0.0", "10:20", "2001-01-01", "yes", "null", "~",
    "{type: float, default: 0.5}", "{type: no}", "{a: 1, a: 2}", "{ a: b }", "{a}", "{a: -1.5, b: 'x y', c: \"z\"}",
    "{a: yes, b: /c/d}", "{}", "[]", "[1]", "python train.py {a} --b={c}", "a # b", "a: b", "a:b", "'it''s'", "'a' b",
    '"a\\tb"', '"a\\qb"', '"a', "a ", " a", "&x a", "*x", "!str a", "| ", ">", "%a", "@a", "`a`", "a\tb", "é", "\u2028",
    "{a: b, }", "{a: 1.0.0}", "{a: b-}", "a{b}", "}", "{a: b} c", "--- a", "...", "a\x85b", "\ufeffa", "/a/b.c",
    "0.5 1", "007.5", "a  b",
]  # fmt: skip
LINES = st.one_of(
    st.builds(lambda indent, key, value: f"{' ' * indent}{key}: {value}", st.integers(0, 4), st.sampled_from(KEYS),
              st.sampled_from(VALUES) | st.text(max_size=4)),
    st.builds(lambda indent, key: f"{' ' * indent}{key}:", st.integers(0, 4), st.sampled_from(KEYS)),
    st.sampled_from(["", "  ", "# a", "  # b: c", "---", "...", "- a", "\ta: b", "a", "  a b"]),
)  # fmt: skip


def read(reader: object, text: str) -> object:
    try:
        return repr(reader(text, where="MLproject"))  # type: ignore[operator]
    except ProjectError as error:
        return error.message


@settings(max_examples=300)
@given(st.lists(LINES, max_size=6))
def test_what_is_read_is_what_yaml_reads(lines: list[str]) -> None:
    text = "\n".join(lines)
    assert read(parse_nested, text) == read(load_mapping, text)


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("below", ["", "\n  c: d", "\n d"])
def test_each_value_is_what_yaml_reads(value: str, below: str) -> None:
    text = f"a:\n  b: {value}{below}\n"
    assert read(parse_nested, text) == read(load_mapping, text)


def test_a_plain_file_needs_no_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = load_mapping(PLAIN, where="MLproject")
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert parse_nested(PLAIN, where="MLproject") == expected


@pytest.mark.parametrize("path", sorted(_FIXTURES.rglob("MLproject")), ids=str)
def test_the_fixtures_are_what_yaml_reads(path: Path) -> None:
    text = path.read_text()
    assert read(parse_nested, text) == read(load_mapping, text)
