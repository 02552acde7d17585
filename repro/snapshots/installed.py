"""One installed distribution as its `.dist-info` tells it, and which of its files are not what RECORD says."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from repro.files import BLOCK_BYTES
from repro.formats.record import digest_record, is_from_wheel, read_rows
from repro.snapshots.probe import Found


@dataclass(frozen=True, kw_only=True)
class Installed:
    """A distribution whose RECORD can be read."""

    found: Found
    record_text: str

    @property
    def stem(self) -> str:
        """Name and version as its files spell them, e.g. `scikit_learn-1.9.1`."""
        return self.found.entry.removesuffix(".dist-info")

    @cached_property
    def record(self) -> str:
        """The record digest."""
        return digest_record(self.record_text)

    @cached_property
    def tags(self) -> tuple[str, ...]:
        """The `Tag:` lines of WHEEL, none where there is no such file."""
        text = self._read("WHEEL")
        return tuple(line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("Tag:"))

    @cached_property
    def metadata_sha256(self) -> str | None:
        """The sha256 that RECORD states for METADATA, as 64 hex digits."""
        wanted = f"{self.found.entry}/METADATA"
        stated = next((hash_ for path, hash_, _ in read_rows(self.record_text) if path == wanted), "")
        return decode_hash(stated)

    def _read(self, name: str) -> str:
        try:
            with open(
                os.path.join(self.found.site, self.found.entry, name), encoding="utf-8", errors="replace"
            ) as file:
                return file.read()
        except OSError:
            return ""

    def read_entry_points(self) -> str:
        """Return entry_points.txt, "" where there is none."""
        return self._read("entry_points.txt")


def decode_hash(stated: str) -> str | None:
    """Return the sha256 of a RECORD row as 64 hex digits, None where it states no sha256."""
    if not stated.startswith("sha256="):
        return None
    try:
        return base64.urlsafe_b64decode(stated[7:] + "=" * (-len(stated[7:]) % 4)).hex()
    except (ValueError, binascii.Error):
        return None


def read_installed(found: Found) -> Installed | None:
    """Return a distribution with the text of its RECORD, None where it has none."""
    if found.record is None:
        return None
    try:
        with open(os.path.join(found.site, found.entry, "RECORD"), encoding="utf-8", errors="replace") as file:
            return Installed(found=found, record_text=file.read())
    except OSError:
        return None


def _hash_file(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _differs(path: str, hash_: str, size: str, *, deep: bool) -> bool:
    try:
        found = os.stat(path)
        if size.isdigit() and found.st_size != int(size):
            return True
        stated = decode_hash(hash_) if deep else None
        return stated is not None and _hash_file(path) != stated
    except OSError:
        return True


def find_altered(installed: Installed, *, deep: bool = False) -> Iterator[str]:
    """Yield the files, as RECORD names them, that are gone or have another size, or if `deep` another sha256.

    Bytecode, what installers note in `.dist-info`, and rows without hash and size are passed over.
    """
    site = installed.found.site
    for path, hash_, size in read_rows(installed.record_text):
        counts = is_from_wheel(path) or (path.startswith("../") and not path.endswith(".pyc"))
        if counts and (hash_ or size) and _differs(f"{site}/{path}", hash_, size, deep=deep):
            yield path
