"""uv.lock: what it installs on one interpreter."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.errors import InvalidSnapshotError, ReproError
from repro.formats.direct_url import Archive, Index, Vcs
from repro.formats.lockfile import Interpreter
from repro.formats.target import make_target
from repro.formats.toml import format_toml
from repro.formats.uv_lock import parse_uv_lock

A, B, COMMIT = "a" * 64, "b" * 64, "0" * 40
PYTHON = Interpreter(implementation="cpython", version="3.11.7", abi="cp311", platform="linux-x86_64")
TARGET = make_target(PYTHON)
LOCK = f"""\
version = 1
revision = 3
requires-python = ">=3.9"
resolution-markers = ["python_full_version >= '3.10'", "python_full_version < '3.10'"]

[[package]]
name = "alpha"
version = "1.0"
source = {{ registry = "https://user:secret@example.org/simple" }}
dependencies = [{{ name = "beta", marker = "sys_platform == 'win32'" }}]
sdist = {{ url = "https://example.org/alpha-1.0.tar.gz", hash = "sha256:{A}", size = 1 }}
wheels = [{{ url = "https://example.org/alpha-1.0-py3-none-any.whl", hash = "sha256:{B}", size = 1 }}]

[package.optional-dependencies]
fast = [{{ name = "mine" }}]

[[package]]
name = "beta"
version = "2.0"
source = {{ registry = "https://example.org/simple" }}
resolution-markers = ["python_full_version < '3.10'"]
wheels = [{{ url = "https://example.org/beta-2.0-py3-none-any.whl", hash = "sha256:{A}" }}]

[[package]]
name = "beta"
version = "2.1"
source = {{ registry = "https://example.org/simple" }}
resolution-markers = ["python_full_version >= '3.10'"]
wheels = [{{ url = "https://example.org/beta-2.1-py3-none-any.whl", hash = "sha256:{B}" }}]

[[package]]
name = "mine"
version = "0.1"
source = {{ git = "https://secret@example.org/mine.git?rev=main&subdirectory=src#{COMMIT}" }}
dependencies = [{{ name = "alpha" }}]

[[package]]
name = "project"
version = "0"
source = {{ virtual = "." }}
dependencies = [
    {{ name = "alpha", extra = ["fast"] }},
    {{ name = "beta", version = "2.0", source = {{ registry = "https://example.org/simple" }}, marker = "python_full_version < '3.10'" }},
    {{ name = "beta", version = "2.1", source = {{ registry = "https://example.org/simple" }}, marker = "python_full_version >= '3.10'" }},
]

[package.optional-dependencies]
plot = [{{ name = "zipped" }}]

[package.dev-dependencies]
dev = [{{ name = "zipped" }}]

[[package]]
name = "zipped"
version = "3"
source = {{ url = "https://user:secret@example.org/zipped-3.zip" }}
sdist = {{ hash = "sha256:{A}" }}
"""  # noqa: E501


def test_what_applies_is_followed_with_its_extras() -> None:
    snapshot = parse_uv_lock(LOCK, where="uv.lock", target=TARGET)
    assert [(each.name, each.version, each.requested, each.via) for each in snapshot.distributions] == [
        ("alpha", "1.0", True, ("mine",)),
        ("beta", "2.1", True, ()),
        ("mine", "0.1", False, ("alpha",)),
    ]
    assert snapshot.distributions[0].hashes == (f"sha256:{A}", f"sha256:{B}")
    assert snapshot.distributions[0].source == Index(url="https://example.org/simple")
    assert snapshot.distributions[2].source == Vcs(
        vcs="git", url="https://example.org/mine.git", commit=COMMIT, subdirectory="src"
    )
    assert "secret" not in repr(snapshot)


@pytest.mark.parametrize("choices", [{"extras": ["Plot"]}, {"groups": ["dev"]}])
def test_extras_and_groups_are_followed_where_they_are_named(choices: dict[str, list[str]]) -> None:
    snapshot = parse_uv_lock(LOCK, where="uv.lock", target=TARGET, **choices)
    assert snapshot.distributions[-1].source == Archive(url="https://example.org/zipped-3.zip", sha256=A)


def test_another_python_gets_its_own_version() -> None:
    old = make_target(replace(PYTHON, version="3.9.1", abi="cp39"))
    assert parse_uv_lock(LOCK, where="uv.lock", target=old).distributions[1].version == "2.0"


def test_the_lock_of_a_script_starts_at_its_requirements() -> None:
    text = LOCK.replace('name = "project"', 'name = "other"').replace('virtual = "."', 'virtual = "elsewhere"')
    text = text.replace("[[package]]", '[manifest]\nrequirements = [{ name = "beta" }]\n\n[[package]]', 1)
    assert [each.name for each in parse_uv_lock(text, where="uv.lock", target=TARGET).distributions] == ["beta"]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("version = 1\n", "version = 2\n", "has format `2`; this repro reads 1"),
        ('requires-python = ">=3.9"', 'requires-python = ">=3.12"', "is for Python >=3.12, not 3.11.7"),
        ("sys_platform == 'win32'", "extra == 'extra-7-project-cpu'", "whose markers only uv reads"),
        ("sys_platform == 'win32'", "nonsense", "the marker `nonsense` cannot be evaluated"),
        ('[{ name = "mine" }]', '[{ name = "nobody" }]', "no package is `nobody`"),
        (f"#{COMMIT}", "#main", "`https://example.org/mine.git` names no commit"),
        ("subdirectory=src", "subdirectory=../src", "the subdirectory `../src` leads out of the repository"),
        ("registry =", "mystery =", "has an unknown source"),
    ],
)
def test_what_is_not_known_is_refused_with_a_hint(old: str, new: str, sentence: str) -> None:
    assert old in LOCK
    with pytest.raises(InvalidSnapshotError) as caught:
        parse_uv_lock(LOCK.replace(old, new), where="uv.lock", target=TARGET)
    assert sentence in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(("choices", "what"), [({"extras": ["x"]}, "extra"), ({"groups": ["x"]}, "dependency group")])
def test_an_unknown_extra_or_group_is_told(choices: dict[str, list[str]], what: str) -> None:
    with pytest.raises(InvalidSnapshotError, match=f"has no {what} `x`; it has `"):
        parse_uv_lock(LOCK, where="uv.lock", target=TARGET, **choices)


KEYS = st.sampled_from(
    ["name", "version", "source", "registry", "dependencies", "marker", "extra", "wheels", "virtual"]
)
VALUES = st.recursive(
    st.sampled_from(["a", ".", "1", "git", "sys_platform == 'linux'", "https://example.org"]) | st.integers(0, 2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(st.dictionaries(KEYS, VALUES, max_size=5), max_size=4))
def test_whatever_the_packages_are_there_is_a_snapshot_or_a_sentence(packages: list[dict[str, object]]) -> None:
    content = {
        "version": 1,
        "package": [{"name": "p", "source": {"virtual": "."}, "dependencies": packages}, *packages],
    }
    message = "`uv.lock`"
    try:
        parse_uv_lock(format_toml(content), where="uv.lock", target=TARGET)
    except ReproError as error:
        message = error.message
    assert "`uv.lock`" in message
