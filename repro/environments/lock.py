"""Lock what a project asks for: its loose requirements resolved, or another tool's lock read, for one interpreter.

Nothing is installed: such a lock has versions and hashes, but no record digests (docs/snapshot-format.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

from repro import settings
from repro.environments.interpreters import Candidate
from repro.environments.machine import Machine
from repro.environments.snapshot import find_lock
from repro.environments.wished_python import choose_for, choose_of_period
from repro.errors import ProjectError, ReproError, UsageError
from repro.formats.compiled import Compiled
from repro.formats.direct_url import Index, Vcs, clean_url
from repro.formats.lockfile import Distribution, Snapshot
from repro.formats.pylock import find_unlockable, is_pylock_name, parse_pylock
from repro.formats.target import make_target
from repro.formats.uv_lock import FILE_NAME as UV_LOCK
from repro.formats.uv_lock import parse_uv_lock
from repro.formats.wanted import Required, Wanted
from repro.snapshots.choose import BadMetadataError, NotBuiltError, Question, Resolver, make_resolver
from repro.snapshots.dated_index import serving_dated_index
from repro.snapshots.describe import TOOL
from repro.snapshots.drift import Drift, compare
from repro.snapshots.indexes import Indexes, find_default_index
from repro.snapshots.old_pip import OldPipResolver, find_old_pip
from repro.snapshots.resolved import describe_pins, describe_urls
from repro.snapshots.wanted import expand_variables, hide_variables, read_source, read_wanted
from repro.values import frozen, replace


@frozen
class LockRequest:
    """What a caller asks for: the files that say what is wanted, or one lock of another tool.

    `before` leaves out what an index had only after that moment; `more` is wanted beside what the files say, also of no
    file at all, for a project at `root`. With `of_period`, the Python may be one that was in use by then, where nobody
    has named another.
    """

    files: tuple[Path, ...]
    python: str | None = None
    engine: str | None = None
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    before: datetime | None = None
    more: tuple[Required, ...] = ()
    of_period: bool = False
    root: Path | None = None

    @property
    def place(self) -> Path:
        """The directory whose configuration names indexes."""
        return self.root or self.files[0].parent


@frozen
class Locked:
    """The snapshot, the interpreter it was made for, and notes for the caller: one sentence each."""

    snapshot: Snapshot
    python: str
    notes: tuple[str, ...]


@frozen
class LockOutcome:
    """What was locked to stand at `path`: what changes against the lock there, None where there was none."""

    path: Path
    locked: Locked
    drift: Drift | None
    would_change: bool
    notes: tuple[str, ...]


def is_lock_of_others(path: Path) -> bool:
    """Tell whether a file is a lock already, which is read and not resolved again."""
    return path.name == UV_LOCK or is_pylock_name(path.name)


def _name_indexes(wanted: Wanted, machine: Machine) -> Indexes:
    """Return the indexes that the caller's options and the files themselves name, variables replaced."""

    def values(name: str) -> tuple[str, ...]:
        return tuple(expand_variables(value, machine.environ) for value in wanted.get_values(name))

    given = machine.indexes or Indexes()
    return replace(
        given,
        default_url=given.default_url or (values("--index-url") or (None,))[-1],
        extra_urls=(*given.extra_urls, *values("--extra-index-url")),
        find_links=(*given.find_links, *values("--find-links")),
        no_index=True if wanted.get_values("--no-index") else given.no_index,
        trusted_hosts=(*given.trusted_hosts, *values("--trusted-host")),
    )


def _find_secret_indexes(wanted: Wanted, environ: Mapping[str, str]) -> set[str]:
    """Return the index URLs, cleaned, that hold a variable's value in their host or path: no lock may name them."""
    named = (*wanted.get_values("--index-url"), *wanted.get_values("--extra-index-url"))
    return {clean_url(expand_variables(url, environ)) for url in named if "${" in clean_url(url)}


def _split_names(values: Iterable[str]) -> tuple[str, ...]:
    """Return the names of `--no-binary` or `--only-binary`, after pip's rule: `:none:` forgets those before it."""
    names: list[str] = []
    for value in values:
        for name in value.split(","):
            names = [] if name == ":none:" else [*names, name]
    return tuple(dict.fromkeys(names))


def _make_question(wanted: Wanted, request: LockRequest) -> Question:
    return Question(
        required=wanted.required,
        constraints=wanted.constraints,
        no_binary=_split_names(wanted.get_values("--no-binary")),
        only_binary=_split_names(wanted.get_values("--only-binary")),
        prereleases=bool(wanted.get_values("--pre")),
        before=request.before,
    )


def _choose(
    machine: Machine, resolver: Resolver, question: Question, *, python: str, indexes: Indexes, env: Mapping[str, str]
) -> tuple[tuple[Compiled, ...], tuple[str, ...]]:
    """Return the pins that a resolver chooses, an old pip where only that can read the metadata, and what to note."""
    try:
        return resolver.resolve(question), ()
    except (BadMetadataError, NotBuiltError) as error:
        is_bad = isinstance(error, BadMetadataError)
        old = find_old_pip(python, runner=machine.runner, env=env, caches_dir=machine.store.room())
        if old is None or not (is_bad or question.before):
            raise
        machine.report(f"choosing versions with {old.name}")
        try:
            pins = _ask_old_pip(old, question, indexes=indexes, environ=machine.environ)
        except ReproError:
            if is_bad:
                raise
            raise error from None  # what it was asked instead of tells more
        what = "is malformed" if is_bad else "cannot be told without building it"
        return pins, (
            f"the metadata of an old distribution {what}: {old.name}, which reads it, has chosen the versions",
        )


def _ask_old_pip(
    old: OldPipResolver, question: Question, *, indexes: Indexes, environ: Mapping[str, str]
) -> tuple[Compiled, ...]:
    if question.before is None:
        return old.resolve(question)
    with serving_dated_index(indexes, old.env, environ=environ, before=question.before) as env:
        return replace(old, env=env).resolve(question)


def _choose_python(machine: Machine, request: LockRequest, wanted: Wanted) -> tuple[Candidate, tuple[str, ...]]:
    """Return the interpreter to lock for, and what to note of the choice."""
    if request.of_period and request.before and not request.python:
        candidate = choose_of_period(machine, wanted.pythons, request.before)
        if candidate:
            day, version = request.before.date(), candidate.interpreter.version
            return candidate, (f"Python {version}, which was in use on {day}, is taken; `--python` names another",)
    return choose_for(machine, request.python, wanted.pythons)


def _resolve(machine: Machine, request: LockRequest, wanted: Wanted) -> Locked:
    candidate, notes = _choose_python(machine, request, wanted)
    indexes = replace(machine, indexes=_name_indexes(wanted, machine)).find_indexes(request.place)
    env = settings.make_installer_environment(machine.environ)
    indexes.write_to(env)
    resolver = make_resolver(
        request.engine,
        python=candidate.path,
        version=candidate.interpreter.version,
        runner=machine.runner,
        env=env,
        caches_dir=machine.store.room(),
    )
    question = _make_question(wanted, request)
    machine.report(f"choosing versions with {resolver.name}")
    pins, odd = (
        _choose(machine, resolver, question, python=candidate.path, indexes=indexes, env=env)
        if wanted.required
        else ((), ())
    )
    machine.report(f"looking up the files of {len(pins)} distributions")
    direct = [each for each in pins if each.url]
    others = [each for each in pins if not each.url]
    built = describe_urls(direct, python=candidate.path, runner=machine.runner, env=env, question=question)
    listed, more_notes = describe_pins(others, indexes=indexes, environ=machine.environ, question=question)
    secret = _find_secret_indexes(wanted, machine.environ)
    snapshot = Snapshot(
        interpreter=candidate.interpreter,
        distributions=tuple(sorted([*built, *listed], key=lambda each: each.name)),
        index_urls=tuple(url for url in indexes.public_urls if url not in secret),
        tool=TOOL,
    )
    return Locked(snapshot=snapshot, python=candidate.path, notes=(*wanted.notes, *notes, *odd, *more_notes))


def _resolve_what_fits(machine: Machine, request: LockRequest, wanted: Wanted) -> Locked:
    """Resolve, without the build dependencies where they exclude the others: MLflow installs them first, then over."""
    try:
        return _resolve(machine, request, wanted)
    except ReproError:
        others = tuple(each for each in wanted.required if not each.for_builds)
        if len(others) in (0, len(wanted.required)):
            raise
        dropped = ", ".join(f"`{each.text}`" for each in wanted.required if each.for_builds)
        try:
            locked = _resolve(machine, request, replace(wanted, required=others))
        except ReproError:
            pass
        else:
            note = f"the build dependencies {dropped} exclude the dependencies, and are left out"
            return replace(locked, notes=(*locked.notes, note))
        raise


def _name_foreign_indexes(snapshot: Snapshot, indexes: Indexes) -> Snapshot:
    """Return a snapshot whose entries name only indexes that are neither the default nor the user's own first."""
    usual = {clean_url(url).rstrip("/") for url in (find_default_index(), *indexes.urls[:1])}
    distributions = tuple(
        replace(each, source=Index())
        if isinstance(each.source, Index) and each.source.url and each.source.url.rstrip("/") in usual
        else each
        for each in snapshot.distributions
    )
    foreign = [each.source.url for each in distributions if isinstance(each.source, Index) and each.source.url]
    return replace(
        snapshot, distributions=distributions, index_urls=tuple(dict.fromkeys((*indexes.public_urls, *foreign)))
    )


def _read_lock_of_others(machine: Machine, request: LockRequest) -> Locked:
    path = request.files[0]
    if len(request.files) > 1:
        raise UsageError(f"`{path}` is a lock already, and is read alone", hint="name one lock, or loose files")
    if request.before:
        raise UsageError(f"`{path}` is a lock already: no date changes what it chose", hint="leave `--as-of` out")
    text = read_source(path)
    candidate, _ = choose_for(machine, request.python, ())
    target = make_target(candidate.interpreter)
    if path.name == UV_LOCK:
        read = parse_uv_lock(text, where=str(path), target=target, extras=request.extras, groups=request.groups)
    else:
        groups = request.groups or None
        read = parse_pylock(text, where=str(path), target=target, extras=request.extras, groups=groups)
    if faults := tuple(find_unlockable(read, where=str(path))):
        raise ProjectError(f"`{path}` cannot be locked", details=faults)
    indexes = machine.find_indexes(path.parent)
    snapshot = replace(_name_foreign_indexes(read, indexes), interpreter=candidate.interpreter, tool=TOOL)
    return Locked(snapshot=snapshot, python=candidate.path, notes=())


def read_request(machine: Machine, request: LockRequest) -> Wanted:
    """Return what loose files want, and more. Raises what `read_wanted` raises."""
    wanted = read_wanted(request.files, environ=machine.environ, extras=request.extras, groups=request.groups)
    return replace(wanted, required=(*wanted.required, *request.more))


def lock_requirements(machine: Machine, request: LockRequest) -> Locked:
    """Return the snapshot that the files of a project lead to on one interpreter of this machine.

    Raises UsageError for a file that is not there or not for this, ProjectError with every fault of those that are,
    InvalidSnapshotError for a lock of another tool that cannot be read, InterpreterNotFoundError where no Python is
    what they ask for, and ReproError where no versions fit.
    """
    others = [path for path in request.files if is_lock_of_others(path)]
    if others:
        first = [*others, *(path for path in request.files if path not in others)]
        return _read_lock_of_others(machine, replace(request, files=tuple(first)))
    takes_choices = any(path.suffix == ".toml" for path in request.files)
    if (request.extras or request.groups) and not takes_choices:
        raise UsageError("none of these files has extras or groups", hint="name `pyproject.toml`")
    wanted = read_request(machine, request)
    try:
        return _resolve_what_fits(machine, request, wanted)
    except ReproError as error:
        details = (hide_variables(line, wanted, machine.environ) for line in error.details)
        error.details = tuple(details)
        error.message = hide_variables(error.message, wanted, machine.environ)
        raise


def _keep_known(locked: Locked, old: Snapshot | None) -> Locked:
    """Return a lock in which an unchanged entry keeps what the lock before knew: its hashes, file, record digest.

    An index gains files of an old version, and a snapshot has proved some: neither is a change.
    """
    if old is None or old.interpreter is None or locked.snapshot.interpreter is None:
        return locked
    if old.interpreter.compatibility != locked.snapshot.interpreter.compatibility:
        return locked
    before = {each.name: each for each in old.distributions}
    kept = []
    for each in locked.snapshot.distributions:
        was = before.get(each.name)
        if was and (was.version, was.source.kind) == (each.version, each.source.kind) and _is_part(was, each):
            each = replace(was, source=each.source, requested=each.requested, via=each.via, used=False)  # noqa: PLW2901
        kept.append(each)
    return replace(locked, snapshot=replace(locked.snapshot, distributions=tuple(kept)))


def _is_part(was: Distribution, now: Distribution) -> bool:
    if isinstance(now.source, Vcs):
        return was.source == now.source
    return bool(was.hashes) and set(was.hashes) <= set(now.hashes)


def _list_files(snapshot: Snapshot) -> tuple[object, ...]:
    """Return what an installer would see of a snapshot."""
    return snapshot.compute_digest(), [(each.name, sorted(each.hashes), each.source) for each in snapshot.distributions]


def lock_for(machine: Machine, request: LockRequest, *, path: Path) -> LockOutcome:
    """Lock what is asked for, to stand at `path`; nothing is written. Raises what `lock_requirements` raises."""
    old, notes = find_lock(path)
    locked = _keep_known(lock_requirements(machine, request), old)
    return LockOutcome(
        path=path,
        locked=locked,
        drift=compare(old, locked.snapshot) if old else None,
        would_change=old is None or _list_files(old) != _list_files(locked.snapshot),
        notes=(*notes, *locked.notes),
    )
