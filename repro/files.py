"""Write files so that a reader sees the old or the new one, lock, and remove.

The only place that replaces files, takes file locks and deletes trees.
"""

from __future__ import annotations

import os
import stat
from _thread import get_ident as _get_thread_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import contextmanager as contextmanager  # noqa: PLC0414 # for those who take it from here
    from typing import Any, BinaryIO
else:

    def contextmanager(function: Callable[..., Any]) -> Callable[..., Any]:
        """contextlib's, imported at the first use: a look-up has none, and importing it takes a tenth of its time."""

        def begin(*args: Any, **options: Any) -> Any:
            import contextlib

            return contextlib.contextmanager(function)(*args, **options)

        return begin


BLOCK_BYTES = 1 << 20
_held: set[tuple[int, int, str]] = set()  # the directories that are locked: by which process and thread
SETTLED = "settled"
"""Instead of a boot: what was written is known to be on the disk, for it was read after another start.

With a boot behind it, that is when it was last looked at (see `settle`).
"""
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


def new_nonce() -> str:
    """Return 8 random hexadecimal digits, for a name nobody else uses."""
    return os.urandom(4).hex()


def _make_one(path: str) -> None:
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        if not os.path.isdir(path):
            raise


def make_directory(path: str | os.PathLike[str]) -> None:
    """Make a directory, and those above it, that nobody else can write into, whatever the umask.

    One that is there stays as it is. Raises OSError.
    """
    target = os.fspath(path)
    try:
        _make_one(target)
    except FileNotFoundError:
        make_directory(os.path.dirname(target) or ".")
        _make_one(target)


@contextmanager
def open_directory(path: str | os.PathLike[str]) -> Iterator[int]:
    """Yield a descriptor of a directory: names below it cost the kernel less than whole paths. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def write_atomically(
    path: str | os.PathLike[str], content: str | bytes, *, keep_mode: int | None = None, durable: bool = True
) -> None:
    """Write `content` beside `path`, sync it, and move it into place.

    A reader sees the old file or the whole new one, also after a power cut, unless it need not be `durable`.
    `keep_mode` is the mode it has whatever the umask. Raises OSError.
    """
    target = os.fspath(path)
    payload = content.encode() if isinstance(content, str) else content
    temporary = os.path.join(os.path.dirname(target), f".{new_nonce()}.tmp")  # short: a name may have 255 bytes
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644 if keep_mode is None else 0o600)
    try:
        with open(descriptor, "wb") as file:
            if keep_mode is not None:
                os.fchmod(descriptor, keep_mode)
            file.write(payload)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def _exchange(one: str, other: str) -> bool:
    """Let two paths change places in one step (Linux' renameat2), and say whether that could be done."""
    import ctypes

    here, exchange = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of <linux/fs.h>
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    return int(rename(here, os.fsencode(one), here, os.fsencode(other), exchange)) == 0


def replace_directory(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Move a directory to where another may be, whose content goes away; both lie in one directory.

    In one step where the system can do that, else the place is empty for a moment. Raises OSError.
    """
    new, old = os.fspath(source), os.fspath(target)
    if not os.path.isdir(old) or not os.listdir(old):
        os.replace(new, old)
        return
    if not _exchange(new, old):
        aside = f"{new}.old"
        os.rename(old, aside)
        os.rename(new, old)
        new = aside
    remove_tree(new)


def unlink(path: str) -> None:
    """Remove a file where that is possible; one that is gone is fine."""
    try:
        os.unlink(path)
    except OSError:
        return


@contextmanager
def open_atomically(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Yield a file to write beside `path`, which is synced and moved into place where the block ends well.

    A reader sees the old file or the whole new one; of a block that fails nothing stays. Raises OSError.
    """
    target = os.fspath(path)
    temporary = os.path.join(os.path.dirname(target), f".{new_nonce()}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        unlink(temporary)
        raise


def copy_atomically(source: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Copy a file's bytes so that a reader of `path` sees the old file or the whole new one. Raises OSError."""
    import shutil

    target = os.fspath(path)
    temporary = os.path.join(os.path.dirname(target), f".{new_nonce()}.tmp")
    try:
        shutil.copyfile(source, temporary)
        os.replace(temporary, target)
    except BaseException:
        unlink(temporary)
        raise


def overwrite(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write `content` to a place that a user named, as a shell would: links are followed, and a file keeps its mode.

    A file is replaced in one step; what is none (a device, a pipe) is written into. Raises OSError.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        write_atomically(os.path.realpath(path), content)
        return
    if stat.S_ISREG(mode):
        write_atomically(os.path.realpath(path), content, keep_mode=stat.S_IMODE(mode))
        return
    with open(path, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)


def point_link(link: str | os.PathLike[str], target: str) -> None:
    """Make `link` a symbolic link to `target`, replacing an older link in one step."""
    path = os.fspath(link)
    temporary = f"{path}.{new_nonce()}.tmp"
    os.symlink(target, temporary)
    try:
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


@contextmanager
def hold_lock(path: str | os.PathLike[str], on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the file lock `path` for the block; call `on_wait` once where another process has it.

    The lock is the kernel's (flock), so it is free again the moment its holder dies.
    """
    import filelock

    lock = filelock.FileLock(os.fspath(path), mode=0o644)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        on_wait()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def hold_free_lock(path: str | os.PathLike[str]) -> Iterator[bool]:
    """Hold the file lock `path` for the block where nobody else does, and say whether that is so; never wait."""
    import filelock

    lock = filelock.FileLock(os.fspath(path))
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def remove_free_lock(path: str) -> bool:
    """Remove a lock file unless somebody holds it, and say whether it was; one who waits for it takes a new one.

    filelock looks for that from 3.21 on: a lock on a file that has no name any more is no lock.
    """
    with hold_free_lock(path) as is_free:
        if is_free:
            unlink(path)
        return is_free


@contextmanager
def hold_shared(path: str | os.PathLike[str], on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the file lock `path` together with others who hold it shared; one who holds it alone is waited for."""
    import fcntl

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def hold_directory(path: str | os.PathLike[str]) -> Iterator[None]:
    """Hold a directory's own lock for the block, which leaves no file: for a change of what lies in it.

    A thread that holds it may take it again: a signal's handler may come within the block. Raises OSError.
    """
    import fcntl

    holder = (os.getpid(), _get_thread_id(), os.fspath(path))
    if holder in _held:
        yield
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        _held.add(holder)
        yield
    finally:
        _held.discard(holder)
        os.close(descriptor)


@contextmanager
def hold_alone(path: str | os.PathLike[str]) -> Iterator[None]:
    """Hold the file lock `path` alone for the block, waiting for whoever has it; needs the standard library only."""
    import fcntl

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    """Lock an open file alone until it is closed or we die, and say whether nobody else has it; never wait."""
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove_flat(root: str) -> bool:
    """Remove a directory that has files alone, which takes no import; tell whether it was one."""
    try:
        if os.path.islink(root):
            return False
        os.chmod(root, stat.S_IRWXU)
        for name in os.listdir(root):
            os.unlink(os.path.join(root, name))
        os.rmdir(root)
    except OSError:
        return False
    return True


def remove_tree(path: str | os.PathLike[str]) -> None:
    """Remove a directory tree, read-only directories included; one that is gone is fine."""
    root = os.fspath(path)
    if not os.path.isdir(root) or _remove_flat(root):
        return
    import shutil

    for directory, _, _ in os.walk(root):
        os.chmod(directory, stat.S_IRWXU)
    shutil.rmtree(root, ignore_errors=True)


def _make_own_dir(parent: str, prefix: str) -> str:
    path = os.path.join(os.path.abspath(parent), prefix + new_nonce())
    os.mkdir(path, 0o700)
    return path


def make_temporary_dir(prefix: str, parents: Sequence[str]) -> str:
    """Make a directory of our own below the first of `parents` that takes one, and return its path.

    What tempfile.mkdtemp does; importing that takes longer than a whole look-up. Raises OSError.
    """
    for parent in parents[:-1]:
        try:
            return _make_own_dir(parent, prefix)
        except OSError:
            continue
    return _make_own_dir(parents[-1], prefix)


def make_lasting_dir(prefix: str) -> str:
    """Return a new directory that is there until this process ends; a fork of it leaves it there. Raises OSError."""
    import atexit
    import shutil
    import tempfile

    directory, owner = tempfile.mkdtemp(prefix=prefix), os.getpid()

    def remove() -> None:
        if os.getpid() == owner:
            shutil.rmtree(directory, ignore_errors=True)

    atexit.register(remove)
    return directory


def find_changed_directories(path: str | os.PathLike[str], times: Mapping[str, int]) -> list[str]:
    """Return the directories of `times` that are gone or have another mtime now."""
    changed = []
    try:
        root = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return list(times)
    try:
        for name, mtime_ns in times.items():
            try:
                unchanged = os.stat(name, dir_fd=root, follow_symlinks=False).st_mtime_ns == mtime_ns
            except OSError:
                unchanged = False
            if not unchanged:
                changed.append(name)
    finally:
        os.close(root)
    return changed


def find_boot() -> str:
    """Return what names this start of the machine, `SETTLED` where nothing does: all that was written is synced then.

    What was written without a sync may be lost or cut off when the machine starts again.
    """
    try:
        descriptor = os.open(_BOOT_ID, os.O_RDONLY)
    except OSError:
        os.sync()
        return SETTLED
    try:
        return os.read(descriptor, 64).decode().strip()
    finally:
        os.close(descriptor)


def is_settled(boot: str) -> bool:
    """Tell whether what was written in a boot is as it was written, for all that a power cut could have done to it."""
    return boot.startswith(SETTLED) or boot == find_boot()


def settle() -> str:
    """Return what stands for the boot of what was read and found whole now."""
    boot = find_boot()
    return boot if boot == SETTLED else f"{SETTLED} {boot}"


def is_of_this_boot(boot: str) -> bool:
    """Tell whether something was written in this boot, or found whole in it."""
    return boot.removeprefix(f"{SETTLED} ") == find_boot()


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Return the sha256 of a file as 64 hexadecimal digits."""
    import hashlib

    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
