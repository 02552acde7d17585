"""Resolve what is installed to files of indexes: by the client that can prove it, else by uv, pip or pip-tools.

A tool says hashes and proves nothing; it serves where one is asked for by name, and where only it gets past the door of
an index (a keyring).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import unquote

from repro.errors import ReproError
from repro.formats.direct_url import Archive, parse_direct_url
from repro.formats.lockfile import Proof
from repro.formats.simple_index import IndexFile, is_file_name
from repro.snapshots.index_client import IndexClient
from repro.snapshots.indexes import Indexes, find_path, make_public
from repro.snapshots.installed import Installed
from repro.snapshots.keep import Keeper
from repro.snapshots.memory import Artefact
from repro.snapshots.pins import AskHashes, FetchError, IndexUnreachableError, Pin
from repro.snapshots.prove import Verdict, prove_files
from repro.values import frozen, replace


@frozen
class Resolution:
    """What was found, by canonical name, sentences for the taker, and what may be answered otherwise next time."""

    artefacts: Mapping[str, Artefact]
    notes: tuple[str, ...] = ()
    open_names: frozenset[str] = frozenset()


def _make_artefact(installed: Installed, verdict: Verdict, *, indexes: Indexes, is_open: bool) -> Artefact:
    """Return the artefact of a verdict.

    What no index has is asked for again where others are named, or in any case where the answer `is_open`.
    """
    file = verdict.file
    if file is None:
        scope = None if is_open else indexes.id
        return Artefact(record=installed.record, proof=Proof.UNPROVEN, local=True, reason=verdict.reason, scope=scope)
    first = next(iter(indexes.urls), None)
    return Artefact(
        record=installed.record,
        proof=verdict.proof,
        file=file.filename,
        hashes=verdict.hashes,
        index=None if file.index in ("", first) else make_public(file.index),
    )


def _keep(installed: Installed, verdict: Verdict, keeper: Keeper) -> Artefact | str | None:
    """Keep a wheel that lies on this machine alone, and return its artefact, else why it cannot be kept."""
    path = find_path(verdict.file.url) if verdict.file else None
    if path is None:
        return None
    try:
        kept = keeper.keep_file(path)
    except ReproError as error:
        return error.message
    return replace(kept, proof=verdict.proof) if kept.record == installed.record else "it was replaced meanwhile"


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
    filename = unquote(source.url.rpartition("/")[2]) if isinstance(source, Archive) else ""
    if not isinstance(source, Archive) or not is_file_name(filename) or find_path(source.url):
        return None
    return IndexFile(filename=filename, url=source.url, sha256=source.sha256)


def _find_open(verdicts: Mapping[str, Verdict], *, has_failures: bool) -> frozenset[str]:
    """Return the names of what may be answered otherwise next time."""
    return frozenset(
        name for name, each in verdicts.items() if not each.is_final or (has_failures and each.file is None)
    )


def resolve_through_client(
    installed: Mapping[str, Installed],
    *,
    indexes: Indexes,
    environ: Mapping[str, str],
    keeper: Keeper,
    must_prove: bool,
) -> Resolution:
    """Return which files are installed. Raises IndexUnreachableError, and FetchError where the first index has no page.

    What a URL says it was installed from is looked for there alone.
    """
    archives = {name: file for name, each in installed.items() if (file := _find_archive(each))}
    pins = [Pin(name=name, version=each.found.version) for name, each in installed.items() if name not in archives]
    with IndexClient(indexes, environ=environ) as client:
        listing = client.list_files(pins)
        files = {**listing.files, **{name: (file,) for name, file in archives.items()}}
        verdicts = prove_files(client, installed, files, must_prove=must_prove)
    notes = [note for name, verdict in verdicts.items() for note in _note_yanked(name, verdict.file)]
    notes += [*listing.notes, *(f"an index was left out: {each}" for each in listing.failures)]
    open_names = _find_open(verdicts, has_failures=bool(listing.failures))
    kept = {name: _keep(installed[name], verdict, keeper) for name, verdict in verdicts.items()}
    notes += [f"`{name}` cannot be kept: {why}" for name, why in kept.items() if isinstance(why, str)]
    open_names |= {name for name, why in kept.items() if isinstance(why, str)}
    artefacts = {
        name: each
        if isinstance(each := kept[name], Artefact)
        else _make_artefact(installed[name], verdict, indexes=indexes, is_open=name in open_names)
        for name, verdict in verdicts.items()
    }
    return Resolution(artefacts=artefacts, notes=tuple(notes), open_names=open_names)


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
    return Resolution(artefacts=artefacts, open_names=frozenset(artefacts))


def _resolve_instead(installed: Mapping[str, Installed], ask: AskHashes, error: FetchError) -> Resolution:
    """Return what a tool says where the client failed with `error`.

    Raises IndexUnreachableError where the tool fails or finds nothing: then it was not let in either.
    """
    try:
        resolution = resolve_through_tools(installed, ask)
    except ReproError:
        resolution = Resolution(artefacts={})
    if not any(each.hashes for each in resolution.artefacts.values()):
        raise IndexUnreachableError(error.message, hint=error.hint) from error
    note = f"{error.message}: an installer was asked for hashes instead, nothing is proved"
    return replace(resolution, notes=(note,))


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
            return _resolve_instead(installed, ask, error)

    return resolve
