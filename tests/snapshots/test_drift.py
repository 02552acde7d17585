"""What differs between two snapshots."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.formats.direct_url import Archive, Directory, Editable, Index, Local, Vcs
from repro.formats.lockfile import Distribution, Interpreter, Snapshot
from repro.snapshots.drift import Drift, compare, is_same_version
from repro.snapshots.severity import Severity

PYTHON = Interpreter(implementation="cpython", version="3.11.7", abi="cp311", platform="linux-x86_64")
ONE, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
ALPHA = Distribution(name="alpha", version="1.0", record=ONE, requested=True)


def snapshot(*distributions: Distribution, python: Interpreter | None = PYTHON) -> Snapshot:
    return Snapshot(interpreter=python, distributions=distributions)


def describe(before: Distribution, after: Distribution) -> list[str]:
    return [str(change) for change in compare(snapshot(before), snapshot(after)).changes]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1.0", "1.0", True),
        ("1.0", "1.0.0", True),
        ("2024.07", "2024.7", True),
        ("1.0", "1.1", False),
        ("1.0", "1.0.1", False),
        ("1.0rc1", "1.0.RC1", True),
        ("1.0+CPU", "1.0+cpu", True),
        ("1.0+cpu", "1.0+cu121", False),
        ("1.0", "1.0+cpu", False),
        ("1.0.post1", "1.0-1", True),
        ("odd", "odder", False),
        ("1" * 9000, "2" * 9000, False),
    ],
)
def test_versions_are_equal_as_pep_440_has_it(one: str, other: str, same: bool) -> None:
    assert is_same_version(one, other) is same
    assert is_same_version(other, one) is same


@given(st.lists(st.integers(0, 30), min_size=1, max_size=4), st.lists(st.integers(0, 30), min_size=1, max_size=4))
def test_plain_releases_are_compared_as_packaging_compares_them(one: list[int], other: list[int]) -> None:
    from packaging.version import Version

    versions = [".".join(map(str, numbers)) for numbers in (one, other)]
    assert is_same_version(*versions) is (Version(versions[0]) == Version(versions[1]))


def test_plain_releases_need_no_packaging() -> None:
    script = (
        "import sys; from repro.snapshots.drift import is_same_version as same; "
        "print(same('1.0', '1.0.0'), same('1.0', '1.2'), 'packaging' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False", "False"]


COMMIT = Vcs(vcs="git", url="https://example.org/x.git", commit="0123456789abcdef")


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        (ALPHA, ALPHA, []),
        (ALPHA, replace(ALPHA, version="1.0.0"), []),
        (ALPHA, replace(ALPHA, version="1.1", record=OTHER), ["~ alpha 1.0 -> 1.1"]),
        (ALPHA, replace(ALPHA, record=OTHER), ["~ alpha 1.0 (other files of the same version)"]),
        (ALPHA, replace(ALPHA, record=None), []),
        (ALPHA, replace(ALPHA, source=Editable()), ["~ alpha 1.0 (index -> editable)"]),
        (ALPHA, replace(ALPHA, modified=("a.py",)), ["~ alpha 1.0 (edited after it was installed: a.py)"]),
        (
            ALPHA,
            replace(ALPHA, source=Local(), record=OTHER, modified=("a", "b", "c", "d", "e")),
            ["~ alpha 1.0 (edited after it was installed: a, b, c and 2 more)"],
        ),
        (
            replace(ALPHA, source=COMMIT),
            replace(ALPHA, source=replace(COMMIT, commit="f" * 40)),
            ["~ alpha 1.0 (commit 0123456789ab -> ffffffffffff)"],
        ),
        (replace(ALPHA, source=COMMIT), replace(ALPHA, source=COMMIT, record=OTHER), []),
        (
            replace(ALPHA, source=COMMIT, kept=True),
            replace(ALPHA, source=COMMIT, record=OTHER),
            ["~ alpha 1.0 (other files of the same version)"],
        ),
    ],
)
def test_each_difference_is_described(before: Distribution, after: Distribution, lines: list[str]) -> None:
    assert describe(before, after) == lines


@pytest.mark.parametrize("source", [Index(), Directory(), Archive(url="https://example.org/a.whl")])
def test_a_kept_wheel_that_was_restored_is_no_difference(source: Index | Directory | Archive) -> None:
    edited = replace(ALPHA, source=Local(), kept=True, hashes=(OTHER,), modified=("a.py",))
    assert not compare(snapshot(edited), snapshot(replace(ALPHA, source=source)))
    assert compare(snapshot(edited), snapshot(replace(ALPHA, source=source, record=OTHER)))


def test_differences_stand_worst_first_and_then_by_name() -> None:
    before = snapshot(
        replace(ALPHA, name="a-unused", requested=False),
        replace(ALPHA, name="b-used"),
        Distribution(name="c-native", version="1.0", file="c-1.0-cp311-cp311-linux_x86_64.whl"),
        Distribution(name="numpy", version="1.0"),
        Distribution(name="scipy", version="1.0"),
    )
    drift = compare(before, snapshot(Distribution(name="a-extra", version="1.0")))
    assert [(change.severity.value, change.name) for change in drift.changes] == [
        ("numeric", "numpy"),
        ("numeric", "scipy"),
        ("used", "b-used"),
        ("native", "c-native"),
        ("unused", "a-unused"),
        ("extra", "a-extra"),
    ]
    assert drift.worst is Severity.NUMERIC


def test_a_python_that_does_not_fit_is_the_worst() -> None:
    other = replace(PYTHON, version="3.12.1", abi="cp312")
    drift = compare(snapshot(ALPHA), snapshot(ALPHA, python=other))
    assert drift.worst is drift.interpreter_severity is Severity.BREAKS_LOADING
    assert drift.to_dict()["python_class"] == "breaks-loading"


def test_another_platform_is_its_own_class_and_files_are_not_compared() -> None:
    other = replace(PYTHON, platform="linux-aarch64")
    drift = compare(snapshot(ALPHA), snapshot(replace(ALPHA, record=OTHER), python=other))
    assert (drift.changes, drift.worst) == ((), Severity.PLATFORM)
    assert compare(snapshot(ALPHA), snapshot(replace(ALPHA, source=Editable()), python=other)).changes


def test_a_plain_file_is_compared_by_names_and_versions_only() -> None:
    plain = snapshot(Distribution(name="alpha", version="1.0.0"), python=None)
    assert not compare(plain, snapshot(replace(ALPHA, source=Editable())))
    assert compare(plain, snapshot(replace(ALPHA, version="1.1")))


def test_json_has_the_class_and_the_aspects_of_each_difference() -> None:
    before = snapshot(ALPHA, Distribution(name="numpy", version="1.0"))
    content = compare(before, snapshot(replace(ALPHA, record=OTHER), Distribution(name="x", version="2"))).to_dict()
    assert content["worst"] == "numeric"
    assert content["added"] == [{"name": "x", "class": "extra", "version": "2"}]
    assert content["removed"] == [{"name": "numpy", "class": "numeric", "version": "1.0"}]
    changed = content["changed"]
    assert isinstance(changed, list)
    assert {key: changed[0][key] for key in ("name", "class", "aspects", "files_differ")} == {
        "name": "alpha", "class": "used", "aspects": ["files"], "files_differ": True,
    }  # fmt: skip


def test_additions_do_not_keep_a_lock_from_being_satisfied() -> None:
    drift = compare(snapshot(), snapshot(ALPHA))
    assert drift.worst is Severity.EXTRA
    assert drift.without_added() == Drift(changes=())
    assert drift.without_added().worst is None
