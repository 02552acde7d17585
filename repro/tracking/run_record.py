"""What a run keeps of the environment it ran in: the snapshot at its start, marks and `environment.json` at its end.

requirements-lock.txt    the snapshot, written before the run's own code starts; at its end with `used` marks
environment.json         the fingerprint: what its numbers depend on beside its distributions
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from repro import settings
from repro.formats.lockfile import FILE_NAME, Snapshot, format_snapshot
from repro.snapshots.attribution import Attribution, attribute
from repro.snapshots.fingerprint import FILE_NAME as FINGERPRINT
from repro.snapshots.fingerprint import Private, assemble, choose_variables, format_fingerprint
from repro.snapshots.hardware import Hardware
from repro.snapshots.owners import find_roots, read_owners, resolve_paths
from repro.snapshots.probe import Found
from repro.snapshots.trace import Trace
from repro.snapshots.used import mark_used
from repro.tracking.store import Store, find_text, write_text
from repro.values import frozen, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ParamSpec, TypeVar

    Given = ParamSpec("Given")
    Made = TypeVar("Made")

_REMEMBERED = 4


@frozen
class Record:
    """What is known of a run that ends: the snapshot it has kept and what that was made from, where it has one.

    `trace` is None where it was not observed, `environ` what it was started with, `hardware` what it ran on.
    """

    snapshot: Snapshot | None
    found: tuple[Found, ...]
    trace: Trace | None
    environ: Mapping[str, str]
    hardware: Hardware


def _remember(make: Callable[Given, Made]) -> Callable[Given, Made]:
    """Let a function remember what it has made last: a script or a sweep may start many runs in one environment.

    What it is given is compared, and is mostly the very same; a hash would be made of all that is in it each time.
    """
    last: list[tuple[object, Made]] = []

    def ask(*given: Given.args, **named: Given.kwargs) -> Made:
        nonlocal last
        asked = given, named
        for before, made in last:
            if before == asked:
                return made
        made = make(*given, **named)
        last = [(asked, made), *last[: _REMEMBERED - 1]]
        return made

    return ask


format_once = _remember(format_snapshot)
_mark = _remember(mark_used)
_format_fingerprint = _remember(format_fingerprint)


@_remember
def _attribute(trace: Trace, found: tuple[Found, ...]) -> Attribution:
    """Read the RECORDs once for the many runs that one script may start."""
    roots = find_roots(found)
    trace = replace(trace, paths=resolve_paths(trace.paths, roots))
    return attribute(trace, read_owners(found), roots)


def _make_private(environ: Mapping[str, str]) -> Private:
    return Private(words=settings.get_private_words(environ), directories=(settings.get_home_dir(environ),))


def _keep_marks(store: Store, run_id: str, snapshot: Snapshot, used: frozenset[str]) -> int | None:
    """Mark the run's own copy of the lock; one that the script has put into its place is left alone."""
    if find_text(store, run_id, FILE_NAME) != format_once(snapshot):
        return None
    marked = _mark(snapshot, used)
    count = sum(each.used for each in marked.distributions)
    write_text(store, run_id, FILE_NAME, format_once(marked))
    store.set_tag(run_id, "repro.snapshot.used", str(count))
    return count


def prepare_record(snapshot: Snapshot | None, environ: Mapping[str, str]) -> None:
    """Do before a run ends what its end would wait for: make the lock's text, and compile what looks for secrets."""
    if snapshot:
        format_once(snapshot)
    choose_variables(environ, _make_private(environ))


def keep_record(store: Store, run_id: str, record: Record) -> int | None:
    """Keep marks and fingerprint of a run that ends; return how many distributions it has used, None if unknown.

    Raises TrackingError.
    """
    trace = record.trace or Trace()
    attribution = _attribute(trace, record.found)
    count = None
    if record.snapshot and record.trace:
        count = _keep_marks(store, run_id, record.snapshot, attribution.used)
    if find_text(store, run_id, FINGERPRINT) is None:  # a file of that name is the script's own
        fingerprint = assemble(
            record.hardware,
            trace.processes,
            environ=record.environ,
            library_owners=attribution.library_owners,
            private=_make_private(record.environ),
        )
        write_text(store, run_id, FINGERPRINT, _format_fingerprint(fingerprint))
    return count
