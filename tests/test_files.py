"""Files are written where a user meant them."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from repro.files import make_directory, overwrite


def test_a_new_file_has_the_mode_that_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        overwrite(tmp_path / "new", "text")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o640])
def test_a_file_that_is_written_again_keeps_its_mode(mode: int, tmp_path: Path) -> None:
    place = tmp_path / "lock"
    place.write_text("old")
    place.chmod(mode)
    overwrite(place, "new")
    assert (place.read_text(), stat.S_IMODE(place.stat().st_mode)) == ("new", mode)
    assert not list(tmp_path.glob(".*"))


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    place = tmp_path / "shared" / "lock"
    link = tmp_path / "lock"
    link.symlink_to(place)
    for text in ("first", "second"):  # a link to nothing yet, and one to a file
        overwrite(link, text)
        assert (link.is_symlink(), place.read_text()) == (True, text)


def test_a_pipe_is_written_into(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=overwrite, args=(pipe, "text"))
    writer.start()
    assert pipe.read_text() == "text"
    writer.join()
    assert stat.S_ISFIFO(pipe.lstat().st_mode)


def test_a_directory_below_a_file_is_the_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        make_directory(tmp_path / "file" / "a" / "b")
    with pytest.raises(FileExistsError):
        make_directory(tmp_path / "file")


def test_a_directory_where_none_can_be_made_is_the_error_of_the_system() -> None:
    with pytest.raises(FileNotFoundError):
        make_directory("/proc/repro/a/b")
