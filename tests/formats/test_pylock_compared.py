"""pylock.toml (PEP 751) read to be compared, whatever interpreter it is for."""

from __future__ import annotations

import pytest

from repro.errors import InvalidSnapshotError
from repro.formats.direct_url import Archive, Directory, Editable, Index, Vcs
from repro.formats.lockfile import Distribution
from repro.formats.pylock import parse_pylock

SHA = "a" * 64
HEAD = 'lock-version = "1.0"\ncreated-by = "test"\n'
WHEEL = f'wheels = [{{url = "https://example.org/alpha-1.0-py3-none-any.whl", hashes = {{sha256 = "{SHA}"}}}}]\n'
ALPHA = f'[[packages]]\nname = "alpha"\nversion = "1.0"\n{WHEEL}'


def parse(text: str) -> tuple[Distribution, ...]:
    snapshot = parse_pylock(HEAD + text, where="pylock.toml")
    assert snapshot.interpreter is None
    return snapshot.distributions


def test_names_versions_and_hashes_are_read() -> None:
    sdist = f'sdist = {{url = "https://example.org/alpha-1.0.tar.gz", hashes = {{sha256 = "{"b" * 64}"}}}}\n'
    assert parse(ALPHA + sdist) == (
        Distribution(name="alpha", version="1.0", hashes=(f"sha256:{SHA}", "sha256:" + "b" * 64)),
    )


@pytest.mark.parametrize(
    ("entry", "source"),
    [
        (WHEEL, Index()),
        (
            'vcs = {type = "git", url = "https://u:p@example.org/x.git", commit-id = "c1", subdirectory = "s"}',
            Vcs(vcs="git", url="https://example.org/x.git", commit="c1", subdirectory="s"),
        ),
        ('directory = {path = "x"}', Directory()),
        ('directory = {path = "x", editable = true}', Editable()),
        (
            f'archive = {{url = "https://example.org/x.zip", hashes = {{sha256 = "{SHA}"}}}}',
            Archive(url="https://example.org/x.zip", sha256=SHA),
        ),
        (f'archive = {{path = "x.zip", hashes = {{sha256 = "{SHA}"}}}}', Directory()),
    ],
)
def test_each_source_is_told_apart(entry: str, source: object) -> None:
    (found,) = parse(f'[[packages]]\nname = "alpha"\nversion = "1.0"\n{entry}\n')
    assert found.source == source


def test_what_is_for_another_python_an_extra_or_another_group_is_left_out() -> None:
    markers = ["python_version < '3'", "'x' in extras", "'dev' in dependency_groups", "'main' in dependency_groups"]
    packages = [
        ALPHA.replace("alpha", f"p{number}") + f'marker = "{marker}"\n' for number, marker in enumerate(markers)
    ]
    head = 'extras = ["x"]\ndependency-groups = ["dev", "main"]\ndefault-groups = ["main"]\n'
    assert [each.name for each in parse(head + "".join(packages))] == ["p3"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = ", "Invalid value"),
        ("", "Missing required value in 'packages'"),
        ('[[packages]]\nname = "alpha"\n', "Exactly one of vcs, directory, archive"),
        (ALPHA.replace('"alpha"', '"Alpha"'), "in 'packages[0].name'"),
    ],
)
def test_what_is_no_pylock_is_explained_with_its_place(text: str, reason: str) -> None:
    with pytest.raises(InvalidSnapshotError) as caught:
        parse(text)
    assert reason in caught.value.message
    assert "`pylock.toml` is not a pylock.toml" in caught.value.message


def test_two_versions_for_this_python_are_ambiguous() -> None:
    with pytest.raises(InvalidSnapshotError) as caught:
        parse(ALPHA + ALPHA.replace("1.0", "2.0"))
    assert caught.value.details == ("`alpha` stands twice for this Python",)
