from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.errors import ProjectError
from repro.formats.r_dependencies import (
    RDependencies,
    RDifference,
    RPackage,
    compare_r,
    format_r_dependencies,
    merge,
    parse_r_dependencies,
)

TEXT = """\
RVersion: 4.2.2
Platform: x86_64-pc-linux-gnu

Package: R6
Source: CRAN
Version: 2.5.1

Package: curl
Source: github@0123abc
Version: 5.0.0
"""
VALUE = RDependencies(
    r_version="4.2.2",
    platform="x86_64-pc-linux-gnu",
    packages=(
        RPackage(name="R6", version="2.5.1", source="CRAN"),
        RPackage(name="curl", version="5.0.0", source="github@0123abc"),
    ),
)
PACKRAT = """\
PackratFormat: 1.4
RVersion: 3.4.4
Repos: CRAN=https://example.org/cran

Package: zoo
Source: CRAN
Version: 1.8-1
Hash: 0123
Requires: lattice,
    grid
"""
WORDS = st.from_regex(r"\A[A-Za-z0-9.@-]{1,8}\Z")


def test_a_record_is_read_and_written() -> None:
    assert parse_r_dependencies(TEXT, where="x") == VALUE
    assert format_r_dependencies(VALUE) == TEXT


def test_a_lock_of_packrat_is_read() -> None:
    found = parse_r_dependencies(PACKRAT, where="x")
    assert found == RDependencies(
        r_version="3.4.4", platform=None, packages=(RPackage(name="zoo", version="1.8-1", source="CRAN"),)
    )


@given(WORDS, st.none() | WORDS, st.lists(st.builds(RPackage, name=WORDS, version=WORDS, source=WORDS)))
def test_any_record_is_read_as_it_was_written(version: str, platform: str | None, packages: list[RPackage]) -> None:
    value = RDependencies(r_version=version, platform=platform, packages=tuple(sorted(packages)))
    assert parse_r_dependencies(format_r_dependencies(value), where="x") == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "`x` does not begin with `RVersion: X.Y.Z`"),
        ("Package: a\nVersion: 1\n", "`x` does not begin with `RVersion: X.Y.Z`"),
        ("RVersion: 1\n\nPackage: a\n", "`x` has a package without name or version: `Package: a`"),
    ],
)
def test_what_is_no_record_is_refused(text: str, message: str) -> None:
    with pytest.raises(ProjectError) as caught:
        parse_r_dependencies(text, where="x")
    assert caught.value.message == message


def test_the_processes_of_a_run_are_one_record() -> None:
    other = RDependencies(
        r_version="9", platform=None, packages=(RPackage(name="R6", version="9"), RPackage(name="ash", version="1"))
    )
    merged = merge([VALUE, other])
    assert merged
    assert merged.r_version == "4.2.2"
    assert [(each.name, each.version) for each in merged.packages] == [("R6", "2.5.1"), ("ash", "1"), ("curl", "5.0.0")]
    assert merge([]) is None


def test_what_differs_is_named_r_first() -> None:
    here = RDependencies(r_version="4.3.0", platform=None, packages=(RPackage(name="curl", version="6"),))
    r = RDifference(name="R", recorded="4.2.2", installed="4.3.0")
    curl = RDifference(name="curl", recorded="5.0.0", installed="6")
    gone = RDifference(name="R6", recorded="2.5.1", installed=None)
    assert compare_r(VALUE, here, missing=True) == (r, gone, curl)
    assert compare_r(VALUE, here, missing=False) == (r, curl)
    assert compare_r(VALUE, VALUE, missing=True) == ()
    assert compare_r(VALUE, None, missing=True) == (RDifference(name="R", recorded="4.2.2", installed=None),)
