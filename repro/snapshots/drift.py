"""What differs between two snapshots."""

from __future__ import annotations

from dataclasses import dataclass

from repro.formats.lockfile import Distribution, Interpreter, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One distribution that differs; `before` or `after` is None where it is added or removed."""

    name: str
    before: Distribution | None
    after: Distribution | None

    def __str__(self) -> str:
        if self.before is None or self.after is None:
            sign, there = ("+", self.after) if self.before is None else ("-", self.before)
            return f"{sign} {self.name} {there.version if there else ''}"
        if self.before.version != self.after.version:
            return f"~ {self.name} {self.before.version} -> {self.after.version}"
        if self.before.source.kind != self.after.source.kind:
            return f"~ {self.name} {self.after.version} ({self.before.source.kind} -> {self.after.source.kind})"
        return f"~ {self.name} {self.after.version} (other files of the same version)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """All that differs from one snapshot to another; `interpreters` is set where they do not fit each other."""

    changes: tuple[Change, ...]
    interpreters: tuple[Interpreter, Interpreter] | None = None

    def __bool__(self) -> bool:
        return bool(self.changes or self.interpreters)

    def select(self, kind: str) -> tuple[Change, ...]:
        """Return the changes of one kind: `added`, `removed` or `changed`."""
        return tuple(change for change in self.changes if _kind_of(change) == kind)

    def without_added(self) -> Drift:
        """Return what keeps the second snapshot from satisfying the first: additions do no harm."""
        return Drift(
            changes=tuple(change for change in self.changes if change.before is not None),
            interpreters=self.interpreters,
        )

    def to_dict(self) -> dict[str, object]:
        """Return the difference for `--json`."""
        content: dict[str, object] = {
            "added": [{"name": c.name, "version": c.after.version} for c in self.select("added") if c.after],
            "removed": [{"name": c.name, "version": c.before.version} for c in self.select("removed") if c.before],
            "changed": [
                {
                    "name": c.name,
                    "from": c.before.version,
                    "to": c.after.version,
                    "from_kind": c.before.source.kind,
                    "to_kind": c.after.source.kind,
                    "files_differ": c.before.record != c.after.record,
                }
                for c in self.select("changed")
                if c.before and c.after
            ],
        }
        if self.interpreters:
            content["python"] = [describe_interpreter(each) for each in self.interpreters]
        return content


def _kind_of(change: Change) -> str:
    if change.before is None:
        return "added"
    return "removed" if change.after is None else "changed"


def describe_interpreter(python: Interpreter) -> str:
    """Return an interpreter for people, e.g. `cpython 3.11.7 (cp311, linux-x86_64)`."""
    return f"{python.implementation} {python.version} ({python.abi}, {python.platform})"


def _differs(before: Distribution, after: Distribution, *, plain: bool, same_files: bool) -> bool:
    if before.version != after.version:
        return True
    if plain or (before.record is not None and before.record == after.record):
        return False
    if before.source.kind != after.source.kind:
        return True
    return same_files and before.record is not None and after.record is not None


def compare(before: Snapshot, after: Snapshot) -> Drift:
    """Return what differs from `before` to `after`.

    A plain requirements file knows names and versions only; files are compared where both have the same platform.
    """
    plain = before.interpreter is None or after.interpreter is None
    interpreters = None
    same_platform = True
    if before.interpreter and after.interpreter:
        same_platform = before.interpreter.platform == after.interpreter.platform
        if before.interpreter.compatibility != after.interpreter.compatibility or not same_platform:
            interpreters = (before.interpreter, after.interpreter)
    old = {each.name: each for each in before.distributions}
    new = {each.name: each for each in after.distributions}
    changes = [
        Change(name=name, before=old.get(name), after=new.get(name))
        for name in sorted(old.keys() | new.keys())
        if name not in old or name not in new or _differs(old[name], new[name], plain=plain, same_files=same_platform)
    ]
    return Drift(changes=tuple(changes), interpreters=interpreters)
