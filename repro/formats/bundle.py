"""A bundle as values: what `bundle.json` says, and which members a zip may have before one byte of it is unpacked.

    bundle.json                what is in it (see `Manifest`)
    pylock.toml                PEP 751, each wheel by its relative path
    requirements-lock.txt      the lock
    wheels/<file name>.whl     a wheel for each entry of the lock
    <name>/...                 what a later version adds: `contents` of bundle.json names it, and it is left alone

A name that neither this layout nor `contents` has is refused (docs/bundle.md).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from repro.formats import zip_members
from repro.formats.lockfile import FILE_NAME as LOCK
from repro.formats.zip_members import MAX_MEMBERS, find_member_faults, show_name
from repro.values import frozen

MANIFEST = "bundle.json"
PYLOCK = "pylock.toml"  # as pylock.py has it, which costs more to import than all of this
WHEELS = "wheels"
FORMAT_VERSION = 1
CONTENTS = (PYLOCK, LOCK, WHEELS)

MAX_TEXT_BYTES = 64 << 20
MAX_RATIO = 100  # what deflate makes of a lock, a wheel or source code is below 20
_WHEEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*\.whl")


@frozen
class Manifest:
    """What `bundle.json` says: the names at the top of the zip, the lock's digest, what was left out of it."""

    contents: tuple[str, ...]
    digest: str
    left_out: tuple[str, ...] = ()


def format_manifest(manifest: Manifest) -> str:
    """Return the text of bundle.json; equal manifests give equal text."""
    content = {
        "bundle": FORMAT_VERSION,
        "contents": sorted(manifest.contents),
        "digest": manifest.digest,
        "left_out": sorted(manifest.left_out),
    }
    return json.dumps(content, indent=2) + "\n"


def _read_texts(content: dict[str, object], key: str) -> tuple[str, ...]:
    value = content.get(key, [])
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError(f"`{key}` is no list of texts")
    return tuple(value)


def parse_manifest(text: str | bytes) -> Manifest:
    """Return what bundle.json says; keys that are not known are left alone. Raises ValueError for another format."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"`{MANIFEST}` is not valid JSON ({error})") from error
    if not isinstance(content, dict) or "bundle" not in content:
        raise ValueError(f"`{MANIFEST}` has no `bundle`, the version of its format")
    if content["bundle"] != FORMAT_VERSION or isinstance(content["bundle"], bool):
        raise ValueError(f"its format is {show_name(str(content['bundle']))}; this repro reads format {FORMAT_VERSION}")
    digest = content.get("digest", "")
    if not isinstance(digest, str):
        raise ValueError(f"`digest` of `{MANIFEST}` is no text")
    return Manifest(contents=_read_texts(content, "contents"), digest=digest, left_out=_read_texts(content, "left_out"))


@frozen
class Member(zip_members.Member):
    """A member of a bundle."""

    @property
    def wheel(self) -> str | None:
        """The file name of the wheel that it is."""
        directory, _, name = self.name.partition("/")
        return name if directory == WHEELS and name else None


def _find_size_faults(members: Sequence[Member]) -> Iterator[str]:
    for member in members:
        if member.name in (MANIFEST, LOCK, PYLOCK) and member.size_bytes > MAX_TEXT_BYTES:
            yield f"{show_name(member.name)} has {member.size_bytes} bytes, more than {MAX_TEXT_BYTES}"


def find_faults(members: Sequence[Member], archive_bytes: int) -> Iterator[str]:
    """Yield a sentence for each thing that no bundle has: names, kinds and sizes, by the zip's directory alone."""
    yield from find_member_faults(members, archive_bytes, whole="bundle", max_ratio=MAX_RATIO)
    if len(members) > MAX_MEMBERS:
        return
    yield from _find_size_faults(members)
    if all(member.name != LOCK for member in members):
        yield f"there is no `{LOCK}` in it"


def find_strangers(members: Sequence[Member], manifest: Manifest) -> Iterator[str]:
    """Yield a sentence for each member that is neither of the layout nor of what `contents` names."""
    for member in members:
        if member.wheel is not None and not _WHEEL.fullmatch(member.wheel):
            yield f"{show_name(member.name)} is no wheel"
        elif member.top in (MANIFEST, LOCK, PYLOCK) and member.name != member.top:
            yield f"{show_name(member.name)} is no place for a file"
        elif member.name == WHEELS or (member.top not in (MANIFEST, *CONTENTS) and member.top not in manifest.contents):
            yield f"{show_name(member.name)} is not of the layout, and `{MANIFEST}` does not name it"
