from __future__ import annotations

import subprocess
import sys

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from repro.errors import ProjectError
from repro.formats.fields import load_mapping
from repro.formats.flat_yaml import format_flat, parse_flat

KEYS = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
VALUES = st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(
    ["0", "1e5", "12_000", "0x1f", "~", "yes", "No", "null", "1:30", "2020-01-01", "- a", "a: b", "a #b", "a\nb", "'",
     "", " a", "a ", '"', ".5", ".inf", "=", "<<", "file:///a/b%20c", "é", "🙂", "a'b", "!x", "&a", "*a", "%a", "@a"
     "`a`", "{a}", "[]"]
)  # fmt: skip


@given(st.dictionaries(KEYS, VALUES, min_size=1))
@example({"a": 10**30})
@example({"no": "a"})
def test_what_is_written_means_the_same_to_yaml_and_to_us(mapping: dict[str, object]) -> None:
    text = format_flat(mapping)
    assert yaml.safe_load(text) == mapping
    assert parse_flat(text, where="x") == mapping


@given(st.dictionaries(KEYS, VALUES, min_size=1))
def test_what_yaml_writes_reads_back(mapping: dict[str, object]) -> None:
    text = yaml.safe_dump(mapping, allow_unicode=True)
    assert parse_flat(text, where="x") == yaml.safe_load(text)


@given(st.text(st.sampled_from("ab01-.:'\"#~!&*[]{}|>_ \n"), max_size=30))
def test_a_text_of_any_kind_is_read_as_yaml_is_read(tail: str) -> None:
    text = f"a: {tail}"
    try:
        expected = load_mapping(text, where="x")
    except ProjectError:
        with pytest.raises(ProjectError):
            parse_flat(text, where="x")
        return
    assert parse_flat(text, where="x") == expected


def test_a_flat_mapping_needs_no_yaml() -> None:
    code = (
        "import sys\nfrom repro.formats.flat_yaml import *\n"
        "text = format_flat({'a': 1, 'b': 'file:///x y', 'c': None, 'd': [], 'e': '0af'})\n"
        "assert parse_flat(text, where='x') == {'a': 1, 'b': 'file:///x y', 'c': None, 'd': [], 'e': '0af'}\n"
        "assert 'yaml' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
