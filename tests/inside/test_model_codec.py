"""What crosses between two Pythons: exactly, between real old and new libraries, and nothing that harms."""

from __future__ import annotations

import datetime
import json
import math
import os
import struct
import subprocess
import sys
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from conftest import REPOSITORY, TestEnvironment, make_once
from hypothesis import given
from hypothesis import strategies as st

from repro.inside.model_channel import pack_header, read_header, read_length
from repro.inside.model_codec import CannotHoldError, decode, encode

SCRIPT = REPOSITORY / "fixtures/model_values/values.py"
INSIDE = REPOSITORY / "repro/inside"
PYENV = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
AS_WHAT_THEY_HOLD = {"ordered", "defaults", "changing"}


@pytest.fixture(scope="module")
def old_tables() -> TestEnvironment:
    """The tables of 2022, under Python 3.8 where that is here."""
    pythons = sorted(PYENV.glob("3.8.*/bin/python"))
    python = str(pythons[-1]) if pythons else sys.executable
    return make_once("old-tables", "numpy==1.23.5", "pandas==1.5.3", "scipy==1.10.1", python=python)


@pytest.fixture
def back(tmp_path: Path) -> Path:
    """An empty directory for what is sent back."""
    path = tmp_path / "back"
    path.mkdir()
    return path


def ask(environment: TestEnvironment, *args: str | Path) -> dict[str, object]:
    command = [environment.python, "-W", "ignore", str(SCRIPT), str(INSIDE), *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    said: dict[str, object] = json.loads(done.stdout) or {}
    return said


def make_values(environment: TestEnvironment, directory: Path) -> Path:
    """Write every value as an environment sends it, and see that it reads the same."""
    said = ask(environment, "make", directory)
    assert said["checked"] == len(list(directory.iterdir())) > 70
    assert said["other"].keys() == AS_WHAT_THEY_HOLD, said["other"]
    return directory


@pytest.fixture(scope="module")
def new_values(science: TestEnvironment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every value as new libraries send it."""
    return make_values(science, tmp_path_factory.mktemp("new"))


@pytest.fixture(scope="module")
def old_values(old_tables: TestEnvironment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every value as old libraries send it."""
    return make_values(old_tables, tmp_path_factory.mktemp("old"))


FAR = "pandas here cannot hold what is of the dtype "
NOT_IN_NANOSECONDS = {
    "far": f"the column `far`: {FAR}`datetime64[us]`: Out of bounds nanosecond timestamp: 3000-01-01 00:00:00",
    "far_index": f"{FAR}`datetime64[s]`: Out of bounds nanosecond timestamp: 3000-01-01 00:00:00",
    "far_scalar": f"{FAR}`datetime64[us]`: Out of bounds nanosecond timestamp: 3000-01-01 00:00:00",
    "far_span": f"{FAR}`timedelta64[s]`: Cannot convert 9007199254740992 seconds to timedelta64[ns] without overflow",
    "far_span_scalar": f"{FAR}`timedelta64[s]`: 1099511627776 seconds",
    "far_zone": f"{FAR}`datetime64[s]`: Out of bounds nanosecond timestamp: 3000-01-01 00:00:00",
}
OF_NEW_LIBRARIES = {
    "narrow_index": "it is `int64`, not `int8`",
    "numpy_texts": "it is object(2,), not StringDType()(2,)",
    "str_categories": "it is `category`, not `category`",
    "str_columns": "it[0] is `object`, not `str`",
    "str_index": "it is `object`, not `str`",
    "str_names": "it's columns is `object`, not `str`",
    "unit_zone": "it is `datetime64[ns, UTC]`, not `datetime64[us, UTC]`",
    "units": "it[0] is `datetime64[ns]`, not `datetime64[s]`",
}


@pytest.mark.index
def test_values_of_new_libraries_come_back_exactly_from_old_ones(
    science: TestEnvironment, old_tables: TestEnvironment, new_values: Path, back: Path
) -> None:
    assert ask(old_tables, "echo", new_values, back) == NOT_IN_NANOSECONDS
    other = ask(science, "check", back)["other"]
    assert other.keys() - AS_WHAT_THEY_HOLD == OF_NEW_LIBRARIES.keys() | {"unit_scalars"}, other
    assert {name: other[name] for name in OF_NEW_LIBRARIES} == OF_NEW_LIBRARIES


@pytest.mark.index
def test_values_of_old_libraries_come_back_exactly_from_new_ones(
    science: TestEnvironment, old_tables: TestEnvironment, old_values: Path, back: Path
) -> None:
    refused = ask(science, "echo", old_values, back)
    assert refused == {"pytz_lmt": "`2020-01-01 00:00:00` in the time zone `Europe/Berlin` is another moment here"}
    other = ask(old_tables, "check", back)["other"]
    assert other.keys() - AS_WHAT_THEY_HOLD == {"pytz_moments", "scalars_of_pandas", "zones"}, other
    for name in ("pytz_moments", "scalars_of_pandas", "zones"):  # a UTC of another library is the same zone
        assert "pytz.UTC" in other[name], other


@pytest.mark.mlflow
def test_columns_of_arrow_cross_where_both_sides_have_it(
    mlflow: TestEnvironment, science: TestEnvironment, back: Path, tmp_path: Path
) -> None:
    sent = tmp_path / "sent"
    sent.mkdir()
    make_values(mlflow, sent)
    for path in sent.iterdir():
        if not path.name.startswith("arrow_"):
            path.unlink()
    names = {"arrow_columns", "arrow_chunks", "arrow_index", "arrow_empty"}
    assert {path.name for path in sent.iterdir()} == names
    assert ask(mlflow, "echo", sent, back) == {}
    assert not ask(mlflow, "check", back)["other"]
    why = "it is Arrow's, and pandas 1.5 with pyarrow is not there"
    refused = ask(science, "echo", sent, back)
    assert refused.keys() == names
    assert refused["arrow_columns"] == f"the column `whole`: {why}"
    said = ask(mlflow, "harm", "500")
    assert said["longest_error"] < 1000


REFUSED = {
    "set": "a value of the type `set` cannot cross",
    "in a list": "a value of the type `set` cannot cross",
    "namedtuple": "a value of the type `__main__.Pair` cannot cross",
    "IntEnum": "a value of the type `__main__.Level` cannot cross",
    "range": "a value of the type `range` cannot cross",
    "Decimal": "a value of the type `decimal.Decimal` cannot cross",
    "time": "a value of the type `datetime.time` cannot cross",
    "object": "a value of the type `type` cannot cross",
    "endless": "a value that holds others more than 100 deep cannot cross",
    "structured": (
        "a value of the type `numpy.ndarray` cannot cross: its dtype is `[('a', '<i4'), ('b', '<f8')]`"
    ),
    "void": "a value of the type `numpy.void` cannot cross",
    "masked array": "a value of the type `numpy.ma.MaskedArray` cannot cross",
    "matrix": "a value of the type `numpy.matrix` cannot cross",
    "dia": "a value of the type `scipy.sparse._dia.dia_matrix` cannot cross: convert it with `tocsr()`",
    "period": "the column `when`: values of the dtype `period[D]` cannot cross",
    "interval": "the column `span`: values of the dtype `interval[float64, right]` cannot cross",
    "sparse": "values of the dtype `Sparse[int64, 0]` cannot cross",
    "index": "the index: values of the dtype `period[D]` cannot cross",
    "names": "the columns' names: values of the dtype `interval[int64, right]` cannot cross",
    "Period": "a value of the type `pandas.Period` cannot cross",
    "in a column": "the column `o`: a value of the type `set` cannot cross",
    "zone": "a value of the type `dateutil.tz.tz.tzlocal` cannot cross: it is no time zone with a name",
}  # fmt: skip


@pytest.mark.index
def test_what_cannot_cross_is_refused_by_its_type_and_column(science: TestEnvironment) -> None:
    assert ask(science, "refuse") == REFUSED


@pytest.mark.index
def test_changed_trees_end_in_value_errors_and_ask_for_no_memory(
    science: TestEnvironment, old_tables: TestEnvironment
) -> None:
    for environment in (science, old_tables):
        said = ask(environment, "harm", "2000")
        assert 400 < said["read"] < 1600
        assert said["longest_error"] < 1000
        assert said["peak_mib"] < 400


# without numpy and pandas: here


def read(path: Path) -> object:
    content = memoryview(path.read_bytes())
    at = 8 + read_length(content[:8])
    header = read_header(content[8:at])
    buffers = []
    for each in header["buffers"]:
        buffers.append(content[at : at + each])
        at += each
    return decode(header["v"], buffers)


BERLIN = ZoneInfo("Europe/Berlin")
AS_LISTS = {
    "block": {"a": [0.0, 3.0], "b": [1.0, 4.0], "c": [2.0, 5.0]},
    "block_rows": {0: [0.0, 3.0], 1: [1.0, 4.0], 2: [2.0, 5.0]},
    "named_columns": {2000: [1], 2001: [2.5]},
    "no_rows": {"a": [], "b": [], "c": []},
    "twice_rows": {"a": [1, 2], "b": ["x", "y"]},
    "no_columns": {},
    "multi_unused": [(3, "b"), (1, "a")],
    "multi": {"a": [1, 2, 3]},
    "nullable": {
        "Int8": [1, None, 0], "UInt64": [1, None, 0], "Int64": [1, None, 0], "boolean": [True, None, False],
        "Float32": [1.0, None, 0.0], "Float64": [1.0, None, 0.0],
    },
    "nullable_texts": ["a", None, "ä", ""],
    "str_columns": {"a": ["x", None, "ä"], "b": [1, 2, 3]},
    "categories": [["b", None, "a"], [3, 1, 3], [1.5, None], [], [True, False], [2, 1, 2], ["u", "v"]],
    "units": {each: [datetime.datetime(2020, 1, 1, 1, 2, 3), None] for each in ("s", "ms", "us")},
    "far_zone": [datetime.datetime(3000, 1, 1, tzinfo=datetime.timezone.utc)],
    "zoned_frame": {"z": [datetime.datetime(2020, 3, 29, each, tzinfo=BERLIN) for each in (0, 1, 3)]},
    "tuple_index": [(1, 2), (3, 4)],
    "lying": [
        [[[each + 12 * a + 4 * b for b in range(3)] for a in range(2)] for each in range(4)],
        [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]], [9, 6, 3, 0], [[0, 2], [4, 6], [8, 10]],
    ],
    "empty": [[], [], [[], [], []], [], [[], []]],
    "no_axes": [1.5, "x", None, 7],
    "big_endian": [[0, 1, 2], [1.5], ["ä"]],
    "halves": None,
    "texts": [["a", "", "ä😀"], ["x" * 9, "\udc80", "b\0c"]],
    "raw_texts": [b"a", b"", b"\xff\0x"],
    "complex_arrays": [[1 + 2j], [1j, complex(-0.0, 0.0)]],
    "truth_array": [[True], [False]],
}  # fmt: skip


@pytest.mark.index
@pytest.mark.parametrize("name", AS_LISTS)
def test_without_numpy_and_pandas_values_come_as_lists(name: str, new_values: Path) -> None:
    found = read(new_values / name)
    if name == "halves":
        assert isinstance(found, list)
        assert math.isnan(found[2])
        assert [found[0], found[1], found[3]] == [1.0, -0.0, 65504.0]
    else:
        assert found == AS_LISTS[name]
        assert repr(found) == repr(AS_LISTS[name])


@pytest.mark.index
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "moment_columns",
            "1577836800123456789 of the dtype `<M8[ns]` is no whole number of microseconds: it needs pandas",
        ),
        ("long_doubles", "an array of the dtype `<f16` needs numpy"),
        ("matrices", "a sparse matrix needs scipy"),
        ("twice", "a table whose columns have no names of their own needs pandas"),
    ],
)
def test_what_lists_cannot_hold_is_refused(name: str, reason: str, new_values: Path) -> None:
    with pytest.raises(CannotHoldError) as caught:
        read(new_values / name)
    assert str(caught.value) == reason


# plain values, in-process

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.binary(max_size=9)
    | st.text(st.characters(exclude_categories=()), max_size=9)
    | st.complex_numbers(allow_nan=False) | st.dates() | st.timedeltas()
    | st.datetimes(timezones=st.none() | st.timezones() | st.just(datetime.timezone.utc), allow_imaginary=True),
    lambda inner: st.lists(inner, max_size=4)
    | st.lists(inner, max_size=3).map(tuple)
    | st.dictionaries(st.text(max_size=3) | st.just("$"), inner, max_size=3)
    | st.dictionaries(st.integers() | st.tuples(st.text(max_size=2)) | st.none(), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


def carry(value: object) -> object:
    tree, buffers = encode(value)
    frame = pack_header({"v": tree, "buffers": []})
    return decode(read_header(frame[8:])["v"], [bytes(each) for each in buffers])


@given(plain)
def test_plain_values_come_back(value: object) -> None:
    found = carry(value)
    assert found == value
    assert repr(found) == repr(value)  # -0.0, and True and 1, are not the same


@given(st.integers(0, 2**64 - 1))
def test_every_float_comes_back(bits: int) -> None:
    (value,) = struct.unpack("d", struct.pack("Q", bits))
    found = carry([value])[0]
    assert struct.pack("d", found) == struct.pack("d", value) or (math.isnan(found) and math.isnan(value))


KINDS = [
    "int",
    "complex",
    "tuple",
    "dict",
    "bytes",
    "date",
    "timedelta",
    "datetime",
    "scalar",
    "array",
    "sparse",
    "frame",
    "series",
    "values",
    "timestamp",
    "pandas_timedelta",
    "NaT",
    "NA",
    "index",
    "range",
    "multi",
    "categorical",
    "zoned",
    "string",
    "masked",
    "unheard-of",
]
KEYS = [
    "v",
    "b",
    "dtype",
    "shape",
    "order",
    "fold",
    "tz",
    "offset",
    "columns",
    "index",
    "name",
    "names",
    "levels",
    "codes",
    "categories",
    "mask",
    "block",
    "missing",
]
trees = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(max_size=3)
    | st.sampled_from(["<f8", "O", "<M8[ns]", "F", "U", "Int8", "1" * 5000, "2020-01-01", "/dev/zero", "UTC"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.builds(lambda kind, rest: {"$": kind, **rest}, st.sampled_from(KINDS),
                st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)),
    max_leaves=15,
)  # fmt: skip


@given(trees, st.lists(st.binary(max_size=16), max_size=3))
def test_any_tree_is_a_value_or_a_value_error(tree: object, buffers: list[bytes]) -> None:
    try:
        decode(tree, buffers)
    except ValueError as error:
        assert len(str(error)) < 500  # noqa: PT017


def nest(depth: int) -> object:
    tree: object = 1
    for _ in range(depth):
        tree = {"$": "tuple", "v": [tree]}
    return tree


@pytest.mark.parametrize(
    ("tree", "reason"),
    [
        ({"$": "pickle", "v": "x"}, "there is no value of the kind `'pickle'`"),
        ({"$": ["array"]}, "there is no value of the kind `['array']`"),
        ({"$": "array", "dtype": "|O", "shape": [1], "b": 0}, "`'|O'` is no dtype of a raw array"),
        ({"$": "array", "dtype": "f8,i4", "shape": [1], "b": 0}, "`'f8,i4'` is no dtype of a raw array"),
        ({"$": "array", "dtype": "<f8", "shape": [1], "b": 2}, "there is no buffer `2`"),
        ({"$": "array", "dtype": "<f8", "shape": [1], "b": -1}, "there is no buffer `-1`"),
        ({"$": "array", "dtype": "<f8", "shape": [-1], "b": 0}, "`[-1]` is no shape"),
        ({"$": "array", "dtype": "<f8", "shape": [2], "b": 0}, "an array that should have 2 values has 1"),
        ({"$": "array", "dtype": "<U0", "shape": [2**40], "b": 1}, "`'<U0'` is no dtype of a raw array"),
        ({"$": "array", "dtype": "<f8", "shape": [2**40, 0], "b": 1},
         "an array of the shape `[1099511627776, 0]` needs numpy"),
        ([{"$": "bytes", "b": 0}] * 2, "there is no buffer `0`"),
        ({"$": "datetime", "v": "2020-01-01T00:00:00", "fold": 0, "offset": 0, "tz": ["dateutil", "/etc/passwd"]},
         "`'/etc/passwd'` is no name of a time zone"),
        ({"$": "datetime", "v": "2020-01-01T00:00:00", "fold": 0, "offset": 0, "tz": ["pytz", "No/Where"]},
         "the time zone `No/Where` is not known here"),
        ({"$": "dict", "v": [{"$": "range", "v": [0, 2**60, 1]}]}, "a dictionary has other things than pairs"),
    ],
)  # fmt: skip
def test_a_tree_of_nobody_is_refused(tree: object, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        decode(tree, [bytes(8), b""])
    assert str(caught.value) == reason


def test_a_tree_too_deep_is_refused() -> None:
    with pytest.raises(ValueError, match="RecursionError"):
        decode(nest(5000), [])
    assert decode({"$": "int", "v": "0x1" + "0" * 1_000_000}, []) == 16**1_000_000
