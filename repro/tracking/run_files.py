"""The files of one run in MLflow's FileStore layout: a file for each parameter and tag, a line for each point.

<run>/params/<key>    the value as text
      tags/<key>      the value as text
      metrics/<key>   a line `<ms> <value> <step>` for each point, appended by one write each

A key with `/` lies in directories.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import RLock

from repro.errors import TrackingError
from repro.files import new_nonce, unlink, write_atomically
from repro.formats.run_meta import HALF_WRITTEN, MetricPoint, check_key, format_metric_line, parse_metric_line

_MAX_OPEN = 128
_LONGEST_LINE = 4096
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


@contextmanager
def explaining(kind: str, key: str) -> Iterator[None]:
    """Turn what the file system refuses into a TrackingError, e.g. `a` and then `a/b`."""
    try:
        yield
    except OSError as error:
        raise TrackingError(f"the {kind} `{key}` cannot be written ({error.strerror or error})") from error
    except UnicodeEncodeError as error:  # half of a pair of surrogates, e.g. of a file's name
        raise TrackingError(f"the {kind} `{key}` cannot be written: it holds what is no Unicode text") from error


def list_keys(directory: str) -> Iterator[tuple[str, str]]:
    """Yield each key of a directory with its file, sorted; none where there is no such directory."""
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            for key, path in list_keys(entry.path):
                yield f"{entry.name}/{key}", path
        elif entry.is_file() and not HALF_WRITTEN.fullmatch(entry.name):
            yield entry.name, entry.path


def read_text(path: str) -> str:
    """Return a value as it was written, line ends included. Raises OSError."""
    with open(path, "rb") as file:
        return file.read().decode(errors="replace")


def read_values(directory: str) -> dict[str, str]:
    """Return the keys of a directory and their values; one that is removed meanwhile is left out."""
    values = {}
    for key, path in list_keys(directory):
        with suppress(FileNotFoundError):
            values[key] = read_text(path)
    return values


def find_value(directory: str, key: str) -> str | None:
    """Return a value, None where there is none. Raises TrackingError."""
    path = f"{directory}/{key}"
    return read_text(path) if os.path.isfile(path) else None


def write_value(directory: str, kind: str, key: str, value: str) -> None:
    """Write a value in place of an older one. Raises TrackingError."""
    check_key(kind, key)
    path = f"{directory}/{key}"
    with explaining(kind, key):
        try:
            write_atomically(path, value, durable=False)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            write_atomically(path, value, durable=False)


def write_first_values(directory: str, kind: str, values: Mapping[str, str]) -> None:
    """Write the values of a run that nobody can see yet. Raises TrackingError."""
    for key, value in values.items():
        check_key(kind, key)
        with explaining(kind, key):
            if "/" in key:
                os.makedirs(os.path.dirname(f"{directory}/{key}"), exist_ok=True)
            with open(f"{directory}/{key}", "xb") as file:
                file.write(value.encode())


def keep_first_value(directory: str, kind: str, key: str, value: str) -> str:
    """Write a value unless there is one, and return the one that is there; of two at once one wins whole.

    Raises TrackingError.
    """
    check_key(kind, key)
    path = f"{directory}/{key}"
    if os.path.isfile(path):
        return read_text(path)
    temporary = f"{os.path.dirname(path)}/.{new_nonce()}.tmp"
    with explaining(kind, key):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            with open(temporary, "xb") as file:
                file.write(value.encode())
            _put_first(temporary, path)
        except FileExistsError:
            if os.path.isdir(path):
                raise
            return read_text(path)
        finally:
            unlink(temporary)
    return value


def _put_first(temporary: str, path: str) -> None:
    """Move a file to a place that is free; without links (FAT, some shares) the check and the move are two steps."""
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.exists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path) from error
        os.replace(temporary, path)


def remove_value(directory: str, kind: str, key: str) -> bool:
    """Remove a value and tell whether there was one. Raises TrackingError."""
    check_key(kind, key)
    try:
        os.unlink(f"{directory}/{key}")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return False
    return True


def read_points(path: str) -> list[MetricPoint]:
    """Return the points of a metric's file in the order they were logged; a last line without end is not yet there.

    Raises OSError, and TrackingError for a line that is none.
    """
    text = read_text(path)
    return [parse_metric_line(line) for line in text[: text.rfind("\n") + 1].split("\n") if line.strip()]


def read_latest(directory: str) -> dict[str, MetricPoint]:
    """Return the latest point of each metric: that of the highest step, then time, then value."""
    latest = {}
    for key, path in list_keys(directory):
        if points := read_points(path):
            latest[key] = max(points, key=lambda point: point.order)
    return latest


def _take_back(descriptor: int, written: int) -> None:
    """Remove the part of a line that was written to the end of a file that has no room for more. Raises OSError."""
    end = os.lseek(descriptor, 0, os.SEEK_CUR)
    if os.fstat(descriptor).st_size == end:  # nobody has written behind it
        os.ftruncate(descriptor, end - written)
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _find_torn_line(path: str) -> tuple[int, int] | None:
    """Return the size of a file that does not end with a line, and where its last line begins."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - _LONGEST_LINE, 0))
        tail = file.read()
    return None if not tail or tail.endswith(b"\n") else (size, size - len(tail) + tail.rfind(b"\n") + 1)


def _cut_torn_line(path: str) -> None:
    """Remove a last line without end, of a machine that went down: what is appended would become a part of it.

    A line that another process is just writing is whole a moment later. Raises OSError.
    """
    if not os.path.exists(path):
        return
    torn = _find_torn_line(path)
    if torn:
        time.sleep(0.01)
        if torn == _find_torn_line(path):
            os.truncate(path, torn[1])


class MetricFiles:
    """The metric files that this process appends to, kept open: one write is all that a point costs.

    Safe with threads, and with forks: a point is one write to the end of the file, whoever else writes there.
    """

    def __init__(self) -> None:
        self._descriptors: dict[tuple[str, str], int] = {}
        self._lock = RLock()  # a signal's handler that ends the run may come while a point is written
        os.register_at_fork(after_in_child=self._renew_lock)

    def _renew_lock(self) -> None:
        self._lock = RLock()

    def _open(self, run_dir: str, key: str) -> int:
        check_key("metric", key)
        path = f"{run_dir}/metrics/{key}"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        _cut_torn_line(path)
        try:
            descriptor = os.open(path, flags, 0o644)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            descriptor = os.open(path, flags, 0o644)
        if len(self._descriptors) >= _MAX_OPEN:
            os.close(self._descriptors.pop(next(iter(self._descriptors))))
        self._descriptors[run_dir, key] = descriptor
        return descriptor

    def append(self, run_dir: str, key: str, point: MetricPoint) -> None:
        """Append a point. Raises TrackingError."""
        with self._lock:
            descriptor = self._descriptors.get((run_dir, key))
            if descriptor is None:
                with explaining("metric", key):
                    descriptor = self._open(run_dir, key)
            with explaining("metric", key):
                line = format_metric_line(point).encode()
                written = os.write(descriptor, line)
                if written != len(line):
                    _take_back(descriptor, written)

    def append_to_open(self, run_dir: str | None, key: str, point: MetricPoint) -> bool:
        """Append a point where the metric's file is open, and tell whether it was. Raises TrackingError."""
        line = f"{point.timestamp_ms} {point.value!r} {point.step}\n".encode()  # a training loop's hot path
        with self._lock:
            descriptor = self._descriptors.get((run_dir, key))  # type: ignore[arg-type]
            if descriptor is None:
                return False
            try:
                written = os.write(descriptor, line)
                if written != len(line):
                    _take_back(descriptor, written)
            except OSError as error:
                raise TrackingError(f"the metric `{key}` cannot be written ({error.strerror})") from error
        return True

    def close(self, run_dir: str) -> None:
        """Close the files of a run."""
        with self._lock:
            for pair in [pair for pair in self._descriptors if pair[0] == run_dir]:
                os.close(self._descriptors.pop(pair))
