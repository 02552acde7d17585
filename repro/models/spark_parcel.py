"""Send directories to Spark's executors: as zips, which Spark keeps among the files of a session.

They lie in a directory of this process, each under the digest of its content, and are made once.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from repro.files import make_lasting_dir, new_nonce, sha256_file
from repro.models.spark_errand import Parcel

_TIME = (1980, 1, 1, 0, 0, 0)
_CHUNK_BYTES = 1 << 20


@cache
def _get_room(pid: int) -> Path:
    """Return a directory that is there until this process ends; a fork has its own."""
    return Path(make_lasting_dir("repro-spark-"))


def list_files(directory: Path) -> dict[str, Path]:
    """Return the files below a directory by their names in it, without what Python has compiled."""
    found = {}
    for path in sorted(directory.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            found[path.relative_to(directory).as_posix()] = path
    return found


def _write_zip(target: Path, files: Mapping[str, Path]) -> None:
    """Write a zip whose bytes depend on the files' names and bytes alone."""
    with zipfile.ZipFile(target, "w") as archive:
        for name, path in sorted(files.items()):
            with open(path, "rb") as source, archive.open(zipfile.ZipInfo(name, _TIME), "w", force_zip64=True) as file:
                shutil.copyfileobj(source, file, _CHUNK_BYTES)


def _settle(temporary: Path, name: str) -> tuple[Parcel, Path]:
    sha256 = sha256_file(temporary)
    place = temporary.with_name(f"repro-{name}-{sha256}.zip")
    os.replace(temporary, place)
    return Parcel(name=place.name, sha256=sha256), place


def make_parcel(name: str, files: Mapping[str, Path]) -> tuple[Parcel, Path]:
    """Return a zip of the files, and where it lies."""
    temporary = _get_room(os.getpid()) / f"{new_nonce()}.tmp"
    _write_zip(temporary, files)
    return _settle(temporary, name)


def copy_parcel(name: str, path: Path) -> tuple[Parcel, Path]:
    """Return a zip that is there already, and where its copy lies."""
    temporary = _get_room(os.getpid()) / f"{new_nonce()}.tmp"
    shutil.copyfile(path, temporary)
    return _settle(temporary, name)


def send(context: Any, parcels: Iterable[tuple[Parcel, Path]]) -> None:
    """Give the parcels to all executors of a Spark context, those that come later too."""
    known = {str(each).rpartition("/")[2] for each in context.listFiles}
    for parcel, path in parcels:
        if parcel.name not in known:
            context.addFile(str(path))
