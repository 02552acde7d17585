"""Which distributions own what was seen, and the used ring of a lock."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.errors import NotObservedError
from repro.formats.lockfile import Distribution, Snapshot
from repro.snapshots.attribution import attribute, name_module, sort_paths
from repro.snapshots.owners import Owner, find_roots, read_owner, resolve_paths
from repro.snapshots.probe import Found
from repro.snapshots.trace import Library, Process, Trace, parse_imports, parse_process, read_trace
from repro.snapshots.used import find_required, mark_used, select, select_used

SITE = "/env/lib/python3.11/site-packages"
STORAGE = Owner(
    name="google-storage", version="1.0", roots=(SITE,),
    rows=("google/storage/__init__.py", "google/storage/blob.cpython-311-x86_64-linux-gnu.so", "../../../bin/gs"),
)  # fmt: skip
AUTH = Owner(name="google-auth", version="2.0", roots=(SITE,), rows=("google/auth/__init__.py", "google/auth/old.pyc"))
OWNERS = (STORAGE, AUTH)


def find_used(trace: Trace, owners: tuple[Owner, ...] = OWNERS, roots: tuple[str, ...] = (SITE,)) -> list[str]:
    return sorted(attribute(trace, owners, roots).used)


@pytest.mark.parametrize(
    ("path", "used"),
    [
        (f"{SITE}/google/storage/__init__.py", ["google-storage"]),
        (f"{SITE}/google/storage/blob.cpython-311-x86_64-linux-gnu.so", ["google-storage"]),
        (f"{SITE}/google/auth/old.pyc", ["google-auth"]),
        (f"{SITE}/google/other/__init__.py", []),
        ("/elsewhere/google/auth/__init__.py", []),
        (f"{SITE}-more/google/auth/__init__.py", []),
        ("/env/bin/gs", []),
    ],
)
def test_a_file_is_its_owners_and_no_others(path: str, used: list[str]) -> None:
    assert find_used(Trace(paths=frozenset({path}))) == used


@pytest.mark.parametrize(
    ("name", "used"),
    [
        ("google", []),
        ("google.storage", ["google-storage"]),
        ("google.storage.blob", ["google-storage"]),
        ("google.auth.old", ["google-auth"]),
        ("google.auth.nothing", []),
        ("gs", []),
    ],
)
def test_a_name_is_looked_up_among_the_files_too(name: str, used: list[str]) -> None:
    assert find_used(Trace(names=frozenset({name}))) == used


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ("a.py", "a"),
        ("a/__init__.py", "a"),
        ("a/b.abi3.so", "a.b"),
        ("a/b.cpython-38-darwin.so", "a.b"),
        ("a/b.pyd", "a.b"),
        ("a/b.pyc", "a.b"),
        ("a/__pycache__/b.cpython-311.pyc", None),
        ("a/b.txt", None),
        ("a.libs/libx.so.1", None),
        ("../a.py", None),
        ("/abs/a.py", None),
        ("__init__.py", None),
    ],
)
def test_a_row_of_record_is_a_module(row: str, name: str | None) -> None:
    assert name_module(row) == name


def test_an_editable_owns_its_directory_but_not_an_environment_in_it() -> None:
    owner = Owner(name="mine", version="0", roots=(SITE,), directories=("/home/me/mine",))
    inner = "/home/me/mine/.venv/lib/python3.11/site-packages"
    assert find_used(Trace(paths=frozenset({"/home/me/mine/src/mine/a.py"})), (owner,)) == ["mine"]
    assert find_used(Trace(paths=frozenset({"/home/me/mine2/a.py"})), (owner,)) == []
    assert find_used(Trace(paths=frozenset({f"{inner}/x.py"})), (owner,), (SITE, inner)) == []


def test_without_record_the_top_level_name_is_all_there_is() -> None:
    owner = Owner(name="old", version="1", roots=(SITE,), modules=("old", "_old"))
    assert find_used(Trace(paths=frozenset({f"{SITE}/_old.cpython-311.so"})), (owner,)) == ["old"]
    assert find_used(Trace(paths=frozenset({f"{SITE}/older/__init__.py"})), (owner,)) == []
    assert find_used(Trace(names=frozenset({"old.part"})), (owner,)) == ["old"]


def test_a_loaded_library_is_used_and_has_an_owner() -> None:
    path = f"{SITE}/nvidia/cublas/lib/libcublas.so.12"
    owner = Owner(name="nvidia-cublas", version="12.4", roots=(SITE,), rows=("nvidia/cublas/lib/libcublas.so.12",))
    trace = Trace(processes=(Process(libraries=(Library(kind="cuda", path=path),)),))
    found = attribute(trace, (owner,), (SITE,))
    assert (found.used, found.library_owners) == (frozenset({"nvidia-cublas"}), {path: "nvidia-cublas==12.4"})


def test_the_longest_site_directory_wins() -> None:
    inside, outside = sort_paths(["/a/b/c.py", "/a/d.py", "/e.py"], ["/a", "/a/b"])
    assert (inside, outside) == ({"/a/b": {"c.py"}, "/a": {"d.py"}}, {"/e.py"})


def make_found(site: Path, entry: str, **facts: object) -> Found:
    known: dict[str, object] = {
        "name": "Some.Name", "version": "1", "requires": (), "record": None, "installer": None, "requested": False,
        "direct_url": None,
    }  # fmt: skip
    return Found(site=str(site), entry=entry, **{**known, **facts})  # type: ignore[arg-type]


def test_owners_are_read_from_what_lies_in_the_site_directory(tmp_path: Path) -> None:
    site = tmp_path / "site-packages"
    info = site / "x.dist-info"
    info.mkdir(parents=True)
    (info / "RECORD").write_text('a.py,sha256=x,1\n"b,c.py",,\n')
    found = make_found(site, "x.dist-info", record="0" * 64)
    assert read_owner(found).rows == ("a.py", "b,c.py")
    assert read_owner(found).name == "some-name"
    (info / "top_level.txt").write_text("one\ntwo\n")
    assert read_owner(replace(found, record=None)).modules == ("one", "two")
    (info / "top_level.txt").unlink()
    assert read_owner(replace(found, record=None)).modules == ("some_name",)
    editable = '{"url": "file:///code/my%20project", "dir_info": {"editable": true}}'
    assert read_owner(replace(found, direct_url=editable)).directories == ("/code/my project",)
    for broken in ("{", "[]", '{"dir_info": {"editable": true}}', '{"dir_info": 3}'):
        assert read_owner(replace(found, direct_url=broken)).directories == ()


def test_a_working_copy_on_the_path_is_no_site_directory(tmp_path: Path) -> None:
    develop = make_found(tmp_path / "project", "x.egg-info")
    assert read_owner(develop).directories == (str(tmp_path / "project"),)
    assert find_roots([develop]) == ()


def test_a_prefix_has_more_names_than_two(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    real, link = str(tmp_path / "real"), str(tmp_path / "link")
    assert resolve_paths([f"{link}/a.py", f"{real}/b.py"], (real,)) == {f"{real}/a.py", f"{real}/b.py"}
    assert resolve_paths([f"{link}/a.py"], (link,)) == {f"{link}/a.py"}


def test_what_was_imported_is_read_process_by_process() -> None:
    text = "1\ta\n1\tb\n1\ta\t/s/a.py\n2\tb\n2\tb\t\n1\n3\tc\n\nhalf"
    assert parse_imports(text) == ({"/s/a.py"}, {"b", "c"})


def test_of_a_killed_process_only_the_last_names_count_without_a_file() -> None:
    text = "".join(f"1\tmissing{number}\n" for number in range(100))
    assert parse_imports(text)[1] == {f"missing{number}" for number in range(36, 100)}


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    parse_imports(text)
    parse_process(text)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=3),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                        st.sampled_from(["libraries", "variables", "torch", "path", "kind", "threads", "locale"]),
                        inner, max_size=4)))  # fmt: skip
def test_any_json_is_read(value: object) -> None:
    import json

    parse_process(json.dumps(value))


def test_what_a_script_puts_into_the_directory_is_not_trusted(tmp_path: Path) -> None:
    import os

    (tmp_path / "link.imports").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe.imports")
    (tmp_path / "directory.imports").mkdir()
    (tmp_path / "bytes.imports").write_bytes(b"\xff\xfe\t\x00")
    (tmp_path / "x.1").write_text("[[[")
    trace = read_trace(str(tmp_path))
    assert (trace.paths, trace.processes) == (frozenset(), ())
    assert read_trace(str(tmp_path / "gone")) == Trace()


def make_snapshot(**via: tuple[str, ...]) -> Snapshot:
    distributions = tuple(Distribution(name=name, version="1", via=via[name]) for name in sorted(via))
    return Snapshot(interpreter=None, distributions=distributions)


TREE = make_snapshot(app=(), lib=("app", "extra"), deep=("lib",), ring=("deep", "knot"), knot=("ring",), extra=())


@pytest.mark.parametrize(
    ("used", "required"),
    [
        ({"app"}, {"app", "lib", "deep", "ring", "knot"}),
        ({"deep"}, {"deep", "ring", "knot"}),
        ({"knot"}, {"ring", "knot"}),
        (set(), set()),
        ({"gone"}, {"gone"}),
    ],
)
def test_the_ring_is_what_is_used_and_all_it_requires(used: set[str], required: set[str]) -> None:
    assert find_required(TREE.distributions, frozenset(used)) == required


def test_a_selected_lock_is_as_if_nothing_else_had_been_installed() -> None:
    chosen = select(TREE, frozenset({"lib"}))
    assert [(each.name, each.via) for each in chosen.distributions] == [
        ("deep", ("lib",)), ("knot", ("ring",)), ("lib", ()), ("ring", ("deep", "knot"))
    ]  # fmt: skip


def test_marks_are_set_taken_away_and_asked_for() -> None:
    marked = mark_used(TREE, frozenset({"app", "gone"}))
    assert [each.name for each in marked.distributions if each.used] == ["app"]
    assert marked.compute_digest() == TREE.compute_digest()
    assert mark_used(marked, frozenset()) == TREE
    assert not any(each.used for each in select_used(marked, where="x").distributions)
    with pytest.raises(NotObservedError, match="`x` marks no distribution as used") as caught:
        select_used(TREE, where="x")
    assert "`repro run`" in str(caught.value.hint)
    assert caught.value.exit_code == 3


edges = st.dictionaries(
    st.sampled_from("abcdef"), st.sets(st.sampled_from("abcdef")).map(lambda via: tuple(sorted(via)))
)


@given(edges, st.sets(st.sampled_from("abcdef")))
def test_a_selection_is_closed_and_stable(via: dict[str, tuple[str, ...]], names: set[str]) -> None:
    snapshot = make_snapshot(**via)
    once = select(snapshot, frozenset(names))
    kept = {each.name for each in once.distributions}
    assert names & set(via) <= kept
    assert select(once, frozenset(kept)) == once
    for each in snapshot.distributions:
        assert each.name in kept or not kept & set(each.via)
