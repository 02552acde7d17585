from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.errors import UsageError
from repro.formats.mlproject import EntryPoint
from repro.formats.script_parameters import parse_script_parameters
from repro.projects.script import drop_leading_args, find_script, format_run_command, read_words

SCRIPT = """\
import argparse, repro
repro.param("rate", 0.5)
parser = argparse.ArgumentParser()
parser.add_argument("--l1-ratio", type=float)
parser.add_argument("--dry-run", action="store_true")
"""


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("--rate 0.5", {"rate": "0.5"}),
        ("--rate=0.5", {"rate": "0.5"}),
        ("--rate -3", {"rate": "-3"}),
        ("--rate --odd", {"rate": "--odd"}),
        ("--rate 1 --rate 2", {"rate": "2"}),
        ("--l1-ratio 1e3", {"l1_ratio": "1e3"}),
        ("--dry-run data.csv", {"dry_run": "true"}),
        ("--dry-run --rate 1", {"dry_run": "true", "rate": "1"}),
        ("--other 007 no", {"other": "007"}),
        ("--other --rate 1", {"other": "true", "rate": "1"}),
        ("--other", {"other": "true"}),
        ("data.csv -x 3", {}),
        ("--rate 1 -- --other 2", {"rate": "1"}),
        ("--rate=", {"rate": ""}),
        ("--", {}),
        ("", {}),
    ],
)
def test_the_options_of_a_command_line_are_its_parameters(line: str, values: dict[str, str]) -> None:
    assert read_words(line.split(), parse_script_parameters(SCRIPT)) == values


def test_a_parameter_without_its_value_is_refused() -> None:
    with pytest.raises(UsageError, match="the parameter `rate` has no value behind `--rate`"):
        read_words(["--rate"], parse_script_parameters(SCRIPT))


def test_only_a_leading_args_is_dropped() -> None:
    assert drop_leading_args(["--args", "--args", "1"]) == ("--args", "1")
    assert drop_leading_args(["a", "--args"]) == ("a", "--args")


@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8"))))
def test_every_word_reaches_the_script_as_it_was_given(words: list[str]) -> None:
    entry = EntryPoint(name="{a}.py", command="python '{{a}}.py'")
    assert shlex.split(format_run_command(entry, {"kept": "not passed"}, words)) == ["python", "{a}.py", *words]


def test_a_script_below_the_directory_is_run_from_there(tmp_path: Path) -> None:
    here, other = tmp_path / "here", tmp_path / "other"
    for directory in (here / "sub", other):
        directory.mkdir(parents=True)
        (directory / "train.py").touch()
    below = find_script("sub/train.py", cwd=here)
    assert (below.project_dir, below.entry_point) == (here, "sub/train.py")
    elsewhere = find_script("../other/train.py", cwd=here)
    assert (elsewhere.project_dir, elsewhere.entry_point) == (other, "train.py")


def test_a_link_that_leads_out_of_the_directory_is_run_from_its_own(tmp_path: Path) -> None:
    (tmp_path / "train.py").touch()
    here = tmp_path / "here" / "sub"
    here.mkdir(parents=True)
    os.symlink(tmp_path, here / "out")
    assert find_script("out/train.py", cwd=here).project_dir == here / "out"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone.py", "there is no script `gone.py`"),
        ("folder.py", "there is no script `folder.py`"),
        ("data.csv", "`data.csv` is no script: .py, .sh, .R files are"),
    ],
)
def test_what_is_no_script_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "data.csv").touch()
    with pytest.raises(UsageError) as caught:
        find_script(name, cwd=tmp_path)
    assert caught.value.message == message
