"""Find out which file of an index is installed.

Candidates are the wheels of that version whose tags are those that WHEEL names. One candidate is identified, unless the
index says that its METADATA is another; where several remain, where a local build could look the same, or on request,
the RECORD inside each is read by range request and compared. Nothing of this needs to download a file.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from repro.errors import ReproError
from repro.formats.lockfile import Proof
from repro.formats.record import digest_wheel_record
from repro.formats.simple_index import IndexFile
from repro.snapshots.index_client import IndexClient
from repro.snapshots.installed import Installed
from repro.snapshots.pack import read_wheel_record


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Which file is installed: `file` where it is known, `reason` where it is not, and the version's other files."""

    proof: Proof
    file: IndexFile | None = None
    reason: str | None = None
    others: tuple[IndexFile, ...] = ()

    @property
    def hashes(self) -> tuple[str, ...]:
        """The sha256 values, that of the installed file first, the others sorted."""
        first = self.file.sha256 if self.file else None
        rest = sorted({each.sha256 for each in self.others if each.sha256} - {first})
        return tuple(f"sha256:{each}" for each in ([first] if first else []) + rest)


def select_candidates(installed: Installed, files: Sequence[IndexFile]) -> tuple[IndexFile, ...]:
    """Return the wheels whose tags are those of the installed WHEEL, else those that share one.

    They stand in the order of the listing; the same file at several places stands once.
    """
    wheels = {(each.filename, each.sha256): each for each in reversed(files) if each.is_wheel}
    tags = frozenset(installed.tags)
    equal = [each for each in wheels.values() if each.tags == tags]
    return tuple(reversed(equal or [each for each in wheels.values() if each.tags & tags]))


def _could_be_built_here(files: Sequence[IndexFile], candidate: IndexFile) -> bool:
    """Tell whether a local build of the version would carry the same tags: pure Python, and there is an sdist."""
    is_pure = all(tag.endswith("-none-any") for tag in candidate.tags)
    return is_pure and not candidate.metadata_sha256 and any(not each.is_wheel for each in files)


def judge_by_listing(installed: Installed, files: Sequence[IndexFile]) -> Verdict | tuple[IndexFile, ...]:
    """Return the verdict the listing allows, else the candidates whose RECORD has to be read."""
    candidates = select_candidates(installed, files)
    if not candidates:
        what = "no wheel with these tags" if files else "no file of this version"
        return Verdict(proof=Proof.UNPROVEN, reason=f"{what} on any index that was asked")
    if len(candidates) > 1 or _could_be_built_here(files, candidates[0]):
        return candidates
    (only,) = candidates
    if only.metadata_sha256 and installed.metadata_sha256 and only.metadata_sha256 != installed.metadata_sha256:
        return Verdict(proof=Proof.UNPROVEN, reason=f"`{only.filename}` of the index has other metadata")
    return Verdict(proof=Proof.IDENTIFIED, file=only, others=tuple(files))


def _read_record_digest(client: IndexClient, file: IndexFile) -> str:
    """Return the record digest of a wheel on an index, through parts of it alone. Raises ReproError."""
    try:
        with client.open(file) as source, zipfile.ZipFile(source) as wheel:
            return digest_wheel_record(read_wheel_record(wheel))
    except (zipfile.BadZipFile, OSError, EOFError, KeyError) as error:
        raise ReproError(f"`{file.filename}` of the index is no wheel ({error})") from error


def _add_sha256(client: IndexClient, file: IndexFile) -> IndexFile:
    """Return a file with its sha256; where the place does not tell, the file is read for it."""
    if file.sha256:
        return file
    digest = hashlib.sha256()
    with client.open_whole(file) as source:
        while block := source.read(1 << 20):
            digest.update(block)
    return replace(file, sha256=digest.hexdigest())


def _judge_by_record(
    client: IndexClient, installed: Installed, candidates: Sequence[IndexFile], files: Sequence[IndexFile]
) -> Verdict:
    """Return what the RECORD inside each candidate shows; one that cannot be read proves nothing."""
    unreadable = None
    for candidate in candidates:
        try:
            digest = _read_record_digest(client, candidate)
        except ReproError as error:
            unreadable = error.message
            continue
        if digest == installed.record:
            return Verdict(proof=Proof.PROVED, file=_add_sha256(client, candidate), others=tuple(files))
    reason = unreadable or "no wheel of this version on any index that was asked has these files"
    return Verdict(proof=Proof.UNPROVEN, reason=reason)


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
        if verdict.file and (must_prove or not verdict.file.sha256):
            return _judge_by_record(client, mine, (verdict.file,), files)
        if verdict.file:
            return replace(verdict, file=_add_sha256(client, verdict.file))
        return verdict

    names = sorted(installed)
    return dict(zip(names, client.map(judge, names), strict=True))
