"""Say what is missing or inconsistent in an environment before it is locked, as `pip check` would, and more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from repro.formats.lockfile import Interpreter, canonicalize_name, is_version
from repro.snapshots.probe import Found

TYPE_CHECKING = False
if TYPE_CHECKING:
    from packaging.requirements import Requirement


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong with the distribution `name`: `missing`, `incompatible`, `unreadable` and the like."""

    kind: str
    name: str
    text: str


def _make_marker_environment(python: Interpreter) -> dict[str, str]:
    """Return the variables of markers for the interpreter looked at, which need not be ours (PEP 508)."""
    system, _, machine = python.platform.partition("-")
    return {
        "implementation_name": python.implementation,
        "implementation_version": python.version,
        "os_name": "posix",
        "platform_machine": machine,
        "platform_python_implementation": {"cpython": "CPython", "pypy": "PyPy"}.get(
            python.implementation, python.implementation
        ),
        "platform_release": "",
        "platform_system": system.capitalize(),
        "platform_version": "",
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


def check_requirements(founds: Mapping[str, Found], python: Interpreter) -> tuple[Fault, ...]:
    """Return a fault for each requirement that is missing or not met; requirements of extras do not count.

    `founds` are by canonical name. Follows PEP 508 and PEP 440 through packaging.
    """
    from packaging.markers import InvalidMarker, Marker
    from packaging.requirements import InvalidRequirement, Requirement

    environment = _make_marker_environment(python)
    applies = cache(lambda marker: Marker(marker).evaluate(environment))  # few markers stand behind most requirements
    faults: list[Fault | None] = []
    for name, found in sorted(founds.items()):
        for text in found.requires:
            head, _, marker = (part.strip() for part in text.partition(";"))
            try:
                if marker and not applies(marker):
                    continue
                requirement = Requirement(head)
            except (InvalidMarker, InvalidRequirement):
                faults.append(Fault(kind="unreadable", name=name, text=f"`{name}` has a malformed requirement: {text}"))
                continue
            there = founds.get(canonicalize_name(requirement.name))
            faults.append(_check_requirement(name, requirement, there))
    return tuple(fault for fault in faults if fault)
