"""The lock file's text and its value."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.errors import InvalidSnapshotError
from repro.formats.direct_url import Archive, Checkout, Directory, Editable, Index, Local, Source, System, Vcs
from repro.formats.lockfile import Distribution, Interpreter, Proof, Snapshot, format_snapshot, parse_snapshot

PYTHON = Interpreter(
    implementation="cpython", version="3.11.7", abi="cp311", platform="linux-x86_64", libc="glibc 2.36"
)
HASH = "sha256:" + "a" * 64
COMMIT = "0123456789abcdef0123456789abcdef01234567"

hashes = st.text("0123456789abcdef", min_size=64, max_size=64).map(lambda digits: f"sha256:{digits}")
versions = st.sampled_from(["1.0", "2.13.0+cpu", "1!3.0", "0.1rc1", "1.0.post2", "2024.1.dev3"])
names = st.from_regex(r"[a-z][a-z0-9]{0,5}(-[a-z0-9]{1,4})?", fullmatch=True)
CHECKOUT = Checkout(commit=COMMIT, url="https://example.org/x.git", diff="c" * 64, untracked=2)
sources: st.SearchStrategy[Source] = st.one_of(
    st.sampled_from([Index(), Index(url="https://example.org/cpu"), Directory(), Editable(), Local(), System()]),
    st.sampled_from([Directory(checkout=CHECKOUT), Editable(checkout=Checkout(commit=COMMIT))]),
    st.just(Vcs(vcs="git", url="https://example.org/x.git", commit=COMMIT, subdirectory="pkg")),
    st.just(Archive(url="https://example.org/x-1.0.tar.gz", sha256="b" * 64)),
)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    hashed = draw(st.booleans())
    found = []
    for name in sorted(draw(st.sets(names, max_size=6))):
        source = draw(sources)
        kept = hashed and draw(st.booleans())
        wanted = kept or (hashed and isinstance(source, Index | Archive))
        found.append(
            Distribution(
                name=name,
                version=draw(versions),
                source=source,
                hashes=tuple(draw(st.lists(hashes, min_size=1, max_size=3))) if wanted else (),
                record=draw(st.none() | hashes),
                file=draw(st.none() | st.just("x-1.0-py3-none-any.whl")),
                proof=draw(st.none() | st.sampled_from(Proof)),
                reason=draw(st.none() | st.just("no index has it")),
                kept=kept,
                modified=tuple(sorted(draw(st.sets(st.sampled_from(["a.py", "b/c d.py", "é.py"]), max_size=2)))),
                used=draw(st.booleans()),
                requested=draw(st.booleans()),
                via=tuple(sorted(draw(st.sets(names, max_size=2)))),
            )
        )
    return Snapshot(
        interpreter=PYTHON, distributions=tuple(found), index_urls=("https://example.org/simple",), tool="repro 0.1.0"
    )


@given(snapshots())
def test_text_and_value_are_each_others_inverse(snapshot: Snapshot) -> None:
    text = format_snapshot(snapshot)
    read = parse_snapshot(text)
    assert read.stated_digest == read.compute_digest() == snapshot.compute_digest()
    assert replace(read, stated_digest=None) == snapshot
    assert format_snapshot(read) == text
    assert text.isascii()


def make_snapshot(*distributions: Distribution) -> Snapshot:
    return Snapshot(interpreter=PYTHON, distributions=distributions, tool="repro 0.1.0")


ALPHA = Distribution(name="alpha", version="1.0", hashes=(HASH,), record=HASH)


def test_a_hashed_entry_is_a_requirement_with_its_note_behind_it() -> None:
    text = format_snapshot(make_snapshot(ALPHA))
    assert text.endswith(f'\nalpha==1.0 \\\n    --hash={HASH}\n    # repro: {{"kind": "index", "record": "{HASH}"}}\n')


def test_active_lines_are_all_hashed_or_none() -> None:
    bare = Distribution(name="beta", version="2.0")
    lines = format_snapshot(make_snapshot(ALPHA, bare)).splitlines()
    assert "alpha==1.0 \\" in lines
    assert "beta==2.0" not in lines
    assert "beta==2.0" in format_snapshot(make_snapshot(bare)).splitlines()


@pytest.mark.parametrize(
    "source", [Directory(), Editable(), System(), Vcs(vcs="git", url="https://e.org/x", commit=COMMIT)]
)
def test_what_no_installer_can_check_is_a_comment(source: Source) -> None:
    text = format_snapshot(make_snapshot(Distribution(name="mine", version="1", source=source)))
    assert all(line.startswith("#") or not line for line in text.splitlines())
    assert parse_snapshot(text).distributions[0].source == source


@pytest.mark.parametrize(
    "change",
    [
        {"hashes": ("sha256:" + "c" * 64,)},
        {"via": ("other",)},
        {"requested": True},
    ],
)
def test_the_digest_is_not_over_what_varies_by_index_and_time(change: dict[str, object]) -> None:
    changed = make_snapshot(replace(ALPHA, **change))  # type: ignore[arg-type]
    assert changed.compute_digest() == make_snapshot(ALPHA).compute_digest()


@pytest.mark.parametrize(
    "change",
    [
        {"version": "1.1"},
        {"name": "alpha2"},
        {"source": Editable()},
        {"record": "sha256:" + "d" * 64},
        {"source": Vcs(vcs="git", url="https://e.org/x", commit=COMMIT)},
    ],
)
def test_the_digest_is_over_name_version_kind_and_record(change: dict[str, object]) -> None:
    changed = make_snapshot(replace(ALPHA, **change))  # type: ignore[arg-type]
    assert changed.compute_digest() != make_snapshot(ALPHA).compute_digest()


def test_the_digest_is_over_python_up_to_its_minor_version() -> None:
    snapshot = make_snapshot(ALPHA)
    patch = replace(snapshot, interpreter=replace(PYTHON, version="3.11.9"))
    minor = replace(snapshot, interpreter=replace(PYTHON, version="3.12.1"))
    assert patch.compute_digest() == snapshot.compute_digest() != minor.compute_digest()


GOOD = format_snapshot(make_snapshot(ALPHA))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (GOOD + "beta>=2\n", "line 13: `beta>=2` is not `name==version`"),
        (GOOD + f"alpha==1.0 --hash={HASH}\n", "line 13: `alpha` stands twice"),
        (GOOD + "beta==2.0\n", "line 13: `beta` has no hash, though others have: installers demand all or none"),
        (
            GOOD + "beta==2.0 --hash=sha256:abc\n",
            "line 13: `sha256:abc` is not a sha256 hash (`sha256:` and 64 hexadecimal digits)",
        ),
        (GOOD + f"beta==x --hash={HASH}\n", "line 13: `x` is not a version"),
        (GOOD + "-r other.txt\n", "line 13: `-r other.txt` is not `name==version`"),
        (GOOD + '# repro: {"kind": "odd", "name": "b", "version": "1"}\n', "line 13: unknown kind `odd`"),
    ],
)
def test_every_fault_is_named_with_its_line(text: str, fault: str) -> None:
    with pytest.raises(InvalidSnapshotError) as caught:
        parse_snapshot(text)
    assert caught.value.details == (fault,)


def test_the_digest_is_over_the_commit_of_a_repository() -> None:
    at = [Vcs(vcs="git", url="https://e.org/x", commit=commit) for commit in (COMMIT, "f" * 40)]
    first, second = (make_snapshot(replace(ALPHA, hashes=(), source=source)).compute_digest() for source in at)
    assert first != second


VCS_NOTE = f'"kind": "vcs", "vcs": "git", "commit": "{COMMIT}"'


@pytest.mark.parametrize(
    ("note", "fault"),
    [
        (f'{VCS_NOTE}, "url": "https://evil.example.org/x"', "`beta==2.0` is of an index, but its note says `vcs`"),
        ('"kind": "archive", "url": "https://evil.example.org/x"', "of an index, but its note says `archive`"),
        ('"kind": "system"', "`beta==2.0` is of an index, but its note says `system`"),
        ('"proof": []', "unknown proof `[]`"),
        ('"record": "sha256:no"', "`record` is `sha256:no`, not a sha256 hash"),
        ('"reason": "\\u001b[2J"', "it has a control character: '\\x1b[2J'"),
        ('"reason": "\\ud800"', "it has a control character: '\\ud800'"),
        ('"via": ["x\\n"]', "it has a control character: 'x\\n'"),
        ('"index": "https://e.org/a --extra-index-url https://evil.example.org"', "is no URL: it has spaces"),
        ('"x": ' + "[" * 100_000, "the note is not valid JSON (it is nested too deeply)"),
    ],
)
def test_a_note_cannot_lead_elsewhere_than_its_line(note: str, fault: str) -> None:
    with pytest.raises(InvalidSnapshotError) as caught:
        parse_snapshot(f"{GOOD}beta==2.0 --hash={HASH}\n# repro: {{{note}}}\n")
    (detail,) = caught.value.details
    assert fault in detail


@pytest.mark.parametrize(
    ("line", "note"),
    [
        ("beta @ https://e.org/b.whl", '"kind": "archive", "url": "https://evil.example.org/b.whl", "version": "1"'),
        ("beta @ https://e.org/b.whl", '"kind": "index", "version": "1"'),
        ("beta @ 1.0", '"kind": "index", "version": "1"'),
    ],
)
def test_a_line_with_a_url_is_the_archive_that_its_note_says(line: str, note: str) -> None:
    with pytest.raises(InvalidSnapshotError) as caught:
        parse_snapshot(f"{GOOD}{line} --hash={HASH}\n# repro: {{{note}}}\n")
    assert "the note of `beta` does not say that it is the archive" in caught.value.details[0]


@pytest.mark.parametrize(
    ("note", "fault"),
    [
        (f'{VCS_NOTE}, "url": "https://e.org/x\\n-r evil.txt"', "it has a control character"),
        (f'{VCS_NOTE}, "url": "https://e.org/x -r evil.txt"', "is no URL"),
        (VCS_NOTE.replace(COMMIT, "a b"), "`a b` is no commit"),
        (VCS_NOTE.replace(COMMIT, "--upload-pack=evil"), "`--upload-pack=evil` is no commit"),
        (f'{VCS_NOTE}, "subdirectory": "../x"', "leads out of the repository"),
        ('"kind": "vcs", "vcs": "magic", "commit": "1"', "is no version control that is known"),
        ('"kind": "local", "kept": true, "hashes": ["sha256:../../x"]', "not a sha256 hash"),
    ],
)
def test_what_a_comment_names_can_stand_in_a_line_of_requirements(note: str, fault: str) -> None:
    with pytest.raises(InvalidSnapshotError) as caught:
        parse_snapshot(f'{GOOD}# repro: {{{note}, "name": "mine", "version": "1"}}\n')
    assert fault in caught.value.details[0]


def test_a_comment_cannot_name_a_distribution_by_a_requirement() -> None:
    with pytest.raises(InvalidSnapshotError) as caught:
        parse_snapshot(f'{GOOD}# repro: {{"kind": "local", "name": "x @ https://e.org/x", "version": "1"}}\n')
    assert "`x @ https://e.org/x` is no name of a distribution" in caught.value.details[0]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"version": "3.11.7"', '"version": 3'),
        ('"version": "3.11.7"', '"version": "/x.y"'),
        ('"version": "3.11.7"', '"version": "**"'),
        ('"version": "3.11.7"', '"version": ""'),
        ('"version": "3.11.7"', '"version": "3"'),
        ('"abi": "cp311"', '"abi": null'),
        ('"abi": "cp311"', '"abi": "../x"'),
        ('"implementation": "cpython"', '"implementation": ["cpython"]'),
        ('"platform": "linux-x86_64"', '"platform": 5'),
        ('"libc": "glibc 2.36"', '"libc": {}'),
        ("repro-platform: {", "repro-platform: [{"),
        ("repro-platform:", "repro-other:"),
        ("repro-tool: repro 0.1.0", 'repro-index: ["https://e.org https://evil.example.org"]'),
        ("repro-tool: repro 0.1.0", 'repro-index: ["https://e.org\\u0000"]'),
        ("repro-tool: repro 0.1.0", "repro-index: " + "[" * 100_000),
    ],
)
def test_a_header_of_another_shape_is_refused(old: str, new: str) -> None:
    assert old in GOOD
    with pytest.raises(InvalidSnapshotError, match="has no readable"):
        parse_snapshot(GOOD.replace(old, new))


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(InvalidSnapshotError) as caught:
        parse_snapshot(GOOD + "beta>=2\ngamma\n")
    assert len(caught.value.details) == 2


def test_an_unknown_format_version_is_refused() -> None:
    with pytest.raises(InvalidSnapshotError, match="has lock format `9`; this repro reads format 1"):
        parse_snapshot(GOOD.replace("repro-lock: 1", "repro-lock: 9"))


@given(snapshots())
def test_hashes_read_at_once_and_one_by_one_are_the_same(snapshot: Snapshot) -> None:
    text = format_snapshot(snapshot)
    one_line = text.replace(" \\\n    --hash=", "  --hash=")
    tabbed = text.replace(" \\\n    --hash=", " \\\n\t --hash=")
    assert parse_snapshot(one_line) == parse_snapshot(tabbed) == parse_snapshot(text)


@pytest.mark.parametrize(
    "damaged",
    [
        HASH.replace("a", "A"),
        HASH.replace("a", "g"),
        HASH[:-1],
        HASH + "a",
        HASH[:-2] + " a",
        HASH[:-1] + "ä",
        HASH[:-1] + "\u0661",
        "a" * 30 + "sha256:" + "a" * 34,
        "sha256:" + "sha256:" + "a" * 57,
        "sha512:" + "a" * 64,
    ],
)
@pytest.mark.parametrize("place", [0, 1])
def test_a_damaged_hash_is_found_among_good_ones(damaged: str, place: int) -> None:
    good = [HASH, "sha256:" + "b" * 64]
    lines = [*good[:place], damaged, *good[place:]]
    with pytest.raises(InvalidSnapshotError) as caught:
        parse_snapshot(GOOD + " \\\n    --hash=".join(["beta==2.0", *lines]) + "\n")
    (fault,) = caught.value.details
    assert fault.startswith("line 13: ")
    assert "is not a sha256 hash" in fault


def test_lines_are_counted_through_continued_ones_and_a_comment_is_not_continued() -> None:
    text = GOOD + f"# a comment \\\n# another \\\nbeta==2.0 \\\n    --hash={HASH} \\\n    --hash={HASH}\ngamma>=1\n"
    with pytest.raises(InvalidSnapshotError) as caught:
        parse_snapshot(text)
    assert caught.value.details == ("line 18: `gamma>=1` is not `name==version`",)


@pytest.mark.parametrize("options", [" --no-deps", f" --no-deps \\\n    --hash={HASH}", f" \\\n    --hash={HASH} --x"])
def test_an_unknown_option_is_named(options: str) -> None:
    with pytest.raises(InvalidSnapshotError) as caught:
        parse_snapshot(GOOD + f"beta==2.0{options}\n")
    assert "line 13: unknown option `--" in caught.value.details[0]


@given(st.text("al=-#\\\n\x1f \tsh:0.{}@", max_size=60))
def test_any_text_is_read_or_refused(tail: str) -> None:
    with suppress(InvalidSnapshotError):
        assert parse_snapshot(GOOD + tail).distributions
