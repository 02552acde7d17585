from __future__ import annotations

import json
from pathlib import Path

from conftest import REPOSITORY, Cli


def test_parameters_are_shown_as_a_table(cli: Cli) -> None:
    done = cli("params", str(REPOSITORY / "fixtures" / "projects" / "params" / "params_example.py"))
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["NAME", "OPTION", "TYPE", "DEFAULT", "DESCRIPTION"],
        ["my_int", "--my_int", "integer", "1"],
        ["my_num", "--my_num", "numeric", "1.0"],
        ["my_str", "--my_str", "string", "abc"],
    ]
    assert done.stderr == ""


def test_nothing_of_the_script_is_run_and_what_is_computed_is_said(cli: Cli) -> None:
    Path("train.py").write_text(
        "import repro\nrepro.param('a', open('made', 'w').name, description='where')\nrepro.param('b' + 'c')\n"
    )
    done = cli("params", "train.py", "--json")
    assert not Path("made").exists()
    content = json.loads(done.stdout)
    assert content["parameters"] == [
        {"name": "a", "origin": "repro.param", "options": ["--a"], "type": None, "required": False, "flag": False,
         "default": None, "choices": None, "description": "where",
         "computed": {"default": "open('made', 'w').name"}, "line": 2},
    ]  # fmt: skip
    assert content["remarks"] == [{"line": 3, "text": "the name of a parameter is computed: `repro.param('b' + 'c')`"}]
    assert "(open('made', 'w').name)" in cli("params", "train.py").stdout


def test_a_file_that_cannot_be_read_is_refused_in_a_sentence(cli: Cli) -> None:
    Path("bad.py").write_text("a = = 1\n")
    Path("zero.py").write_bytes(b"\x00")
    Path("train.sh").touch()
    for name, message in {
        "bad.py": "`bad.py` is not Python that can be read: line 1: invalid syntax",
        "zero.py": "`zero.py` is not Python that can be read: ",
        "train.sh": "`train.sh` is not a Python script, and the parameters of no other are read",
        "gone.py": "`gone.py` cannot be read: No such file or directory",
    }.items():
        assert message in cli("params", name, code=2).stderr
