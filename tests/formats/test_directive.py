from __future__ import annotations

import ast
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.errors import ReproError, UsageError
from repro.formats.directive import Directive, find_directive


def find(text: str) -> Directive | None:
    return find_directive(text, where="a.py")


@pytest.mark.parametrize(
    ("line", "directive"),
    [
        ("# !source repro.run", Directive(line=1)),
        ("#!source repro.run()", Directive(line=1)),
        ("# !source repro.run(restore=True, alpha=0.5)",
         Directive(line=1, restore=True, parameters=(("alpha", "0.5"),))),
        ("# !source repro.run restore=True, alpha=1e-3",
         Directive(line=1, restore=True, parameters=(("alpha", "1e-3"),))),
        ("# !source repro.run, alpha=-2", Directive(line=1, parameters=(("alpha", "-2"),))),
        ("# !source repro.run(snapshot=False, observe=False, python='bin/python')",
         Directive(line=1, snapshot=False, observe=False, python="bin/python")),
        ("# !source repro.run(a='x, y=(1)', b=True, c=1_000, d=0x10)",
         Directive(line=1, parameters=(("a", "x, y=(1)"), ("b", "True"), ("c", "1000"), ("d", "16")))),
        ("# !source repro.run(parameters={'restore': 1, 'l1-ratio': 0.1})",
         Directive(line=1, parameters=(("restore", "1"), ("l1-ratio", "0.1")))),
        ("# !repro run", Directive(line=1)),
        ("# !repro run --restore -P 'alpha=a b' -P python=x --no-snapshot --no-observe --python p",
         Directive(line=1, restore=True, snapshot=False, observe=False, python="p",
                   parameters=(("alpha", "a b"), ("python", "x")))),
    ],
)  # fmt: skip
def test_a_comment_says_how_a_script_is_run(line: str, directive: Directive) -> None:
    assert find(f"{line}\nprint(1)\n") == directive
    assert find(f"{line}\r\nprint(1)\r\n") == directive


@pytest.mark.parametrize(
    "text",
    ["", "print(1)\n", "import a\n# !source repro.run\n", '"""A doc."""\n# !source repro.run\n',
     "# !sources repro.run\n", "# source repro.run\n", "x = '# !source repro.run'\n"],
)  # fmt: skip
def test_a_script_that_says_nothing_has_none(text: str) -> None:
    assert find(text) is None


def test_comments_and_empty_lines_may_stand_before_it() -> None:
    found = find("#!/usr/bin/env python3\n# -*- coding: utf-8 -*-\n\n# a comment\n   # !source repro.run\n")
    assert found == Directive(line=5)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("# !source", "a function is missing behind `!source`"),
        ("# !source mlflow::mlflow_run", "`mlflow::mlflow_run` is not known: `# !source repro.run`"),
        ("# !source os.system('rm')", "`os.system` is not known"),
        ("# !source repro.run(1)", "`(1)` are not arguments such as `restore=True, alpha=0.5`: each has a name"),
        ("# !source repro.run(a=1) + 2", "`(a=1) + 2` are not arguments such as"),
        ("# !source repro.run(a=1)(b=2)", "`(a=1)(b=2)` are not arguments such as"),
        ("# !source repro.run(a=", "`(a=` are not arguments such as"),
        ("# !source repro.run(a=open('x'))", "`a=open('x')` is not a literal, and nothing is evaluated"),
        ("# !source repro.run(**{'a': 1})", "`**` is not read"),
        ("# !source repro.run(a=[1])", "the parameter `a` must be a text, a number, True or False"),
        ("# !source repro.run(a=None)", "the parameter `a` must be a text, a number, True or False"),
        ("# !source repro.run(restore=1)", "`restore` must be true or false, and `1` is not"),
        ("# !source repro.run(python=3)", "`python` must be a path, and `3` is not"),
        ("# !source repro.run(entry_point='main')", "`entry_point` is not known here: it is this file that is run"),
        ("# !source repro.run(a=1, parameters={'a': 2})", "the parameter `a` is given twice"),
        ("# !source repro.run(parameters={1: 2})", "`1` is no name of a parameter"),
        ("# !source repro.run(a=1, a=2)", "the parameter `a` is given twice"),
        ("# !repro restore", "`!repro restore` is not known"),
        ("# !repro run -P alpha", "`-P alpha` is not `NAME=VALUE`"),
        ("# !repro run --timeout 3", "`--timeout` is not known here"),
        ("# !repro run 'open", "No closing quotation"),
    ],
)
def test_what_is_wrong_with_a_comment_is_said_with_its_place(line: str, fault: str) -> None:
    with pytest.raises(UsageError) as caught:
        find(f"\n{line}\n")
    (detail,) = caught.value.details
    assert detail.startswith("a.py:2: ")
    assert fault in detail


def write_header(*lines: str) -> str:
    return "".join(f"# {line}\n" for line in ("/// script", *lines, "///"))


@pytest.mark.parametrize(
    ("lines", "directive"),
    [
        (["[tool.repro]"], Directive(line=1)),
        (["dependencies = []"], None),
        (["[tool.uv]", "x = 1"], None),
        (["[tool.repro]", "run = false"], None),
        (["[tool.repro]", "run = true", "restore = true", "parameters = {alpha = 0.5, restore = 'x'}"],
         Directive(line=1, restore=True, parameters=(("alpha", "0.5"), ("restore", "x")))),
    ],
)  # fmt: skip
def test_a_table_in_the_header_says_how_a_script_is_run(lines: list[str], directive: Directive | None) -> None:
    assert find(write_header(*lines)) == directive


def test_all_faults_are_said_at_once() -> None:
    text = "# !source repro.run(a=b)\n" + write_header("[tool.repro]", "alpha = 1", "restore = 'yes'")
    with pytest.raises(UsageError) as caught:
        find(text)
    assert caught.value.details == (
        "a.py:1: `a=b` is not a literal, and nothing is evaluated",
        "a.py:2: [tool.repro]: `alpha` is not known: run, restore, snapshot, observe, python and parameters are",
        "a.py:2: [tool.repro]: `restore` must be true or false, and `yes` is not",
        "a.py:2: it says a second time how it is run, after line 1",
    )


def test_a_header_that_is_no_toml_is_said() -> None:
    with pytest.raises(ReproError, match=r"`a\.py` is not valid TOML"):
        find(write_header("[tool.repro"))
    with pytest.raises(UsageError, match="does not say rightly"):
        find(write_header("tool = 1"))


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused_in_a_sentence(rest: str) -> None:
    for start in ("# !source repro.run", "# !source repro.run(", "# !repro run ", "# !source "):
        with suppress(UsageError):
            find(start + rest)


@given(st.dictionaries(st.from_regex(r"\A[a-z]{1,5}\Z"), st.text(), max_size=4))
def test_every_text_arrives_as_it_was_written(values: dict[str, str]) -> None:
    found = find(f"# !source repro.run(parameters={values!r})\n")
    assert found
    assert dict(found.parameters) == values
    assert ast.literal_eval(repr(values)) == values
