"""What differs between two snapshots, each difference with its class."""

from __future__ import annotations

import re

from repro.formats.direct_url import Vcs
from repro.formats.lockfile import Distribution, Interpreter, Snapshot
from repro.snapshots.severity import (
    NOTHING_KNOWN,
    Known,
    Severity,
    classify,
    classify_interpreters,
    find_used,
)
from repro.values import frozen

_SHOWN_FILES = 3
_RELEASE = re.compile(r"[0-9]{1,99}(\.[0-9]{1,99})*")


def _read_release(version: str) -> tuple[int, ...] | None:
    """Return the numbers of a plain release without the zeros behind, None for any other version."""
    if not _RELEASE.fullmatch(version):
        return None
    numbers = [int(part) for part in version.split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def is_same_version(one: str, other: str) -> bool:
    """Tell whether two versions are equal as PEP 440 has it: `1.0` and `1.0.0` are.

    packaging is imported only for spellings that are neither equal nor plain numbers, and where it is there.
    """
    if one == other:
        return True
    releases = _read_release(one), _read_release(other)
    if None not in releases:
        return releases[0] == releases[1]
    try:
        from packaging.version import InvalidVersion, Version
    except ImportError:
        return one.lower() == other.lower()
    try:
        return Version(one) == Version(other)
    except (InvalidVersion, ValueError):  # ValueError: a number of more digits than int reads
        return False


@frozen
class Change:
    """One distribution that differs; `before` or `after` is None where it is added or removed."""

    name: str
    before: Distribution | None
    after: Distribution | None
    severity: Severity

    @property
    def kind(self) -> str:
        """Say which: `added`, `removed` or `changed`."""
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"

    @property
    def aspects(self) -> tuple[str, ...]:
        """Say what differs of what is on both sides: `version`, `kind`, `commit`, `modified`, `files`; at least one."""
        if self.before is None or self.after is None:
            return ()
        return tuple(_list_aspects(self.before, self.after)) or ("files",)

    def __str__(self) -> str:
        if self.before is None or self.after is None:
            sign, there = ("+", self.after) if self.before is None else ("-", self.before)
            return f"{sign} {self.name} {there.version if there else ''}"
        if not is_same_version(self.before.version, self.after.version):
            return f"~ {self.name} {self.before.version} -> {self.after.version}"
        return f"~ {self.name} {self.after.version} ({describe_aspects(self.before, self.after)})"

    def to_dict(self) -> dict[str, object]:
        """Return the change for `--json`."""
        named: dict[str, object] = {"name": self.name, "class": self.severity.value}
        if self.before is None or self.after is None:
            there = self.after or self.before
            return named | {"version": there.version if there else None}
        return named | {
            "from": self.before.version,
            "to": self.after.version,
            "from_kind": self.before.source.kind,
            "to_kind": self.after.source.kind,
            "files_differ": self.before.record != self.after.record,
            "modified": list(_list_newly_modified(self.before, self.after)),
            "aspects": list(self.aspects),
        }


@frozen
class Drift:
    """All that differs from one snapshot to another, worst first; `interpreters` is set where they do not fit."""

    changes: tuple[Change, ...]
    interpreters: tuple[Interpreter, Interpreter] | None = None

    def __bool__(self) -> bool:
        return bool(self.changes or self.interpreters)

    @property
    def interpreter_severity(self) -> Severity | None:
        """The class of the difference between the Pythons."""
        return classify_interpreters(*self.interpreters) if self.interpreters else None

    @property
    def worst(self) -> Severity | None:
        """The worst class there is, None where nothing differs."""
        found = [change.severity for change in self.changes]
        if python := self.interpreter_severity:
            found.append(python)
        return min(found, key=lambda severity: severity.rank, default=None)

    def select(self, kind: str) -> tuple[Change, ...]:
        """Return the changes of one kind: `added`, `removed` or `changed`."""
        return tuple(change for change in self.changes if change.kind == kind)

    def without_added(self) -> Drift:
        """Return what keeps the second snapshot from satisfying the first: additions do no harm."""
        return Drift(
            changes=tuple(change for change in self.changes if change.before is not None),
            interpreters=self.interpreters,
        )

    def to_dict(self) -> dict[str, object]:
        """Return the difference for `--json`."""
        content: dict[str, object] = {
            "worst": self.worst.value if self.worst else None,
            **{kind: [change.to_dict() for change in self.select(kind)] for kind in ("added", "removed", "changed")},
        }
        if self.interpreters and self.interpreter_severity:
            content["python"] = [describe_interpreter(each) for each in self.interpreters]
            content["python_class"] = self.interpreter_severity.value
        return content


def describe_interpreter(python: Interpreter) -> str:
    """Return an interpreter for people, e.g. `cpython 3.11.7 (cp311, linux-x86_64)`."""
    return f"{python.implementation} {python.version} ({python.abi}, {python.platform})"


def _list_newly_modified(before: Distribution, after: Distribution) -> list[str]:
    """Return the files edited after installing; a repacked wheel that was restored brings the old edits unmarked."""
    return sorted(set(after.modified) - set(before.modified))


def _is_other_commit(before: Distribution, after: Distribution) -> bool:
    return (
        isinstance(before.source, Vcs)
        and isinstance(after.source, Vcs)
        and (before.source.commit, before.source.subdirectory) != (after.source.commit, after.source.subdirectory)
    )


def _has_other_files(before: Distribution, after: Distribution) -> bool:
    """Tell whether the record digests differ; what was built twice from one commit is not held to them."""
    if before.record is None or after.record is None or before.record == after.record:
        return False
    both_commits = isinstance(before.source, Vcs) and isinstance(after.source, Vcs)
    return not both_commits or before.kept or after.kept


def _is_restored_wheel(before: Distribution, after: Distribution) -> bool:
    """Tell whether `after` has the files of the wheel that was kept for `before`, however it was installed first."""
    return before.kept and before.record is not None and before.record == after.record


def _list_aspects(before: Distribution, after: Distribution) -> list[str]:
    found = {
        "version": not is_same_version(before.version, after.version),
        "kind": before.source.kind != after.source.kind and not _is_restored_wheel(before, after),
        "commit": _is_other_commit(before, after),
        "modified": bool(_list_newly_modified(before, after)),
        "files": _has_other_files(before, after),
    }
    return [aspect for aspect, differs in found.items() if differs]


def describe_aspects(before: Distribution, after: Distribution) -> str:
    """Say what differs at an equal version."""
    aspects = _list_aspects(before, after)
    if "modified" in aspects:
        files = _list_newly_modified(before, after)
        more = f" and {len(files) - _SHOWN_FILES} more" if len(files) > _SHOWN_FILES else ""
        return f"edited after it was installed: {', '.join(files[:_SHOWN_FILES])}{more}"
    if "kind" in aspects:
        return f"{before.source.kind} -> {after.source.kind}"
    if isinstance(before.source, Vcs) and isinstance(after.source, Vcs) and "commit" in aspects:
        return f"commit {before.source.commit[:12]} -> {after.source.commit[:12]}"
    return "other files of the same version"


def _differs(before: Distribution, after: Distribution, *, plain: bool, same_files: bool) -> bool:
    if before is after:
        return False
    if plain:
        return not is_same_version(before.version, after.version)
    aspects = _list_aspects(before, after)
    return bool(aspects) and (same_files or aspects != ["files"])


def compare(before: Snapshot, after: Snapshot, *, known: Known = NOTHING_KNOWN) -> Drift:
    """Return what differs from `before`, what was asked for, to `after`, what is there; worst first, then by name.

    A plain requirements file knows names and versions only; files are compared where both have the same platform.
    """
    plain = before.interpreter is None or after.interpreter is None
    interpreters = None
    same_platform = True
    if before.interpreter and after.interpreter:
        same_platform = before.interpreter.platform == after.interpreter.platform
        if classify_interpreters(before.interpreter, after.interpreter):
            interpreters = (before.interpreter, after.interpreter)
    old = {each.name: each for each in before.distributions}
    new = {each.name: each for each in after.distributions}
    names = [
        name
        for name in sorted(old.keys() | new.keys())
        if name not in old or name not in new or _differs(old[name], new[name], plain=plain, same_files=same_platform)
    ]
    used = find_used(before, after, known) if names else frozenset()
    changes = [
        Change(
            name=name,
            before=old.get(name),
            after=new.get(name),
            severity=classify(old.get(name), new.get(name), used=used, known=known),
        )
        for name in names
    ]
    changes.sort(key=lambda change: (change.severity.rank, change.name))
    return Drift(changes=tuple(changes), interpreters=interpreters)
