"""Which class a difference gets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from repro.formats.direct_url import Editable, Index, Source, System, Vcs
from repro.formats.lockfile import Distribution, Interpreter, Snapshot
from repro.snapshots.severity import Known, Severity, classify, classify_interpreters, find_used, is_native

PYTHON = Interpreter(implementation="cpython", version="3.11.7", abi="cp311", platform="linux-x86_64")
RECORD = "sha256:" + "a" * 64


def make(name: str, version: str = "1.0", *, source: Source = Index(), file: str | None = None) -> Distribution:  # noqa: B008
    return Distribution(name=name, version=version, source=source, file=file)


def snapshot(*distributions: Distribution) -> Snapshot:
    return Snapshot(interpreter=PYTHON, distributions=distributions)


def test_the_classes_are_ordered_worst_first() -> None:
    assert [severity.value for severity in sorted(Severity, key=lambda each: each.rank)] == [
        "breaks-loading", "numeric", "used", "native", "platform", "unused", "extra",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "severity"),
    [
        ({"implementation": "pypy"}, Severity.BREAKS_LOADING),
        ({"version": "3.12.1"}, Severity.BREAKS_LOADING),
        ({"abi": "cp311t"}, Severity.BREAKS_LOADING),
        ({"platform": "darwin-arm64"}, Severity.PLATFORM),
        ({"version": "3.11.9"}, None),
        ({"libc": "glibc 2.36"}, None),
    ],
)
def test_pythons_that_do_not_fit_break_loading_and_patches_do_not_count(
    change: dict[str, str], severity: Severity | None
) -> None:
    assert classify_interpreters(PYTHON, replace(PYTHON, **change)) is severity  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "after", "severity"),
    [
        (make("numpy", "1.0"), make("numpy", "2.0"), Severity.NUMERIC),
        (make("torch", "2.0+cpu"), make("torch", "2.0+cu121"), Severity.NUMERIC),
        (make("nvidia-cublas-cu12"), None, Severity.NUMERIC),
        (make("tensorflow-cpu"), None, Severity.NUMERIC),
        (make("alpha"), make("alpha", "2.0"), Severity.USED),
        (make("alpha"), None, Severity.USED),
        (make("beta", file="beta-1.0-cp311-cp311-linux_x86_64.whl"), make("beta", "2.0"), Severity.NATIVE),
        (make("beta"), make("beta", "2.0", file="beta-2.0-cp311-abi3-linux_x86_64.whl"), Severity.NATIVE),
        (make("beta", file="beta-1.0-py3-none-any.whl"), make("beta", "2.0"), Severity.UNUSED),
        (make("beta", source=System()), None, Severity.PLATFORM),
        (make("beta"), make("beta", source=System()), Severity.PLATFORM),
        (make("beta"), None, Severity.UNUSED),
        (None, make("numpy"), Severity.EXTRA),
        (None, make("alpha"), Severity.EXTRA),
    ],
)
def test_a_distribution_gets_the_worst_class_that_fits(
    before: Distribution | None, after: Distribution | None, severity: Severity
) -> None:
    assert classify(before, after, used=frozenset({"alpha"})) is severity


def test_a_missing_library_of_the_models_flavor_breaks_loading_and_another_version_changes_numbers() -> None:
    known = Known(flavor=frozenset({"mine"}))
    assert classify(make("mine"), None, used=frozenset(), known=known) is Severity.BREAKS_LOADING
    assert classify(make("mine"), make("mine", "2.0"), used=frozenset(), known=known) is Severity.NUMERIC


def test_what_the_code_imports_is_used_though_no_lock_has_it() -> None:
    assert classify(None, make("x"), used=frozenset(), known=Known(imported=frozenset({"x"}))) is Severity.USED


def test_the_same_files_from_elsewhere_matter_least_but_an_editable_has_its_files_elsewhere() -> None:
    before = replace(make("numpy"), record=RECORD)
    archive = replace(before, source=Vcs(vcs="git", url="https://example.org/x", commit="c"))
    assert classify(before, archive, used=frozenset()) is Severity.UNUSED
    assert classify(before, replace(before, source=Editable()), used=frozenset()) is Severity.NUMERIC
    assert classify(before, replace(before, modified=("numpy/a.py",)), used=frozenset()) is Severity.NUMERIC


def test_a_difference_needs_a_side() -> None:
    with pytest.raises(ValueError):
        classify(None, None, used=frozenset())


@pytest.mark.parametrize(
    ("file", "native"),
    [
        (None, False),
        ("x-1.0.tar.gz", False),
        ("x-1.0-py2.py3-none-any.whl", False),
        ("x-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", True),
        ("x-1.0-py3-none-manylinux2014_x86_64.whl", True),
    ],
)
def test_a_wheel_for_one_platform_is_native(file: str | None, native: bool) -> None:
    assert is_native(make("x", file=file)) is native


def test_used_is_what_a_run_has_marked() -> None:
    lock = snapshot(replace(make("alpha"), requested=True), replace(make("beta"), used=True))
    assert find_used(lock, snapshot(), Known()) == {"beta"}


def test_used_is_what_the_code_imports_with_all_that_it_requires() -> None:
    lock = snapshot(
        make("alpha"),
        replace(make("beta"), via=("alpha",)),
        replace(make("gamma"), via=("beta",)),
        replace(make("delta"), requested=True),
    )
    assert find_used(lock, snapshot(), Known(imported=frozenset({"alpha"}))) == {"alpha", "beta", "gamma"}


def test_where_no_use_is_known_it_is_what_was_asked_for_else_all_but_installers() -> None:
    asked = snapshot(replace(make("alpha"), requested=True), make("beta"), replace(make("pip"), requested=True))
    assert find_used(asked, snapshot(), Known()) == {"alpha"}
    assert find_used(snapshot(make("alpha"), make("pip")), snapshot(make("beta")), Known()) == {"alpha", "beta"}


def test_a_circle_of_requirements_ends() -> None:
    lock = snapshot(replace(make("alpha"), via=("beta",)), replace(make("beta"), via=("alpha",)))
    assert find_used(lock, snapshot(), Known(imported=frozenset({"alpha"}))) == {"alpha", "beta"}
