"""Say what is missing or inconsistent in an environment before it is locked, as `pip check` would, and more."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cache

from repro.formats.lockfile import Interpreter, canonicalize_name, is_version
from repro.snapshots.probe import Found
from repro.values import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from packaging.requirements import Requirement


@frozen
class Fault:
    """One thing that is wrong with the distribution `name`: `missing`, `incompatible`, `unreadable` and the like."""

    kind: str
    name: str
    text: str


def _make_marker_environment(python: Interpreter) -> dict[str, str]:
    """Return the variables of markers for an interpreter of this machine, which need not be ours (PEP 508)."""
    system, _, machine = python.platform.partition("-")
    return {
        "implementation_name": python.implementation,
        "implementation_version": python.version,
        "os_name": "posix",
        "platform_machine": machine,
        "platform_python_implementation": {"cpython": "CPython", "pypy": "PyPy"}.get(
            python.implementation, python.implementation
        ),
        "platform_release": os.uname().release,
        "platform_system": system.capitalize(),
        "platform_version": os.uname().version,
        "python_full_version": python.version,
        "python_version": python.minor,
        "sys_platform": system,
        "extra": "",
    }


def _check_requirement(name: str, requirement: Requirement, there: Found | None) -> Fault | None:
    if there is None:
        text = f"`{name}` needs `{requirement}`, which is not installed"
        return Fault(kind="missing", name=name, text=text)
    if is_version(there.version) and not requirement.specifier.contains(there.version, prereleases=True):
        text = f"`{name}` needs `{requirement}`, but {there.version} is installed"
        return Fault(kind="incompatible", name=name, text=text)
    return None


def _make_reader(python: Interpreter) -> Callable[[str], Requirement | None]:
    """Return what reads a requirement, None where its marker is false. It raises ValueError for one that is malformed.

    Few markers stand behind most requirements: each is read once.
    """
    from packaging.markers import Marker, UndefinedComparison, UndefinedEnvironmentName
    from packaging.requirements import InvalidRequirement, Requirement

    environment = _make_marker_environment(python)
    applies = cache(lambda marker: Marker(marker).evaluate(environment))

    def read(text: str) -> Requirement | None:
        head, _, marker = (part.strip() for part in text.partition(";"))
        try:
            if "@" in head:  # in a URL there may be a `;`
                whole = Requirement(text)
                return whole if whole.marker is None or whole.marker.evaluate(environment) else None
            return Requirement(head) if not marker or applies(marker) else None
        except (InvalidRequirement, UndefinedComparison, UndefinedEnvironmentName) as error:
            raise ValueError("malformed") from error

    return read


def _check_one(
    name: str, text: str, founds: Mapping[str, Found], read: Callable[[str], Requirement | None]
) -> Fault | None:
    try:
        requirement = read(text)
    except ValueError:
        shown = "".join(char if char.isprintable() else "?" for char in " ".join(text.split()))[:200]
        return Fault(kind="unreadable", name=name, text=f"`{name}` has a malformed requirement: `{shown}`")
    if requirement is None:
        return None
    return _check_requirement(name, requirement, founds.get(canonicalize_name(requirement.name)))


def check_requirements(founds: Mapping[str, Found], python: Interpreter) -> tuple[Fault, ...]:
    """Return a fault for each requirement that is missing or not met; requirements of extras do not count.

    `founds` are by canonical name. Follows PEP 508 and PEP 440 through packaging.
    """
    read = _make_reader(python)
    faults = (_check_one(name, text, founds, read) for name, found in sorted(founds.items()) for text in found.requires)
    return tuple(fault for fault in faults if fault)
