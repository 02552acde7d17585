"""A function and just the data it needs: what it would drag along is refused by name, and its sizes are shown."""

from __future__ import annotations

import json as parser
import re
import subprocess
from functools import partial
from pathlib import Path

import pytest
from conftest import REPOSITORY, TestEnvironment

import repro

FACTOR = 3


def refuse(function: object, **data: object) -> repro.ReproError:
    with pytest.raises(repro.ReproError) as caught:
        repro.crate(function, **data)
    return caught.value


def test_a_global_is_refused_by_name_with_what_gives_it() -> None:
    error = refuse(lambda x: x * FACTOR)
    assert error.message == "the lambda takes from outside what it was not given: `FACTOR`"
    assert error.details == ("`FACTOR` is a int outside of it: give it, `FACTOR=FACTOR`",)


def test_a_module_is_to_be_imported_inside() -> None:
    def load(text: str) -> object:
        return parser.loads(text)

    error = refuse(load)
    assert error.message == "the function `load` takes from outside what it was not given: `parser`"
    assert error.details == (
        "`parser` is a module: import it inside, `import json as parser`, or give it, `parser=parser`",
    )


def test_what_a_closure_holds_and_what_is_not_there_are_refused_together() -> None:
    model = {"weight": 2}

    def predict(x: int) -> int:
        return model["weight"] * x + sum(absent for _ in range(x))  # type: ignore[name-defined] # noqa: F821

    error = refuse(predict)
    assert error.details == (
        "`model` is a dict outside of it: give it, `model=model`",
        "`absent` is not defined",
    )


def test_names_of_an_inner_function_and_of_a_class_inside_count() -> None:
    def outer(x: int) -> object:
        def inner() -> int:
            return FACTOR * x

        class Inside:
            value = len([refuse])

        return inner(), Inside

    assert "`FACTOR`, `refuse`" in refuse(outer).message


def test_data_of_no_use_are_refused_by_name() -> None:
    error = refuse(lambda x: x * FACTOR, FACTOR=3, factor=2, model=None)
    assert error.message == "the lambda does not use what it was given: `factor`, `model`"


@pytest.mark.parametrize("thing", [5, print, int, partial(print, 1), "text", None])
def test_what_is_no_function_is_refused(thing: object) -> None:
    error = refuse(thing)
    assert re.match(r"a crate is made of a function, and a \w+ is none", error.message)
    assert error.hint


def test_another_value_is_no_crate() -> None:
    assert not repro.is_crate(len)
    assert not repro.is_crate(None)


SCRIPT = """
import sys; sys.path.insert(0, sys.argv[1])
import pickle
import numpy as np
import repro

model, unused = {"weights": np.ones(1000)}, np.ones(100000)
rate = 5

def scale(x):
    return x * factor

def total(x, *, times=2):
    "Say how much."
    import math
    def again(y):
        return y if y <= 0 else again(y - 1)
    return math.fsum(model["weights"][:x]) * times + scale(x) + again(x) + (total(x - 1) if x > 2 else 0)

crated = repro.crate(total, model=model, scale=scale, factor=10)
assert repro.is_crate(crated) and crated.__doc__ == "Say how much." and crated.name == "total"
assert crated(2) == 24.0 and crated(3) == 60.0, (crated(2), crated(3))
factor = 99                                  # what changes outside changes nothing in it
assert crated(2) == 24.0
try:
    repro.crate(total, model=model, scale=scale)
except repro.ReproError as error:
    print(error)
open("crate.pkl", "wb").write(crated.dump())
print(repr(crated))
print(repr(repro.crate(lambda x: x)))
try:
    repr(repro.crate(lambda x: handle, handle=(i for i in ())))
except repro.ReproError as error:
    print(error)
sys.modules["cloudpickle"] = None
try:
    repro.crate(lambda x: x)
except repro.ReproError as error:
    print(error)
"""

READ = """
import pickle, sys
function = pickle.load(open("crate.pkl", "rb"))
assert function(2) == 24.0 and function(2, times=1) == 22.0
assert not any(name.partition(".")[0] == "repro" for name in sys.modules)
"""


@pytest.mark.index
def test_a_crate_is_called_measured_and_read_where_repro_is_not(science: TestEnvironment, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [science.python, "script.py", str(REPOSITORY)], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == [
        "the function `scale` of the crate takes from outside what it was not given: `factor`",
        "  `factor` is a int outside of it: give it, `factor=factor`",
    ]
    whole, function, *data = lines[2:7]
    assert re.fullmatch(r"<crate \d+(\.\d+)? kB", whole)
    assert re.fullmatch(r"\* function total: \d+(\.\d+)? k?B", function)
    assert [line.split(":")[0] for line in data] == ["* model", "* scale", "* factor"]
    assert "8." in data[0]
    assert data[0].endswith("kB")
    assert lines[7].startswith("<crate ")
    assert lines[8].startswith("* function <lambda>: ")
    assert lines[9:] == [
        "the crate of `<lambda>` cannot be pickled: cannot pickle 'generator' object",
        "a crate needs cloudpickle, which is not installed",
        "hint: pip install cloudpickle",
    ]
    assert (tmp_path / "crate.pkl").stat().st_size < 12_000
    subprocess.run([science.python, "-c", READ], cwd=tmp_path, check=True)
