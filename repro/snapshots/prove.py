"""Find out which file of an index is installed.

Candidates are the wheels of that version whose tags are those that WHEEL names. One candidate is identified, unless its
METADATA is another; where several remain, where a build on this machine could look the same, where it costs nothing, or
on request, the RECORD inside each is read, of a file elsewhere by range request, and compared.
"""

from __future__ import annotations

import csv
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence

from repro.errors import ReproError
from repro.formats.lockfile import Proof
from repro.formats.record import digest_wheel_record
from repro.formats.simple_index import IndexFile
from repro.snapshots.index_client import IndexClient
from repro.snapshots.indexes import find_path
from repro.snapshots.installed import Installed
from repro.snapshots.pack import read_wheel_record
from repro.snapshots.pins import FetchError, IndexUnreachableError
from repro.values import frozen, replace

_DAMAGED = (
    zipfile.BadZipFile, zlib.error, struct.error, csv.Error, OSError, EOFError, LookupError, ValueError, RuntimeError,
)  # fmt: skip
_LEAST_TAIL_BYTES = 1 << 12
_MOST_TAIL_BYTES = 1 << 20
_BUILT_ELSEWHERE = ("manylinux", "musllinux")


@frozen
class Verdict:
    """Which file is installed: `file` where it is known, `reason` where it is not, and the version's other files.

    It is not final where a candidate could not be read.
    """

    proof: Proof
    file: IndexFile | None = None
    reason: str | None = None
    others: tuple[IndexFile, ...] = ()
    is_final: bool = True

    @property
    def hashes(self) -> tuple[str, ...]:
        """The sha256 values, that of the installed file first, the others sorted."""
        first = self.file.sha256 if self.file else None
        rest = sorted({each.sha256 for each in self.others if each.sha256} - {first})
        return tuple(f"sha256:{each}" for each in ([first] if first else []) + rest)


def _split_tag(tag: str) -> tuple[str, str]:
    """Return the interpreter and ABI of a tag, and the machine its platform is for."""
    interpreter, abi, platform = tag.split("-", 2)
    machine = next((each for each in ("x86_64", "i686", "aarch64", "armv7l", "arm64") if platform.endswith(each)), "")
    return f"{interpreter}-{abi}", machine


def select_candidates(installed: Installed, files: Sequence[IndexFile]) -> tuple[IndexFile, ...]:
    """Return the wheels whose tags are those of the installed WHEEL, else those that share one, else those alike.

    Some wheels were given other names after they were built; theirs are for the same interpreter and machine. They
    stand in the order of the listing; the same file at several places stands once.
    """
    wheels = {(each.filename, each.sha256): each for each in reversed(files) if each.is_wheel}
    found = tuple(reversed(wheels.values()))
    tags = frozenset(tag for tag in installed.tags if tag.count("-") == 2)
    alike = {_split_tag(tag) for tag in tags}
    equal = tuple(each for each in found if each.tags == tags)
    shared = tuple(each for each in found if each.tags & tags)
    return equal or shared or tuple(each for each in found if not alike.isdisjoint(map(_split_tag, each.tags)))


def _could_be_built_here(files: Sequence[IndexFile], candidate: IndexFile) -> bool:
    """Tell whether a build of the version's sdist on this machine would carry the same tags.

    An equal METADATA does not tell them apart: most builders write the same one, and only WHEEL differs.
    """
    has_sdist = any(not each.is_wheel for each in files)
    return has_sdist and not any(tag.split("-")[2].startswith(_BUILT_ELSEWHERE) for tag in candidate.tags)


def _has_other_metadata(installed: Installed, file: IndexFile) -> bool:
    stated = file.metadata_sha256
    return bool(stated and installed.metadata_sha256 and stated != installed.metadata_sha256)


def judge_by_listing(installed: Installed, files: Sequence[IndexFile]) -> Verdict | tuple[IndexFile, ...]:
    """Return the verdict the listing allows, else the candidates whose RECORD has to be read."""
    candidates = select_candidates(installed, files)
    if not candidates:
        what = "no wheel with these tags" if files else "no file of this version"
        return Verdict(proof=Proof.UNPROVEN, reason=f"{what} on any index that was asked")
    left = tuple(each for each in candidates if not _has_other_metadata(installed, each))
    if not left:
        return Verdict(proof=Proof.UNPROVEN, reason=f"`{candidates[0].filename}` of the index has other metadata")
    (only, *more) = left
    is_alike = only.tags.isdisjoint(installed.tags)
    if more or is_alike or not only.sha256 or find_path(only.url) or _could_be_built_here(files, only):
        return left
    return Verdict(proof=Proof.IDENTIFIED, file=only, others=tuple(files))


def _guess_tail_bytes(installed: Installed) -> int:
    """Return how much of a wheel's end holds its RECORD and the list of its members, which stands behind it.

    Each member has 46 bytes and its name there, and in RECORD, compressed, its hash and some of its name.
    """
    rows = installed.record_text.count("\n")
    members = len(installed.record_text) - 10 * rows
    record = 52 * rows
    return max(_LEAST_TAIL_BYTES, min(members + record + 2048, _MOST_TAIL_BYTES))


def _read_record_digest(client: IndexClient, file: IndexFile, tail_bytes: int) -> str:
    """Return the record digest of a wheel, through parts of it alone.

    Raises FetchError, IndexUnreachableError, and ValueError where it is no wheel.
    """
    with client.open(file, tail_bytes=tail_bytes) as source:
        try:
            with zipfile.ZipFile(source) as wheel:
                return digest_wheel_record(read_wheel_record(wheel))
        except (FetchError, IndexUnreachableError):
            raise
        except (ReproError, *_DAMAGED) as error:
            raise ValueError(f"`{file.filename}` of the index is no wheel ({type(error).__name__})") from error


def _find_proved(client: IndexClient, installed: Installed, candidate: IndexFile) -> IndexFile | Verdict:
    """Return a candidate with its sha256 where its RECORD is the installed one, else why it is not the file."""
    try:
        if _read_record_digest(client, candidate, _guess_tail_bytes(installed)) == installed.record:
            return candidate if candidate.sha256 else replace(candidate, sha256=client.compute_sha256(candidate))
    except FetchError as error:
        return Verdict(proof=Proof.UNPROVEN, reason=error.message, is_final=False)
    except ValueError as error:
        return Verdict(proof=Proof.UNPROVEN, reason=str(error))
    return Verdict(proof=Proof.UNPROVEN, reason="no wheel of this version on any index that was asked has these files")


def _judge_by_record(
    client: IndexClient, installed: Installed, candidates: Sequence[IndexFile], files: Sequence[IndexFile]
) -> Verdict:
    """Return what the RECORD inside each candidate shows; one that cannot be read proves nothing.

    Raises IndexUnreachableError.
    """
    refusals = []
    for candidate in candidates:
        found = _find_proved(client, installed, candidate)
        if isinstance(found, IndexFile):
            return Verdict(proof=Proof.PROVED, file=found, others=tuple(files))
        refusals.append(found)
    return min(refusals, key=lambda each: each.is_final)


def prove_files(
    client: IndexClient,
    installed: Mapping[str, Installed],
    listing: Mapping[str, Sequence[IndexFile]],
    *,
    must_prove: bool,
) -> dict[str, Verdict]:
    """Return the verdict on each distribution, by name. Raises IndexUnreachableError."""

    def judge(name: str) -> Verdict:
        mine, files = installed[name], listing[name]
        verdict = judge_by_listing(mine, files)
        if not isinstance(verdict, Verdict):
            return _judge_by_record(client, mine, verdict, files)
        if verdict.file and must_prove:
            return _judge_by_record(client, mine, (verdict.file,), files)
        return verdict

    names = sorted(installed)
    return dict(zip(names, client.map(judge, names), strict=True))
