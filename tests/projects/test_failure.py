from __future__ import annotations

from pathlib import Path

import pytest

from repro.projects.failure import find_failure, parse_failure

NO_ZOO = "Error in library(zoo) : there is no package called \N{LEFT SINGLE QUOTATION MARK}zoo'"
TRACEBACK = 'Traceback (most recent call last):\n  File "train.py", line 2, in <module>\n'


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (f"{TRACEBACK}ValueError: bad\n", "ValueError: bad"),
        (f"{TRACEBACK}KeyError\nlater\n", "KeyError"),
        (f"{TRACEBACK}Exception: Java is gone\r\n", "Exception: Java is gone"),
        (f"{TRACEBACK}ValueError: one\n{TRACEBACK}pack.own.PackException: two\n", "pack.own.PackException: two"),
        (f"{NO_ZOO}\nExecution halted\n", NO_ZOO),
        ("Usage: train.py\n\nError: No such option: --model_name\n", "Error: No such option: --model_name"),
        ("bash: line 1: java: command not found\n", "bash: line 1: java: command not found"),
        ("HTTPError: https://me:secret@example.org/x?token=1 is gone\n", "HTTPError: https://example.org/x is gone"),
        ("usage: a.py [-h] --x X\na.py: error: the following arguments are required: --x\n",
         "a.py: error: the following arguments are required: --x"),
        ("/env/bin/python: can't open file '/p/main.py': [Errno 2] No such file or directory\n",
         "can't open file '/p/main.py': [Errno 2] No such file or directory"),
        ("Fatal error: cannot open file 'train.R': No such file or directory\n",
         "Fatal error: cannot open file 'train.R': No such file or directory"),
        ("bash: line 1: ./run.sh: Permission denied\n", "bash: line 1: ./run.sh: Permission denied"),
        ("epoch 1\nValidationError rate 0.3\n", None),
        ("", None),
    ],
)  # fmt: skip
def test_the_last_error_that_was_written_is_why(text: str, fault: str | None) -> None:
    found = parse_failure(text)
    assert (found.fault if found else None) == fault


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("ModuleNotFoundError: No module named 'sklearn.svm'\n", "`--restore --with scikit-learn`"),
        ("ModuleNotFoundError: No module named 'own_thing'\n", "`--restore --with DISTRIBUTION-WITH-own_thing`"),
        (f"{NO_ZOO}\n", "install the R package `zoo`"),
        ("python: can't open file '/p/main.py': [Errno 2] No such file or directory\n", "the project does not have"),
        ("TypeError: Descriptors cannot not be created directly.\n", "'protobuf<3.21'"),
        ("Max retries exceeded\nNameError: name 'data' is not defined\n", "does not answer (`Max retries exceeded`)"),
    ],
)
def test_what_mends_a_known_error_is_said(text: str, hint: str) -> None:
    found = parse_failure(text)
    assert found is not None
    assert hint in (found.hint or "")


def test_an_unknown_error_has_no_hint_and_a_long_one_is_cut() -> None:
    found = parse_failure(f"ValueError: {'x' * 1000}\n")
    assert found is not None
    assert (found.hint, len(found.fault), found.fault[-1]) == (None, 401, "…")


def test_only_the_end_of_what_was_written_is_read(tmp_path: Path) -> None:
    (tmp_path / "output.log").write_text("ValueError: early\n" + "x\n" * 100_000)
    assert find_failure(str(tmp_path / "output.log")) is None
    assert find_failure(str(tmp_path / "gone.log")) is None
