from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.environments.wheel_zip import Wheel, WheelZip

NAMES = st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="/\\:"), min_size=1, max_size=12)


def write_zip(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)


@given(members=st.dictionaries(NAMES, st.binary(max_size=5000), max_size=6), is_deflated=st.booleans())
def test_what_is_read_is_what_zipfile_reads(
    tmp_path_factory: pytest.TempPathFactory, members: dict[str, bytes], is_deflated: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "members.zip"
    write_zip(path, members, zipfile.ZIP_DEFLATED if is_deflated else zipfile.ZIP_STORED)
    with zipfile.ZipFile(path) as plain, WheelZip(path) as ours:
        assert [each.filename for each in ours.infolist()] == [each.filename for each in plain.infolist()]
        for info in ours.infolist():
            assert ours.read(info) == plain.read(info.filename)
            with ours.open(info) as stream:
                assert stream.read() == plain.read(info.filename)


def test_a_large_member_and_one_of_another_compression_are_read_as_streams(tmp_path: Path) -> None:
    large = bytes(17 << 20)
    write_zip(tmp_path / "large.zip", {"large": large})
    write_zip(tmp_path / "other.zip", {"other": b"other"}, zipfile.ZIP_BZIP2)
    with WheelZip(tmp_path / "large.zip") as file:
        assert file.read("large") == large
    with WheelZip(tmp_path / "other.zip") as file:
        assert file.read("other") == b"other"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"hello world", b"hello WORLD"),  # stored: the CRC is another one
        (b"PK\3\4", b"PK\3\5"),
        (b"\5\0\0\0name1", b"\5\0\0\0name2"),  # in the local header alone
    ],
)
def test_a_member_that_is_not_what_the_directory_says_is_refused(tmp_path: Path, before: bytes, after: bytes) -> None:
    path = tmp_path / "x.zip"
    write_zip(path, {"name1": b"hello world"}, zipfile.ZIP_STORED)
    content = path.read_bytes()
    assert before in content
    path.write_bytes(content.replace(before, after, 1))
    with WheelZip(path) as file, pytest.raises(zipfile.BadZipFile):
        file.read("name1")


def test_a_member_that_inflates_to_more_than_the_directory_says_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    write_zip(path, {"bomb": bytes(1 << 20)})
    content = path.read_bytes()
    size = (1 << 20).to_bytes(4, "little")
    assert content.count(size) == 2
    path.write_bytes(content.replace(size, (7).to_bytes(4, "little")))
    with WheelZip(path) as file, pytest.raises(zipfile.BadZipFile):
        file.read("bomb")


def test_bytecode_in_a_wheel_is_not_installed(tmp_path: Path) -> None:
    names = ["pack/__init__.py", "pack/__pycache__/x.cpython-310.pyc", "pack-1.0.dist-info/METADATA"]
    members = {
        **dict.fromkeys(names, b""),
        "pack-1.0.dist-info/RECORD": "".join(f"{name},,\n" for name in names).encode(),
    }
    write_zip(tmp_path / "pack-1.0-py3-none-any.whl", members)
    with WheelZip(tmp_path / "pack-1.0-py3-none-any.whl") as file:
        assert [each[0][0] for each in Wheel(file).get_contents()] == [names[0], names[2], "pack-1.0.dist-info/RECORD"]
