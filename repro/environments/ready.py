"""The marker of a finished environment, as a value and as text.

Plain lines, so that a look-up needs neither json nor re, which together cost as much as starting Python:

    repro-environment 4
    key <16 hex digits>
    digest sha256:<64 hex digits>
    python 3.11.7
    interpreter <mtime in ns> <size in bytes> <path>
    config <mtime in ns> <size in bytes> of pyvenv.cfg
    boot <id of the boot it was made in, or `settled` and that of the boot in which it was last looked at>
    mtimes <of each directory, in ns> ...
    <path of each directory relative to the environment>/
    ...
    end
"""

from __future__ import annotations

import os

from repro.files import settle as settle_boot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

FILE_NAME = "repro-environment"
_TITLE = "repro-environment 4"
END = "\nend\n"
"""What the store's own texts end with: one that was cut off, between two lines even, is told by it."""


class Stamp:
    """What tells an interpreter from another at the same path later: path, mtime in ns, size in bytes."""

    __slots__ = ("mtime_ns", "path", "size_bytes")

    def __init__(self, path: str, mtime_ns: int, size_bytes: int) -> None:
        self.path = path
        self.mtime_ns = mtime_ns
        self.size_bytes = size_bytes

    def __str__(self) -> str:
        return f"{self.mtime_ns} {self.size_bytes} {self.path}"


def find_stamp(path: str) -> Stamp | None:
    """Return the stamp of the file at a path, None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return Stamp(path, found.st_mtime_ns, found.st_size)


def find_python_stamp(python: str) -> Stamp | None:
    """Return the stamp of the interpreter that a path leads to now.

    None where there is none, and for a script, which may lead to another tomorrow (a shim of pyenv's).
    """
    path = os.path.realpath(python)
    try:
        with open(path, "rb") as file:
            is_script = file.read(2) == b"#!"
    except OSError:
        return None
    return None if is_script else find_stamp(path)


def stamp_config(env_dir: str) -> str:
    """Return what tells an environment's pyvenv.cfg from another: its mtime in ns and size in bytes, "" without one."""
    stamp = find_stamp(f"{env_dir}/pyvenv.cfg")
    return f"{stamp.mtime_ns} {stamp.size_bytes}" if stamp else ""


def is_complete(text: str) -> bool:
    """Tell whether a text of the store is there to its end, without the zeros that a power cut leaves."""
    return text.endswith(END) and "\0" not in text


class Ready:
    """What a marker says: key, digest of the lock, version of Python, its stamp, and what the environment was like.

    That is the stamp of its pyvenv.cfg, which decides what it can import, and each directory's mtime in ns. `boot` is
    when it was made: its files are not synced, so one of an earlier boot is read through once (see `files.find_boot`).
    """

    __slots__ = ("boot", "config", "digest", "directories", "interpreter", "key", "python_version")

    def __init__(
        self,
        *,
        key: str,
        digest: str,
        python_version: str,
        interpreter: Stamp,
        config: str,
        boot: str,
        directories: Mapping[str, int],
    ) -> None:
        self.key = key
        self.digest = digest
        self.python_version = python_version
        self.interpreter = interpreter
        self.config = config
        self.boot = boot
        self.directories = directories


def format_ready(ready: Ready) -> str:
    """Return a marker's text."""
    lines = [_TITLE, f"key {ready.key}", f"digest {ready.digest}", f"python {ready.python_version}"]
    lines += [f"interpreter {ready.interpreter}", f"config {ready.config}", f"boot {ready.boot}"]
    directories = sorted(ready.directories.items())
    lines += [" ".join(["mtimes", *(str(mtime_ns) for _, mtime_ns in directories)])]
    lines += [name for name, _ in directories]
    return "\n".join(lines) + END


def settle(ready: Ready) -> Ready:
    """Return the marker of an environment that was found whole in this boot, a later one than it was made in."""
    return Ready(
        key=ready.key,
        digest=ready.digest,
        python_version=ready.python_version,
        interpreter=ready.interpreter,
        config=ready.config,
        boot=settle_boot(),
        directories=ready.directories,
    )


def parse_ready(text: str) -> Ready:
    """Return what a marker's text says. Raises ValueError where it is none, or cut off."""
    if not is_complete(text):
        raise ValueError("the marker is cut off")
    title, key, digest, version, interpreter, config, boot, mtimes, *directories = text[: -len(END)].split("\n")
    if title != _TITLE or not boot.startswith("boot "):
        raise ValueError(f"the marker begins with {title!r}")
    mtime_ns, size_bytes, path = interpreter.removeprefix("interpreter ").split(" ", 2)
    kind, *times = mtimes.split(" ")
    if kind != "mtimes" or len(times) != len(directories):
        raise ValueError(f"the marker has {len(directories)} directories and {len(times)} mtimes")
    return Ready(
        key=key.removeprefix("key "),
        digest=digest.removeprefix("digest "),
        python_version=version.removeprefix("python "),
        interpreter=Stamp(path, int(mtime_ns), int(size_bytes)),
        config=config.removeprefix("config "),
        boot=boot.removeprefix("boot "),
        directories=dict(zip(directories, map(int, times), strict=True)),
    )
