from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.errors import ProjectError
from repro.formats.jsonc import append_items, parse_jsonc

COMMENTED = """\
// Tasks "of" ours, { and [
{
    "version": "2.0.0", /* a , ] } */
    "inputs": [{"id": "tasks", "tasks": [1]}],
    "tasks": [
        {"label": "build // not a comment", "args": ["a,]",],}, // the last
    ],
}
"""


def test_comments_and_trailing_commas_are_read_over() -> None:
    assert parse_jsonc(COMMENTED, where="x") == {
        "version": "2.0.0",
        "inputs": [{"id": "tasks", "tasks": [1]}],
        "tasks": [{"label": "build // not a comment", "args": ["a,]"]}],
    }
    assert parse_jsonc("// nothing\n", where="x") == {}


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "{ }\n", '{"tasks": []}', '{"tasks": [\n]}', '{"a": 1}', '{"a": 1,}',
        '{"a": {"tasks": [1]}, "b": "tasks"}', '{"tasks": [1 // one\n]}', '{"tasks": [1, // one\n] /* end */ }',
        '{"tasks": [{"a": 1}], "z": [2]}', COMMENTED, "// only a comment\n{ // and more\n}\n",
    ],
)  # fmt: skip
def test_items_are_added_and_all_else_stays(text: str) -> None:
    before = parse_jsonc(text, where="x")
    added = append_items(text, "tasks", [{"label": "ä"}, {"label": "b"}], where="x")
    listed = before.get("tasks", [])
    assert isinstance(listed, list)
    assert parse_jsonc(added, where="x") == {**before, "tasks": [*listed, {"label": "ä"}, {"label": "b"}]}
    assert [comment for comment in re.findall(r"//.*", text) if comment not in added] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": }', "`x` is not JSON: Expecting value, line 1, column 7"),
        ("[]", "`x` is not a JSON object"),
        ('{"tasks": {}}', "`tasks` in `x` is not a list"),
        ('{"a": ' + "[" * 100_000 + "}", "`x` is nested too deeply"),
        ("{ // open", "`x` is not JSON: "),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ProjectError) as caught:
        append_items(text, "tasks", [{}], where="x")
    assert caught.value.message.startswith(message)


VALUES = st.recursive(st.text() | st.integers() | st.none(), lambda inner: st.lists(inner, max_size=3), max_leaves=5)


@given(st.dictionaries(st.text(), VALUES, max_size=3), st.lists(VALUES, max_size=3), st.sampled_from([None, 2]))
def test_items_are_added_to_any_json(content: dict[str, object], tasks: list[object], indent: int | None) -> None:
    text = json.dumps({**content, "tasks": tasks}, indent=indent)
    assert parse_jsonc(text, where="x") == {**content, "tasks": tasks}
    added = append_items(text, "tasks", [{"label": "new"}], where="x")
    assert json.loads(added) == {**content, "tasks": [*tasks, {"label": "new"}]}
