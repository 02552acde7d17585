"""Resolve what is installed to files of indexes: by the client that can prove it, else by uv, pip or pip-tools.

A tool says hashes and proves nothing; it serves where one is asked for by name, and where only it gets past the door of
an index (a keyring).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import unquote

from repro.errors import ReproError
from repro.formats.direct_url import Archive, clean_url, parse_direct_url
from repro.formats.lockfile import Proof
from repro.formats.simple_index import IndexFile
from repro.snapshots.index_client import FetchError, IndexClient, find_path
from repro.snapshots.indexes import Indexes
from repro.snapshots.installed import Installed
from repro.snapshots.keep import Keeper
from repro.snapshots.memory import Artefact
from repro.snapshots.pins import AskHashes, Pin
from repro.snapshots.prove import Verdict, prove_files


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What was found, by canonical name, and sentences for the taker; `complete` where every index has answered."""

    artefacts: Mapping[str, Artefact]
    notes: tuple[str, ...] = ()
    complete: bool = True


def _make_artefact(
    installed: Installed, verdict: Verdict, *, indexes: Indexes, keeper: Keeper, notes: list[str]
) -> Artefact:
    """Return the artefact of a verdict; a wheel that lies on this machine alone is kept, else a note is added."""
    file = verdict.file
    if file is None:
        return Artefact(
            record=installed.record, proof=Proof.UNPROVEN, local=True, reason=verdict.reason, scope=indexes.id
        )
    path = find_path(file.url)
    if path:
        try:
            return replace(keeper.keep_file(path), record=installed.record, proof=verdict.proof)
        except ReproError as error:
            notes.append(f"`{installed.found.name}` cannot be kept: {error.message}")
    first = indexes.urls[0] if indexes.urls else None
    return Artefact(
        record=installed.record,
        proof=verdict.proof,
        file=file.filename,
        hashes=verdict.hashes,
        index=None if file.index == first else clean_url(file.index),
    )


def _note_yanked(name: str, file: IndexFile | None) -> list[str]:
    if file is None or file.yanked is None:
        return []
    reason = f": {file.yanked}" if file.yanked else ""
    return [f"`{file.filename}` was yanked from its index{reason}"]


def _find_archive(installed: Installed) -> IndexFile | None:
    """Return the file that a distribution was installed from by its URL (PEP 610)."""
    try:
        source = parse_direct_url(installed.found.direct_url or "")
    except ValueError:
        return None
    if not isinstance(source, Archive):
        return None
    return IndexFile(filename=unquote(source.url.rpartition("/")[2]), url=source.url, sha256=source.sha256)


def resolve_through_client(
    installed: Mapping[str, Installed],
    *,
    indexes: Indexes,
    environ: Mapping[str, str],
    keeper: Keeper,
    must_prove: bool,
) -> Resolution:
    """Return which files are installed. Raises IndexUnreachableError, and FetchError where no index lets us in."""
    archives = {name: file for name, each in installed.items() if (file := _find_archive(each))}
    pins = [Pin(name=name, version=each.found.version) for name, each in installed.items() if name not in archives]
    with IndexClient(indexes, environ=environ) as client:
        listing = client.list_files(pins)
        files = {**listing.files, **{name: (file,) for name, file in archives.items()}}
        verdicts = prove_files(client, installed, files, must_prove=must_prove)
    notes = [note for name, verdict in verdicts.items() for note in _note_yanked(name, verdict.file)]
    notes += [f"an index did not answer: {each}" for each in listing.failures]
    unkept: list[str] = []
    artefacts = {
        name: _make_artefact(installed[name], verdict, indexes=indexes, keeper=keeper, notes=unkept)
        for name, verdict in verdicts.items()
    }
    return Resolution(artefacts=artefacts, notes=(*notes, *unkept), complete=not (listing.failures or unkept))


def resolve_through_tools(installed: Mapping[str, Installed], ask: AskHashes) -> Resolution:
    """Return the hashes that a tool says, which prove nothing. Raises IndexUnreachableError and ReproError."""
    pins = [Pin(name=name, version=each.found.version) for name, each in sorted(installed.items())]
    hashes = ask(pins)
    artefacts = {}
    for name, each in installed.items():
        found = hashes.get(name, ())
        reason = "an installer was asked for hashes" if found else "no index that was asked has this version"
        artefacts[name] = Artefact(
            record=each.record, proof=Proof.UNPROVEN, hashes=tuple(found), local=not found, reason=reason
        )
    return Resolution(artefacts=artefacts, complete=False)


Resolve = Callable[[Mapping[str, Installed]], Resolution]


def make_resolver(
    *,
    indexes: Indexes,
    environ: Mapping[str, str],
    keeper: Keeper,
    must_prove: bool,
    ask: AskHashes,
    ask_first: bool,
) -> Resolve:
    """Return what resolves distributions: the client, and where no index lets it in, or `ask_first`, the tools."""

    def resolve(installed: Mapping[str, Installed]) -> Resolution:
        if ask_first:
            return resolve_through_tools(installed, ask)
        try:
            return resolve_through_client(
                installed, indexes=indexes, environ=environ, keeper=keeper, must_prove=must_prove
            )
        except FetchError as error:
            resolution = resolve_through_tools(installed, ask)
            note = f"{error.message}: an installer was asked for hashes instead, nothing is proved"
            return replace(resolution, notes=(note,))

    return resolve
