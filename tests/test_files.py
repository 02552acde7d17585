"""Files are written where a user meant them."""

from __future__ import annotations

import os
import stat
import threading
import time
from pathlib import Path

import pytest

from repro.files import hold_free_lock, hold_lock, make_directory, overwrite, remove_free_lock


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


def test_a_lock_that_is_removed_again_and_again_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    lock, holders, seen = tmp_path / "x.lock", [], []
    is_over = threading.Event()

    def hold_often() -> None:
        for _ in range(100):
            with hold_lock(lock):
                holders.append(1)
                seen.append(len(holders))
                time.sleep(0.0002)
                holders.pop()

    def remove_often() -> None:
        while not is_over.is_set():
            remove_free_lock(str(lock))

    threads = [threading.Thread(target=hold_often) for _ in range(4)]
    remover = threading.Thread(target=remove_often)
    for each in (*threads, remover):
        each.start()
    for each in threads:
        each.join()
    is_over.set()
    remover.join()
    assert seen == [1] * 400


def test_a_lock_that_somebody_holds_is_not_removed(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    with hold_free_lock(lock) as is_held:
        assert is_held
        assert not remove_free_lock(str(lock))
        assert lock.exists()
    assert remove_free_lock(str(lock))
    assert not lock.exists()


def test_a_directory_where_none_can_be_made_is_the_error_of_the_system() -> None:
    with pytest.raises(FileNotFoundError):
        make_directory("/proc/repro/a/b")
