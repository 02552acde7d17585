"""Remember what was computed or asked of an index once, so that the next snapshot costs and asks nothing.

    <root>/records/<aa>/<sha256 of a RECORD file>     its record digest, and the file it was found to come from
    <root>/checked/<digest of a site directory>       what its files were like when they were last compared with RECORD

Everything here can be deleted at any time; a directory that cannot be written costs only time, and says so in
`Memory.trouble`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from repro.digests import sha256_hex
from repro.files import make_directory, write_atomically
from repro.formats.lockfile import Proof
from repro.values import asdict, frozen

T = TypeVar("T")


@frozen
class Artefact:
    """What a RECORD file was found to come from.

    `proof` is None where it is only known by its `record` digest yet. `scope` names the indexes that were asked
    (`Indexes.id`) where others could give another answer.
    """

    record: str
    proof: Proof | None = None
    file: str | None = None
    hashes: tuple[str, ...] = ()
    index: str | None = None
    kept: bool = False
    local: bool = False
    reason: str | None = None
    scope: str | None = None


@frozen
class Altered:
    """A distribution with files that are not what RECORD says: which, and the artefact packed from what is there."""

    record_sha256: str
    files: tuple[str, ...]
    artefact: Artefact | None = None


@frozen
class Checked:
    """What a comparison of a site directory's files with RECORD found, and the sweep that was true before it."""

    sweep: str
    deep: bool = False
    altered: tuple[Altered, ...] = ()


class Memory:
    """The memories below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = os.fspath(root)
        self.trouble: str | None = None
        """Why something could not be remembered."""

    def _record_path(self, sha256: str) -> str:
        return os.path.join(self._root, "records", sha256[:2], sha256)

    def _checked_path(self, site: str) -> str:
        return os.path.join(self._root, "checked", sha256_hex(os.fsencode(site)))

    def find_artefact(self, sha256: str) -> Artefact | None:
        """Return what the RECORD file with this sha256 comes from, as far as it is known."""
        return _read(self._record_path(sha256), _parse_artefact)

    def keep_artefact(self, sha256: str, artefact: Artefact) -> None:
        """Remember what a RECORD file comes from."""
        self._write(self._record_path(sha256), json.dumps(asdict(artefact), default=_encode))

    def list_artefacts(self) -> Iterator[Artefact]:
        """Yield everything that is known of any RECORD file."""
        for directory, names, files in os.walk(os.path.join(self._root, "records")):
            names.sort()
            for name in files:
                if artefact := _read(os.path.join(directory, name), _parse_artefact):
                    yield artefact

    def find_checked(self, site: str) -> Checked | None:
        """Return what the last comparison of a site directory found."""
        return _read(self._checked_path(site), _parse_checked)

    def keep_checked(self, site: str, checked: Checked) -> None:
        """Remember what a comparison found."""
        self._write(self._checked_path(site), json.dumps(asdict(checked), default=_encode))

    def _write(self, path: str, text: str) -> None:
        try:
            make_directory(os.path.dirname(path))
            write_atomically(path, text, durable=False)
        except OSError as error:
            self.trouble = f"nothing can be remembered in `{self._root}` ({error.strerror})"


def _encode(value: object) -> object:
    if isinstance(value, Proof):
        return value.value
    raise TypeError(f"{value!r} has no JSON")


def _make_artefact(content: dict[str, object]) -> Artefact:
    proof, hashes = content.pop("proof"), content.pop("hashes")
    if not isinstance(hashes, list):
        raise TypeError("`hashes` is no list")
    return Artefact(proof=Proof(proof) if proof else None, hashes=tuple(hashes), **content)  # type: ignore[arg-type]


def _parse_artefact(text: str) -> Artefact:
    return _make_artefact(json.loads(text))


def _parse_checked(text: str) -> Checked:
    content = json.loads(text)
    altered = tuple(
        Altered(
            record_sha256=each["record_sha256"],
            files=tuple(each["files"]),
            artefact=_make_artefact(each["artefact"]) if each["artefact"] else None,
        )
        for each in content["altered"]
    )
    return Checked(sweep=content["sweep"], deep=content["deep"], altered=altered)


def _read(path: str, parse: Callable[[str], T]) -> T | None:
    try:
        with open(path, encoding="utf-8") as file:
            return parse(file.read())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
