"""pylock.toml: selected for an interpreter, written, and read back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.errors import InvalidSnapshotError, ReproError
from repro.formats.direct_url import Archive, Editable, Index, Local, Vcs
from repro.formats.lockfile import Distribution, Interpreter, Snapshot
from repro.formats.pylock import LocalFile, find_unlockable, format_pylock, is_pylock_name, parse_pylock
from repro.formats.simple_index import IndexFile
from repro.formats.target import make_target
from repro.formats.toml import format_toml

A, B, C = (f"{letter * 64}" for letter in "abc")
PYTHON = Interpreter(
    implementation="cpython", version="3.11.7", abi="cp311", platform="linux-x86_64", libc="glibc 2.36"
)
TARGET = make_target(PYTHON)

LOCK = f"""\
lock-version = "1.0"
created-by = "someone"
requires-python = ">=3.9"
extras = ["plot"]
dependency-groups = ["dev", "main"]
default-groups = ["main"]

[[packages]]
name = "alpha"
version = "1.0"
marker = "'main' in dependency_groups"
index = "https://user:secret@example.org/simple?token=secret"
dependencies = [{{name = "beta"}}]
sdist = {{url = "https://example.org/alpha-1.0.tar.gz", hashes = {{sha256 = "{B}"}}}}
wheels = [
    {{url = "https://example.org/alpha-1.0-cp311-cp311-win_amd64.whl", hashes = {{sha256 = "{C}"}}}},
    {{url = "https://example.org/alpha-1.0-py3-none-any.whl", hashes = {{sha256 = "{A}"}}}},
]

[[packages]]
name = "beta"
version = "2.0"
marker = "python_version < '3.10'"
wheels = [{{url = "https://example.org/beta-2.0-py3-none-any.whl", hashes = {{sha256 = "{A}"}}}}]

[[packages]]
name = "beta"
marker = "python_version >= '3.10'"
wheels = [{{url = "https://example.org/beta-2.1-py3-none-any.whl", hashes = {{sha256 = "{B}"}}}}]

[[packages]]
name = "gamma"
version = "3"
marker = "'plot' in extras"
archive = {{url = "https://user:secret@example.org/gamma.zip", hashes = {{sha256 = "{C}"}}}}

[[packages]]
name = "mine"
version = "0.1"
marker = "'dev' in dependency_groups"
vcs = {{type = "git", url = "https://secret@example.org/mine.git", commit-id = "0123", subdirectory = "src"}}
"""


def test_what_fits_the_interpreter_is_selected() -> None:
    snapshot = parse_pylock(LOCK, where="pylock.toml", target=TARGET)
    assert snapshot.interpreter is None
    assert snapshot.distributions == (
        Distribution(
            name="alpha",
            version="1.0",
            source=Index(url="https://example.org/simple"),
            hashes=(f"sha256:{A}", f"sha256:{B}", f"sha256:{C}"),
        ),
        Distribution(name="beta", version="2.1", hashes=(f"sha256:{B}",), via=("alpha",)),
    )
    old = make_target(replace(PYTHON, version="3.9.1", abi="cp39"))
    assert parse_pylock(LOCK, where="pylock.toml", target=old).distributions[1].version == "2.0"


def test_extras_and_groups_are_chosen_and_no_credential_stays() -> None:
    snapshot = parse_pylock(LOCK, where="pylock.toml", target=TARGET, extras=["plot"], groups=["dev"])
    assert {each.name: each.source for each in snapshot.distributions if each.name != "beta"} == {
        "gamma": Archive(url="https://example.org/gamma.zip", sha256=C),
        "mine": Vcs(vcs="git", url="https://example.org/mine.git", commit="0123", subdirectory="src"),
    }
    assert "secret" not in repr(snapshot)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('lock-version = "1.0"', 'lock-version = "2.0"', "is not a pylock.toml: pylock version 2.0 is not supported"),
        ('created-by = "someone"', "", "Missing required value in 'created-by'"),
        ('">=3.9"', '">=3.12"', "does not fit Python 3.11.7: "),
        ("python_version < '3.10'", "python_version < '4'", "Multiple packages with the name 'beta'"),
        ('name = "alpha"', 'name = "Al_pha"', "is not normalized in 'packages[0].name'"),
        ('lock-version = "1.0"', "lock-version = ", "is not valid TOML"),
    ],
)
def test_each_fault_is_one_sentence_with_its_file(old: str, new: str, sentence: str) -> None:
    with pytest.raises(ReproError) as caught:
        parse_pylock(LOCK.replace(old, new), where="pylock.toml", target=TARGET)
    assert caught.value.message.startswith("`pylock.toml` ")
    assert sentence in caught.value.message


@pytest.mark.parametrize(
    ("choices", "sentence"),
    [({"extras": ["x"]}, "has no extra `x`; it has `plot`"), ({"groups": ["x"]}, "has no dependency group `x`")],
)
def test_an_unknown_extra_or_group_is_told(choices: dict[str, list[str]], sentence: str) -> None:
    with pytest.raises(InvalidSnapshotError, match=sentence):
        parse_pylock(LOCK, where="pylock.toml", target=TARGET, **choices)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('type = "git"', 'type = "cvs"', "`cvs` is no version control that is known (git, hg, svn, bzr)"),
        ('commit-id = "0123"', 'commit-id = "0123 --pre"', "`0123 --pre` is no commit"),
        ('subdirectory = "src"', 'subdirectory = "/src"', "the subdirectory `/src` leads out of the repository"),
    ],
)
def test_a_commit_that_no_line_could_hold_is_refused(old: str, new: str, sentence: str) -> None:
    assert old in LOCK
    with pytest.raises(InvalidSnapshotError) as caught:
        parse_pylock(LOCK.replace(old, new), where="pylock.toml", target=TARGET, groups=["dev"])
    assert caught.value.message == f"`pylock.toml` cannot be read: {sentence} in the package `mine`"


def test_what_a_lock_cannot_say_is_told_all_at_once() -> None:
    snapshot = Snapshot(
        interpreter=None,
        distributions=(
            Distribution(name="a", version="1", source=Editable()),
            Distribution(name="b", version="1", source=Local()),
            Distribution(name="c", version="unknown", source=Vcs(vcs="git", url="u", commit="c")),
            Distribution(name="d", version="1"),
            Distribution(name="e\nx", version="1", hashes=(f"sha256:{A}",)),
            Distribution(name="f", version="1", source=Archive(url="https://example.org/f.zip --pre")),
        ),
    )
    assert [each.partition(": ")[2] for each in find_unlockable(snapshot, where="x")] == [
        "`a` is a local path, which means nothing on another machine",
        "`b` is a local path, which means nothing on another machine",
        "`c` has no version",
        "`d` has no sha256",
        "`e\nx` is not the name of a distribution",
        "`f` has a URL or a commit that is none",
    ]


def make_files() -> dict[str, list[IndexFile | LocalFile]]:
    return {
        "alpha": [
            IndexFile(
                filename="alpha-1.0.tar.gz",
                url="https://user:secret@example.org/alpha-1.0.tar.gz",
                sha256=A,
                size_bytes=7,
                upload_time="2026-01-31T12:00:00.5Z",
                index="https://user:secret@example.org/simple",
            ),
            IndexFile(
                filename="alpha-1.0-py3-none-any.whl", url="https://example.org/alpha-1.0-py3-none-any.whl", sha256=B
            ),
        ],
        "kept": [LocalFile(path="wheels/kept-2+dirty-py3-none-any.whl", sha256=C, size_bytes=9)],
    }


SNAPSHOT = Snapshot(
    interpreter=PYTHON,
    distributions=(
        Distribution(name="alpha", version="1.0", hashes=(f"sha256:{B}", f"sha256:{A}"), via=("kept",)),
        Distribution(
            name="archived", version="3", source=Archive(url="https://example.org/a.zip"), hashes=(f"sha256:{A}",)
        ),
        Distribution(name="kept", version="2+dirty", source=Editable(), hashes=(f"sha256:{C}",), kept=True),
        Distribution(name="mine", version="0.1", source=Vcs(vcs="git", url="https://example.org/m", commit="0123")),
    ),
)


def test_a_snapshot_is_written_with_its_files_and_read_back() -> None:
    text = format_pylock(SNAPSHOT, make_files())
    assert "secret" not in text
    assert 'requires-python = "==3.11.*"' in text
    assert "upload-time = 2026-01-31T12:00:00Z" in text
    back = {each.name: each for each in parse_pylock(text, where="pylock.toml", target=TARGET).distributions}
    assert back["alpha"].hashes == (f"sha256:{A}", f"sha256:{B}")
    assert back["alpha"].via == ("kept",)
    assert back["archived"].source == Archive(url="https://example.org/a.zip", sha256=A)
    assert back["mine"].source == SNAPSHOT.distributions[3].source
    assert (back["kept"].version, back["kept"].source) == ("2+dirty", Local())
    shuffled = {name: list(reversed(files)) for name, files in reversed(make_files().items())}
    assert format_pylock(SNAPSHOT, shuffled) == text


def test_another_interpreter_refuses_what_was_written() -> None:
    text = format_pylock(SNAPSHOT, make_files())
    for python in (replace(PYTHON, version="3.12.1", abi="cp312"), replace(PYTHON, platform="linux-aarch64")):
        with pytest.raises(InvalidSnapshotError, match="does not fit"):
            parse_pylock(text, where="pylock.toml", target=make_target(python))


def test_a_distribution_without_files_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="packages"):
        format_pylock(SNAPSHOT, {})


@pytest.mark.parametrize(
    ("name", "known"),
    [("pylock.toml", True), ("pylock.dev.toml", True), ("pylock.a.b.toml", False), ("lock.toml", False)],
)
def test_installers_know_a_pylock_by_its_name(name: str, known: bool) -> None:
    assert is_pylock_name(name) is known


KEYS = st.sampled_from(
    ["name", "version", "wheels", "sdist", "vcs", "url", "hashes", "sha256", "marker", "archive", "index"]
)
VALUES = st.recursive(
    st.sampled_from(["alpha", "1.0", "https://e.org/alpha-1.0-py3-none-any.whl", "", A]) | st.integers(0, 3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(st.dictionaries(KEYS, VALUES, max_size=5), max_size=3))
def test_whatever_the_packages_are_there_is_a_snapshot_or_a_sentence(packages: list[dict[str, object]]) -> None:
    content = {"lock-version": "1.0", "created-by": "x", "packages": packages}
    message = "`pylock.toml`"
    try:
        parse_pylock(format_toml(content), where="pylock.toml", target=TARGET)
    except ReproError as error:
        message = error.message
    assert "`pylock.toml`" in message
