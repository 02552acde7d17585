"""Open real zips, here and behind a real server; hostile ones leave nothing."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from repositories import GitServer
from servers import Answer, serve

from repro.environments.machine import Machine
from repro.errors import ProjectError, ReproError, UsageError
from repro.projects import archive
from repro.projects.archive import Unpacked, open_archive
from repro.projects.location import ZipLocation, parse_location


def write_zip(path: Path, **files: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, text in files.items():
            made.writestr(name.replace("__", "/").replace("_py", ".py"), text)
    return path


@contextmanager
def open_zip(uri: object, cache: Path, *, offline: bool = False, said: list[str] | None = None) -> Iterator[Unpacked]:
    location = parse_location(str(uri))
    assert isinstance(location, ZipLocation)
    machine = Machine.here(cache=str(cache), report=(said if said is not None else []).append)
    with open_archive(machine, location, offline=offline) as unpacked:
        yield unpacked


def refuse(uri: object, cache: Path) -> ReproError:
    """Open a zip, which fails, and see that nothing of it is anywhere."""
    with pytest.raises(ReproError) as caught, open_zip(uri, cache):
        pass
    left = [path for room in ("checkouts", "tmp") for path in (cache / "repro" / "v1" / room).rglob("*")]
    assert [path for path in left if path.is_file()] == []
    return caught.value


def test_a_zip_is_unpacked_once_and_taken_as_it_was(tmp_path: Path, cache: Path) -> None:
    path = write_zip(tmp_path / "x.zip", train_py="print(1)\n", sub__a_py="", run="#!/bin/sh\n")
    said: list[str] = []
    with open_zip(path, cache, said=said) as unpacked:
        root = unpacked.root
        assert unpacked.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert (root / "train.py").read_text() == "print(1)\n"
        (root / "__pycache__").mkdir()
        (root / "__pycache__" / "left.pyc").touch()
    with open_zip(path, cache, said=said) as unpacked:
        assert unpacked.root == root
        assert sorted(each.name for each in root.iterdir()) == ["run", "sub", "train.py"]
        (root / "train.py").write_text("print(2)\n")
    assert said == []
    with open_zip(path, cache, said=said) as unpacked:
        assert (unpacked.root / "train.py").read_text() == "print(1)\n"
    assert said == [f"making `{root.parent}` anew: it was edited there"]


def test_two_runs_at_once_have_a_tree_each(tmp_path: Path, cache: Path) -> None:
    path = write_zip(tmp_path / "x.zip", train_py="")
    with open_zip(path, cache) as one, open_zip(path, cache) as two:
        assert one.root != two.root


def test_modes_are_those_of_programs_and_of_files(tmp_path: Path, cache: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as made:
        for name, mode in (("go.sh", 0o100777), ("all.txt", 0o100666), ("set", 0o104755)):
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            made.writestr(info, "x")
    with open_zip(tmp_path / "x.zip", cache) as unpacked:
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in unpacked.root.iterdir()}
    assert modes == {"go.sh": 0o755, "all.txt": 0o644, "set": 0o755}


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("../x", "leads out of the project"),
        ("a/../../x", "leads out of the project"),
        ("/etc/x", "is absolute"),
        ("C:/x", "names a drive"),
        ("a\\b", "has a backslash"),
        ("a\x1b[2J", "has a control character"),
        (".git/config", "is of a repository"),
        ("sub/.GIT/config", "is of a repository"),
        ("train.py/x", "lies in a file"),
        ("TRAIN.py", "is the same name as `train.py` on some systems"),
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(name: str, fault: str, tmp_path: Path, cache: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as made:
        made.writestr("train.py", "print(1)\n")
        made.writestr(name, "x")
    before = sorted(tmp_path.rglob("*"))
    error = refuse(tmp_path / "x.zip", cache)
    assert isinstance(error, ProjectError)
    assert error.message == f"`{tmp_path / 'x.zip'}` is no zip that can be trusted: 1 fault(s)"
    assert fault in error.details[0]
    assert [path for path in sorted(tmp_path.rglob("*")) if path not in before and cache not in path.parents] in (
        [], [cache],
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_links_devices_twins_and_bombs_are_refused(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "x.zip"
    for mode, fault in (
        (stat.S_IFLNK, "is a symbolic link"),
        (stat.S_IFIFO, "is a pipe"),
        (stat.S_IFBLK, "is a device"),
    ):
        with zipfile.ZipFile(path, "w") as made:
            info = zipfile.ZipInfo("x")
            info.external_attr = (mode | 0o777) << 16
            made.writestr(info, "/etc/passwd")
        assert fault in refuse(path, cache).details[0]
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("x", "1")
        made.writestr("x", "2")
    assert "stands twice" in refuse(path, cache).details[0]
    write_zip(path, x="x" * 100, y="y" * 100)
    content = bytearray(path.read_bytes())
    for entry in (content.index(b"PK\x01\x02"), content.rindex(b"PK\x01\x02")):
        content[entry + 24 : entry + 28] = struct.pack("<L", 0xFFFFFFF0)
    path.write_bytes(content)
    assert refuse(path, cache).details == ("it unpacks to 8589934560 bytes, more than 4294967296",)


def test_what_is_larger_than_it_says_is_cut_off(tmp_path: Path, cache: Path) -> None:
    path = write_zip(tmp_path / "x.zip", x="x" * 100_000)
    content = path.read_bytes()
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = content.index(mark) + offset
        content = content[:at] + struct.pack("<L", 10) + content[at + 4 :]
    path.write_bytes(content)
    assert refuse(path, cache).message.startswith(f"`{path}` is no zip, or it is damaged or cut off")


def test_sizes_are_bounded(tmp_path: Path, cache: Path, git_server: GitServer, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_zip(git_server.root / "x.zip", x=os.urandom(5000).hex(), y="y" * 20_000)
    monkeypatch.setattr(archive, "MAX_UNPACKED_BYTES", 20_000)
    assert refuse(path, cache).details == ("it unpacks to 30000 bytes, more than 20000",)
    monkeypatch.setattr(archive, "MAX_BYTES", 1000)
    assert "bytes, more than 1000" in refuse(path, cache).message
    assert refuse(f"{git_server.url}/x.zip", cache).message == "the zip has more than 1000 bytes"
    assert list((cache / "repro" / "v1" / "archives").iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x05\x06" + bytes(10)])
def test_what_is_no_zip_is_said(content: bytes, tmp_path: Path, cache: Path) -> None:
    (tmp_path / "x.zip").write_bytes(content)
    assert "is no zip, or it is damaged or cut off" in refuse(tmp_path / "x.zip", cache).message


def test_a_zip_behind_a_server_is_fetched_and_runs_offline_later(cache: Path, git_server: GitServer) -> None:
    write_zip(git_server.root / "x.zip", train_py="print(1)\n")
    git_server.login = "ada:secret"
    uri = f"http://ada:secret@{git_server.host}/x.zip"
    said: list[str] = []
    with (
        pytest.raises(UsageError, match=r"offline, and `http://127.* is not in the cache"),
        open_zip(uri, cache, offline=True),
    ):
        pass
    with open_zip(uri, cache, said=said) as unpacked:
        root = unpacked.root
    asked = len(git_server.paths)
    with open_zip(uri, cache, offline=True) as unpacked:
        assert unpacked.root == root
        (root / "train.py").write_text("")
    with open_zip(uri, cache, offline=True) as unpacked:
        assert (unpacked.root / "train.py").read_text() == "print(1)\n"
    assert len(git_server.paths) == asked
    assert said == [f"fetching {git_server.url}/x.zip"]
    kept = [path for path in cache.rglob("*") if path.is_file() and b"secret" in path.read_bytes()]
    assert kept == []
    write_zip(git_server.root / "x.zip", train_py="print(2)\n")
    with open_zip(uri, cache) as unpacked:
        assert (unpacked.root / "train.py").read_text() == "print(2)\n"
        sha256 = unpacked.sha256
    git_server.server.shutdown()
    git_server.server.server_close()
    with pytest.raises(ReproError, match="cannot be reached") as caught, open_zip(uri, cache):
        pass
    assert caught.value.hint == f"`--offline` runs the zip {sha256[:12]}, which it was when it was last fetched"


def test_a_zip_that_is_not_there_is_one_sentence_without_its_key(cache: Path, git_server: GitServer) -> None:
    error = refuse(f"{git_server.url}/gone.zip?key=secret", cache)
    assert error.message == f"`{git_server.url}/gone.zip` cannot be fetched (HTTP 404)"
    git_server.server.shutdown()
    git_server.server.server_close()
    assert (
        f"`{git_server.url}/gone.zip` cannot be reached"
        in refuse(f"{git_server.url}/gone.zip?key=secret", cache).message
    )


def test_a_zip_that_is_cut_off_on_its_way_is_not_taken(tmp_path: Path, cache: Path) -> None:
    content = write_zip(tmp_path / "x.zip", train_py="print(1)\n").read_bytes()
    with serve(lambda request: Answer(body=content[:50], length=len(content))) as server:
        error = refuse(f"http://{server.host}/x.zip", cache)
    assert "cannot be reached" in error.message
    assert list((cache / "repro" / "v1" / "archives").iterdir()) == []
