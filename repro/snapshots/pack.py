"""Pack an installed distribution into a wheel again: the same files, so the same record digest (PEP 427).

Equal files give equal bytes on any machine: members are sorted, stored uncompressed (compressors differ between
versions), and carry no time.
"""

from __future__ import annotations

import base64
import configparser
import hashlib
import os
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

from repro.errors import ReproError
from repro.files import BLOCK_BYTES
from repro.formats.record import is_from_wheel, read_rows
from repro.snapshots.installed import Installed
from repro.values import frozen

_EPOCH = (1980, 1, 1, 0, 0, 0)
_LARGEST_RECORD_BYTES = 1 << 26


@frozen
class Member:
    """A file of the wheel: its name there, and where its content is."""

    name: str
    path: str


def _list_made_scripts(installed: Installed) -> frozenset[str]:
    """Return the names of scripts that every installer makes from entry_points.txt itself."""
    parser = configparser.RawConfigParser(delimiters=("=",), strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign] # names keep their case
    try:
        parser.read_string(installed.read_entry_points())
    except configparser.Error:
        return frozenset()
    groups = ("console_scripts", "gui_scripts")
    return frozenset(name for group in groups if parser.has_section(group) for name in parser.options(group))


def plan_wheel(installed: Installed) -> tuple[Member, ...]:
    """Return the members of the wheel, sorted, RECORD left out; files that are gone are left out too.

    What lies beside the site directory goes to `<name>.data/scripts` or `data`; what an installer has made or would
    make again is no member. Raises ReproError for a path that leads out of the installation.
    """
    site = os.path.abspath(installed.found.site)
    root = os.path.dirname(os.path.dirname(os.path.dirname(site)))  # of lib/pythonX.Y/site-packages
    made = _list_made_scripts(installed)
    members = {}
    for path, _, _ in read_rows(installed.record_text):
        place = os.path.normpath(os.path.join(site, path))
        if path.endswith(".pyc") or not os.path.isfile(place):
            continue
        if not place.startswith((site + os.sep, root.rstrip(os.sep) + os.sep)):
            raise ReproError(f"`{installed.stem}` names a file outside its environment: `{path}`")
        if is_from_wheel(path):
            members[path] = Member(name=path, path=place)
        elif path.startswith("../") and (name := _name_beside(os.path.relpath(place, root), installed.stem, made)):
            members[name] = Member(name=name, path=place)
    return tuple(members[name] for name in sorted(members))


def _name_beside(relative: str, stem: str, made: frozenset[str]) -> str | None:
    """Return the name in the wheel of a file beside the site directory, None where installers make it."""
    directory, name = os.path.split(relative)
    if directory == "bin":
        return None if name in made else f"{stem}.data/scripts/{name}"
    return f"{stem}.data/data/{relative}"


def _compress_tags(tags: tuple[str, ...]) -> str:
    """Return the tags as a file name carries them (PEP 425)."""
    columns = zip(*(tag.split("-") for tag in tags), strict=True)
    return "-".join(".".join(dict.fromkeys(column)) for column in columns)


def _read_blocks(member: Member) -> Iterator[bytes]:
    """Yield a file's content; a script's own interpreter becomes `#!python`, which installers replace."""
    with open(member.path, "rb") as file:
        if ".data/scripts/" in member.name:
            head = file.readline()
            yield b"#!python\n" if head.startswith(b"#!") and b"python" in head else head
        while block := file.read(BLOCK_BYTES):
            yield block


def _make_info(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    executable = 0o755 if mode & stat.S_IXUSR else 0o644
    info.external_attr = (stat.S_IFREG | executable) << 16
    info.create_system = 3
    return info


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if any(char in name for char in ',"\n') else name


def _add(archive: zipfile.ZipFile, member: Member) -> str:
    """Add a file and return its RECORD row."""
    digest, size = hashlib.sha256(), 0
    info = _make_info(member.name, os.stat(member.path).st_mode)
    info.file_size = os.stat(member.path).st_size  # zipfile decides by it whether the member needs ZIP64
    with archive.open(info, "w") as target:
        for block in _read_blocks(member):
            digest.update(block)
            size += len(block)
            target.write(block)
    encoded = base64.urlsafe_b64encode(digest.digest()).decode().rstrip("=")
    return f"{_quote(member.name)},sha256={encoded},{size}"


def pack_wheel(installed: Installed, *, target_dir: Path) -> Path:
    """Write the wheel of an installed distribution into `target_dir` and return its path.

    Raises ReproError where METADATA or WHEEL is missing, without which no installer takes a wheel, and OSError.
    """
    members = plan_wheel(installed)
    info_dir = installed.found.entry
    missing = [name for name in ("METADATA", "WHEEL") if f"{info_dir}/{name}" not in {each.name for each in members}]
    if missing or not installed.tags:
        raise ReproError(f"`{info_dir}` has no {missing[0] if missing else 'tags in WHEEL'}")
    path = target_dir / f"{installed.stem}-{_compress_tags(installed.tags)}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        rows = [_add(archive, member) for member in members]
        record = f"{info_dir}/RECORD"
        archive.writestr(_make_info(record, 0o644), "\n".join([*rows, f"{record},,"]) + "\n")
    return path


def read_wheel_record(wheel: zipfile.ZipFile) -> str:
    """Return the text of a wheel's RECORD. Raises ReproError where it has none that is one."""
    name = next(
        (each for each in wheel.namelist() if each.count("/") == 1 and each.endswith(".dist-info/RECORD")), None
    )
    if name is None:
        raise ReproError(f"`{wheel.filename}` has no RECORD")
    if wheel.getinfo(name).file_size > _LARGEST_RECORD_BYTES:
        raise ReproError(f"`{wheel.filename}` has a RECORD of more than {_LARGEST_RECORD_BYTES >> 20} MiB")
    return wheel.read(name).decode("utf-8", "replace")
