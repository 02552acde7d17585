"""Turn the pins that a resolver chose into distributions with the hashes of the files that may be installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from repro.errors import ReproError
from repro.formats.compiled import Compiled
from repro.formats.direct_url import Archive, Index, Vcs
from repro.formats.lockfile import Distribution
from repro.formats.moment import read_upload_time
from repro.formats.simple_index import IndexFile
from repro.process import Runner
from repro.snapshots.choose import Question, describe_direct
from repro.snapshots.index_client import IndexClient
from repro.snapshots.indexes import Indexes, make_public
from repro.snapshots.pins import Pin


def _is_allowed(file: IndexFile, name: str, question: Question) -> bool:
    """Tell whether an installer may take this file: neither too young nor of a kind that was excluded."""
    if file.is_wheel and {name, ":all:"} & set(question.no_binary) and name not in question.only_binary:
        return False
    if not file.is_wheel and {name, ":all:"} & set(question.only_binary) and name not in question.no_binary:
        return False
    uploaded = read_upload_time(file.upload_time)
    return question.before is None or uploaded is None or uploaded < question.before


def _hash_files(client: IndexClient, files: Sequence[IndexFile]) -> tuple[str, ...]:
    """Return the hashes of files; one whose index does not say it is read for it."""
    return tuple(sorted({f"sha256:{each.sha256 or client.compute_sha256(each)}" for each in files}))


def _find_index(files: Sequence[IndexFile], indexes: Indexes) -> Index:
    """Return the index as a lock names it: only where it is not the first, and is one that others can ask too."""
    place = files[0].index
    is_other = place in indexes.named_urls and place not in indexes.urls[:1]
    return Index(url=make_public(place) if is_other else None)


def _restrict(hashes: tuple[str, ...], name: str, question: Question) -> tuple[str, ...]:
    """Return those hashes that the files allow, where they name any."""
    named = [each for each in question.required if each.name == name and each.hashes]
    allowed = {hash_ for each in named for hash_ in each.hashes}
    kept = tuple(each for each in hashes if each in allowed) if allowed else hashes
    if not kept:
        raise ReproError(
            f"{named[0].place}: no file of `{name}` has a hash that stands there",
            hint="do not install it; if you trust the index, take the hashes away",
        )
    return kept


def describe_pins(
    pins: Sequence[Compiled], *, indexes: Indexes, environ: Mapping[str, str], question: Question
) -> tuple[list[Distribution], list[str]]:
    """Return the distributions of an index with the hashes of their files, and what to note of them.

    Raises ReproError where no file may be installed, IndexUnreachableError.
    """
    distributions = []
    with IndexClient(indexes, environ=environ) as client:
        listing = client.list_files([Pin(name=each.name, version=each.version or "") for each in pins])
        notes = [f"{failure}: files that it has are not in the lock" for failure in listing.failures]
        for pin in pins:
            files = [each for each in listing.files[pin.name] if _is_allowed(each, pin.name, question)]
            if not files:
                raise ReproError(f"no index has a file of `{pin.name}=={pin.version}` that may be installed")
            if all(each.yanked is not None for each in files):
                notes.append(f"`{pin.name}` {pin.version} was yanked: {files[0].yanked or 'no reason was given'}")
            distributions.append(
                Distribution(
                    name=pin.name,
                    version=pin.version or "",
                    source=_find_index(files, indexes),
                    hashes=_restrict(_hash_files(client, files), pin.name, question),
                    requested=pin.requested,
                    via=pin.via,
                )
            )
    return distributions, notes


def describe_urls(
    pins: Sequence[Compiled], *, python: str, runner: Runner, env: Mapping[str, str], question: Question
) -> list[Distribution]:
    """Return the distributions that a URL or a commit gives. Raises ReproError where one cannot be locked."""
    found = describe_direct(pins, python=python, runner=runner, env=env)
    distributions = []
    for pin in pins:
        source = found[pin.name].source
        if not isinstance(source, Archive | Vcs) or not source.url or source.url.startswith("file:"):
            raise ReproError(f"`{pin.name}` is a local path, which means nothing on another machine")
        sha256 = source.sha256 if isinstance(source, Archive) else None
        distributions.append(
            Distribution(
                name=pin.name,
                version=found[pin.name].version,
                source=source,
                hashes=_restrict((f"sha256:{sha256}",), pin.name, question) if sha256 else (),
                requested=pin.requested,
                via=pin.via,
            )
        )
    return distributions
