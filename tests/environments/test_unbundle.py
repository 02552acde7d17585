"""Bundles from strangers: each kind is refused with a sentence, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import stat
import struct
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Cli, make_wheel
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repro.environments.machine import Machine
from repro.environments.restore import Request, restore_environment
from repro.errors import InvalidSnapshotError, ReproError, RestoreError
from repro.files import sha256_file
from repro.formats.bundle import MAX_MEMBERS, MAX_TEXT_BYTES, Member, find_faults
from repro.formats.lockfile import Distribution, Snapshot, format_snapshot
from repro.snapshots.bundled import open_bundle

MANIFEST = {"bundle": 1, "contents": ["pylock.toml", "requirements-lock.txt", "wheels", "models"], "digest": "x"}
ALPHA, BETA = "wheels/alpha-1.0-py3-none-any.whl", "wheels/beta-2.0-py3-none-any.whl"
Members = dict[str, bytes]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Members:
    """The members of a good bundle of two distributions for this Python."""
    directory = tmp_path_factory.mktemp("wheels")
    wheels = [make_wheel(directory, "alpha", "1.0"), make_wheel(directory, "beta", "2.0")]
    machine = Machine.here(cache=str(tmp_path_factory.mktemp("probed")), environ=dict(os.environ))
    snapshot = Snapshot(
        interpreter=machine.make_finder().examine(sys.executable).interpreter,
        distributions=tuple(
            Distribution(name=each.name.split("-")[0], version=each.name.split("-")[1], hashes=(f"sha256:{sha}",))
            for each in wheels
            for sha in [sha256_file(each)]
        ),
    )
    return {
        "bundle.json": json.dumps(MANIFEST).encode(),
        "requirements-lock.txt": format_snapshot(snapshot).encode(),
        **{f"wheels/{each.name}": each.read_bytes() for each in wheels},
    }


def pack(
    members: Members | list[tuple[str, bytes]],
    *,
    method: int = zipfile.ZIP_STORED,
    modes: dict[str, int] | None = None,
    path: Path = Path("b.zip"),
) -> Path:
    """Write a zip of these members, whatever they are."""
    pairs = list(members.items()) if isinstance(members, dict) else members
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", method) as archive:
        warnings.simplefilter("ignore")  # a name twice
        for name, content in pairs:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            info.external_attr = (modes or {}).get(name, stat.S_IFREG | 0o644) << 16
            archive.writestr(info, content)
    return path


def patch(path: Path, name: str, *, central: int | None = None, local: int | None = None, value: bytes) -> None:
    """Overwrite bytes of a member's entry in the zip's directory, and in its own header (APPNOTE.TXT 4.3)."""
    content = bytearray(path.read_bytes())
    for signature, size, offset in ((b"PK\x01\x02", 46, central), (b"PK\x03\x04", 30, local)):
        at = content.find(signature)
        while offset is not None and at >= 0:
            if content[at + size :].startswith(name.encode()):
                content[at + offset : at + offset + len(value)] = value
            at = content.find(signature, at + 1)
    path.write_bytes(content)


def list_files(directory: Path) -> list[str]:
    """Return what a store holds but what it always does: its marker and what interpreters said."""
    own = {"repro-store.json", "CACHEDIR.TAG", "README.txt"}
    return [
        str(each)
        for each in directory.rglob("*")
        if (each.is_file() or each.is_symlink()) and each.name not in own and each.parent.name != "interpreters"
    ]


def refuse(path: Path, cache: Path) -> ReproError:
    """Restore a bundle, which fails, and see that nothing is anywhere that was not there before."""
    before = sorted(map(str, cache.parent.rglob("*")))
    with pytest.raises(ReproError) as caught:
        restore_environment(Machine.here(cache=str(cache)), Request(lock=path))
    assert list_files(cache) == []
    assert not list((cache / "repro" / "v1").glob("tmp/*"))
    outside = [each for each in map(str, cache.parent.rglob("*")) if not each.startswith(str(cache))]
    assert sorted(outside) == [each for each in before if not each.startswith(str(cache))]
    return caught.value


NAMES = {
    "/wheels/x.whl": "is absolute",
    "../x.whl": "leads out of the bundle",
    "wheels/../../x.whl": "leads out of the bundle",
    "models/./x": "leads out of the bundle",
    "wheels\\x.whl": "has a backslash",
    "C:/x.whl": "names a drive",
    "c:x.whl": "names a drive",
    "models//x": "has an empty part",
    "models/a\nb": "has a control character",
    "models/\x1b[2Jb": "has a control character",
    f"models/{'x' * 256}": "is too long",
    "x.txt": "is not of the layout, and `bundle.json` does not name it",
    "runs/0/x": "is not of the layout",
    "wheels": "is not of the layout",
    "wheels/deep/x-1-py3-none-any.whl": "is no wheel",
    "wheels/x.txt": "is no wheel",
    "wheels/.whl": "is no wheel",
    "bundle.json/x": "is no place for a file",
    ALPHA: "stands twice",
    ALPHA.upper(): "is the same name as `wheels/alpha-1.0-py3-none-any.whl` on some systems",
    "Models/A": "is not of the layout",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_no_bundle_has_is_refused(name: str, good: Members, cache: Path) -> None:
    error = refuse(pack([*good.items(), (name, b"x")]), cache)
    assert "`b.zip` is no bundle that can be trusted" in error.message
    assert NAMES[name] in "\n".join(error.details)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("models/a", "models/A"),
        ("models/\u00e9", "models/e\u0301"),
        ("models/\ufb01", "models/fi"),
        ("models/x", "models/x/"),
    ],
)
def test_names_that_some_system_cannot_tell_apart_are_refused(
    first: str, second: str, good: Members, cache: Path
) -> None:
    error = refuse(pack([*good.items(), (first, b"x"), (second, b"")]), cache)
    assert "is the same name as" in error.details[0]


def test_a_name_that_ends_at_a_nul_is_refused(good: Members, cache: Path) -> None:
    path = pack({**good, "models/x_/../../y": b"x"})
    patch(path, "models/x_/../../y", central=46, local=30, value=b"models/x\0")
    assert "has a control character" in refuse(path, cache).details[0]


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (stat.S_IFLNK, "a symbolic link"), (stat.S_IFCHR, "a device"), (stat.S_IFBLK, "a device"),
        (stat.S_IFIFO, "a pipe"), (stat.S_IFSOCK, "a socket"), (stat.S_IFDIR, "no file"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", [ALPHA, "models/x"])
def test_what_is_no_plain_file_is_refused(kind: int, what: str, name: str, good: Members, cache: Path) -> None:
    error = refuse(pack({**good, "models/x": b"/etc/passwd"}, modes={name: kind | 0o777}), cache)
    assert error.details == (f"`{name}` is {what}",)


def test_an_encrypted_member_is_refused(good: Members, cache: Path) -> None:
    path = pack(good)
    patch(path, ALPHA, central=8, local=6, value=b"\x01\x00")
    assert refuse(path, cache).details == (f"`{ALPHA}` is encrypted",)


def test_a_method_that_is_not_read_is_refused(good: Members, cache: Path) -> None:
    error = refuse(pack(good, method=zipfile.ZIP_LZMA), cache)
    assert error.details[0] == "`bundle.json` is packed by method 14; stored and deflated members are read"


def test_a_bomb_that_says_how_large_it_is_is_refused_unread(good: Members, cache: Path) -> None:
    path = pack({**good, ALPHA: bytes(64 << 20)}, method=zipfile.ZIP_DEFLATED)
    assert f"`{ALPHA}` says it grows from " in refuse(path, cache).details[0]


@pytest.mark.parametrize("name", [ALPHA, "requirements-lock.txt", "bundle.json"])
def test_a_bomb_that_says_it_is_small_is_stopped_where_it_said_it_ends(name: str, good: Members, cache: Path) -> None:
    path = pack({**good, name: bytes(64 << 20)}, method=zipfile.ZIP_DEFLATED)
    patch(path, name, central=24, local=22, value=struct.pack("<I", 1000))
    assert "`b.zip` is no zip, or it is damaged or cut off" in refuse(path, cache).message


def test_a_member_that_says_it_is_larger_than_it_is_is_refused(good: Members, cache: Path) -> None:
    path = pack(good, method=zipfile.ZIP_DEFLATED)
    patch(path, ALPHA, central=24, local=22, value=struct.pack("<I", 5000))
    assert "is damaged or cut off" in refuse(path, cache).message


def test_members_that_share_their_bytes_are_refused(good: Members, cache: Path) -> None:
    path = pack({**good, "models/x": b"x"})
    patch(path, "models/x", central=42, value=bytes(4))
    assert refuse(path, cache).details == ("`models/x` lies within `bundle.json`",)


def test_what_only_the_directory_of_a_zip_can_say_is_bounded() -> None:
    def member(name: str, size: int = 1, offset: int = 0) -> Member:
        return Member(
            name=name, size_bytes=size, packed_bytes=size, offset=offset, mode=0, is_encrypted=False, method=0
        )

    whole = MAX_TEXT_BYTES * 2
    both = [member("bundle.json"), member("requirements-lock.txt", MAX_TEXT_BYTES + 1, 1)]
    assert list(find_faults(both, whole)) == [
        f"`requirements-lock.txt` has {MAX_TEXT_BYTES + 1} bytes, more than {MAX_TEXT_BYTES}"
    ]
    assert next(find_faults([member("x", 5000)], 100)) == "`x` is larger than the whole zip"
    many = [member(f"models/{number}") for number in range(MAX_MEMBERS + 1)]
    assert list(find_faults(many, whole)) == [f"it has {MAX_MEMBERS + 1} members, more than {MAX_MEMBERS}"]


def test_a_damaged_wheel_is_refused_by_its_crc(good: Members, cache: Path) -> None:
    path = pack(good)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"VERSION = '2.0'", b"VERSION = '6.6'"))
    assert "Bad CRC-32" in refuse(path, cache).message


def test_a_changed_wheel_is_refused_by_its_sha256_and_those_before_it_are_not_kept(good: Members, cache: Path) -> None:
    error = refuse(pack({**good, BETA: good[BETA] + b"\n"}), cache)
    assert error.message == f"`{BETA}` of `b.zip` has another sha256 than its lock says"


def test_the_wheel_of_another_entry_is_refused(good: Members, cache: Path) -> None:
    assert "has another sha256" in refuse(pack({**good, ALPHA: good[BETA], BETA: good[ALPHA]}), cache).message


def test_wheels_that_are_not_of_the_lock_or_not_there_are_named_together(good: Members, cache: Path) -> None:
    members = {name: content for name, content in good.items() if name != ALPHA}
    error = refuse(pack({**members, "wheels/x-1-py3-none-any.whl": b"x", "wheels/y.whl": b"y"}), cache)
    assert error.message == "`b.zip` does not hold the wheels of its lock"
    assert error.details == (
        "`wheels/x-1-py3-none-any.whl` is no wheel of its lock",
        "`wheels/y.whl` is no wheel of its lock",
        "there is no wheel of alpha 1.0",
    )


def test_wheels_that_do_not_fit_are_named_before_one_is_taken(good: Members, cache: Path) -> None:
    members = {name.replace("alpha-1.0-py3", "alpha-1.0-cp27"): content for name, content in good.items()}
    error = refuse(pack(members), cache)
    assert isinstance(error, RestoreError)
    assert "1 wheel(s) of `b.zip` do not fit Python 3." in error.message
    assert error.details == ("alpha-1.0-cp27-none-any.whl",)


@pytest.mark.parametrize(
    ("manifest", "sentence"),
    [
        (b"{", "`bundle.json` is not valid JSON"),
        (b"[" * 200_000, "`bundle.json` is not valid JSON"),
        (b"\xff\xfe\xff", "`bundle.json` is not valid JSON"),
        (b"[]", "`bundle.json` has no `bundle`, the version of its format"),
        (b'{"bundle": 2}', "its format is `2`; this repro reads format 1"),
        (b'{"bundle": true}', "its format is `True`; this repro reads format 1"),
        (b'{"bundle": 1, "contents": {"x": 1}}', "`contents` is no list of texts"),
        (b'{"bundle": 1, "digest": 1}', "`digest` of `bundle.json` is no text"),
    ],
)
def test_a_bundle_of_another_format_is_told(manifest: bytes, sentence: str, good: Members, cache: Path) -> None:
    error = refuse(pack({**good, "bundle.json": manifest}), cache)
    assert f"`b.zip` is no bundle that can be read: {sentence}" in error.message


@pytest.mark.parametrize("name", ["bundle.json", "requirements-lock.txt"])
def test_a_zip_that_is_no_bundle_is_told(name: str, good: Members, cache: Path) -> None:
    error = refuse(pack({each: content for each, content in good.items() if each != name}), cache)
    assert f"there is no `{name}` in it" in "\n".join([error.message, *error.details])


def test_a_lock_that_cannot_be_read_is_told_with_its_lines(good: Members, cache: Path) -> None:
    lock = good["requirements-lock.txt"] + b"--index-url=https://example.org/evil\n"
    error = refuse(pack({**good, "requirements-lock.txt": lock}), cache)
    assert isinstance(error, InvalidSnapshotError)
    assert "is not `name==version`" in error.details[0]


@pytest.mark.parametrize("content", [b"", b"PK", b"garbage" * 1000, b"PK\x05\x06" + bytes(18)])
def test_garbage_is_told(content: bytes, cache: Path) -> None:
    Path("b.zip").write_bytes(content)
    error = refuse(Path("b.zip"), cache)
    assert "`b.zip` is no" in error.message


def test_a_zip_cut_off_anywhere_is_told(good: Members, cache: Path) -> None:
    whole = pack(good).read_bytes()
    for size in range(0, len(whole) - 1, len(whole) // 25):
        Path("b.zip").write_bytes(whole[:size])
        assert "damaged or cut off" in refuse(Path("b.zip"), cache).message


def test_a_good_bundle_that_another_tool_packed_again_is_restored(good: Members, cache: Path) -> None:
    packed = pack(
        [("models/", b""), ("models/x", b"left alone"), ("wheels/", b""), *good.items()], method=zipfile.ZIP_DEFLATED
    )
    made = restore_environment(Machine.here(cache=str(cache)), Request(lock=packed))
    assert sorted(each.name for each in Path(made.path).glob("lib/python*/site-packages/*.py"))[:1] == ["alpha.py"]
    assert not list(cache.rglob("x"))
    assert restore_environment(Machine.here(cache=str(cache)), Request(lock=packed)).reused


def test_a_bundle_is_restored_from_wheels_that_are_there_without_taking_them_again(good: Members, cache: Path) -> None:
    said: list[str] = []
    machine = Machine.here(cache=str(cache), report=said.append)
    made = restore_environment(machine, Request(lock=pack(good)))
    os.chmod(Path(made.path).parent, 0o755)
    os.chmod(made.path, 0o755)
    Path(made.path, "repro-environment").unlink()
    assert not restore_environment(machine, Request(lock=Path("b.zip"))).reused
    assert said.count("checking 2 wheels of b.zip") == 1


def test_a_bundle_that_was_replaced_is_not_found_by_its_name(good: Members, cli: Cli) -> None:
    cli("restore", str(pack(good)))
    cli("restore", "b.zip")
    before = Path("b.zip").stat()
    pack({**good, ALPHA: good[ALPHA][:-1] + b"x", "requirements-lock.txt": good["requirements-lock.txt"][:-1] + b"#"})
    os.utime("b.zip", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert Path("b.zip").stat().st_size == before.st_size
    cli("restore", "b.zip", code=3)


@pytest.mark.parametrize(
    ("make", "code", "sentence"),
    [
        (lambda path: None, 3, "there is no bundle at `b.zip`"),
        (lambda path: path.write_bytes(b"x"), 3, "`b.zip` is no zip, or it is damaged or cut off"),
        (lambda path: path.mkdir(), 3, "there is no snapshot at `b.zip/requirements-lock.txt`"),
    ],
)
@pytest.mark.parametrize("command", ["restore", "status"])
def test_each_command_tells_what_is_wrong_with_a_zip(
    command: str, make: Callable[[Path], None], code: int, sentence: str, cli: Cli
) -> None:
    make(Path("b.zip"))
    assert sentence in cli(command, "b.zip", code=code).stderr


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(min_value=0), value=st.binary(min_size=1, max_size=8))
def test_damage_anywhere_is_told_or_changes_no_content(at: int, value: bytes, good: Members) -> None:
    whole = bytearray(pack(good).read_bytes())
    place = at % len(whole)
    whole[place : place + len(value)] = value
    Path("b.zip").write_bytes(whole)
    try:
        with open_bundle(Path("b.zip")) as bundle:
            found = {each.name: b"".join(bundle.read_blocks(each)) for each in bundle.members}
    except ReproError:
        return
    assert {found[name] == content for name, content in good.items() if name in found} == {True}
