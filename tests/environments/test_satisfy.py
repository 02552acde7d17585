"""The warning for an environment that does not satisfy its lock."""

from __future__ import annotations

from dataclasses import replace

from repro.environments.satisfy import format_warning
from repro.formats.direct_url import Editable
from repro.formats.lockfile import Distribution, Interpreter, Snapshot
from repro.snapshots.drift import compare

PYTHON = Interpreter(implementation="cpython", version="3.11.7", abi="cp311", platform="linux-x86_64")


def warn(before: list[Distribution], after: list[Distribution], python: Interpreter = PYTHON) -> str:
    drift = compare(
        Snapshot(interpreter=PYTHON, distributions=tuple(before)),
        Snapshot(interpreter=python, distributions=tuple(after)),
    )
    return format_warning(drift.without_added(), path="lock.txt", command="repro restore p")


def make(name: str, version: str = "1.0", **facts: object) -> Distribution:
    return Distribution(name=name, version=version, **facts)  # type: ignore[arg-type]


def test_the_worst_class_stands_first_and_each_is_named() -> None:
    before = [make("alpha", requested=True), make("beta"), make("numpy"), make("scipy"), make("zeta", requested=True)]
    after = [make("alpha", source=Editable()), make("beta", "2.0"), make("scipy", "2.0"), make("zeta", record="x")]
    assert warn(before, after) == (
        "the snapshot `lock.txt` is not restored, and results may differ: "
        "numeric: numpy (locked 1.0, not installed), scipy (locked 1.0, installed 2.0); "
        "used: alpha (locked 1.0, index -> editable); "
        "unused: beta (locked 1.0, installed 2.0). Restore it with `repro restore p`"
    )


def test_another_python_leads() -> None:
    text = warn([make("numpy")], [make("numpy", "2.0")], replace(PYTHON, version="3.12.1", abi="cp312"))
    assert "differ: breaks-loading: Python (locked cpython 3.11.7 (cp311, linux-x86_64), here cpython 3.12.1" in text
    assert "; numeric: numpy (locked 1.0, installed 2.0). Restore" in text


def test_another_platform_stands_where_its_class_does() -> None:
    text = warn([make("numpy")], [make("numpy", "2.0")], replace(PYTHON, platform="linux-aarch64"))
    assert "differ: numeric: numpy (locked 1.0, installed 2.0); platform: Python (locked cpython" in text


def test_many_differences_are_cut_at_the_least_important() -> None:
    before = [*(make(f"d{number:02}") for number in range(20)), make("numpy")]
    text = warn(before, [])
    assert "numeric: numpy (locked 1.0, not installed); used: d00" in text
    assert "d06 (locked 1.0, not installed); and 13 more. Restore it with `repro restore p`" in text
    assert "d07" not in text
