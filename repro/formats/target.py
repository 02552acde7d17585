"""What a lock is read or made for: an interpreter, as markers (PEP 508) and wheel tags (PEP 425) see it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from repro.formats.lockfile import Interpreter
from repro.formats.tags import expand_tags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from packaging.tags import Tag

_IMPLEMENTATIONS = {"cpython": "CPython", "pypy": "PyPy", "graalpy": "GraalVM"}


@dataclass(frozen=True, kw_only=True)
class Target:
    """An interpreter of this machine, None for the one that runs."""

    python: Interpreter | None

    @cached_property
    def markers(self) -> Mapping[str, str]:
        """The markers' variables."""
        return _describe_markers(self.python)

    @cached_property
    def tags(self) -> tuple[Tag, ...]:
        """The tags of the wheels that fit, best first."""
        return tuple(_list_tags(self.python))

    @cached_property
    def _ranks(self) -> dict[str, int]:
        return {str(tag): rank for rank, tag in reversed(list(enumerate(self.tags)))}

    def find_rank(self, wheel_name: str) -> int | None:
        """Return how well a wheel with this file name fits, 0 the best, None where it cannot be installed."""
        tags = expand_tags("-".join(wheel_name.removesuffix(".whl").split("-")[-3:]))
        return min((self._ranks[tag] for tag in tags if tag in self._ranks), default=None)

    def accepts(self, wheel_name: str) -> bool:
        """Tell whether a wheel with this file name can be installed."""
        return self.find_rank(wheel_name) is not None


def _describe_markers(python: Interpreter | None) -> dict[str, str]:
    """Return the markers' variables: the interpreter's own, and this machine's where only it knows them."""
    from packaging.markers import default_environment  # which takes as long as looking at all wheels of a lock

    here = {key: str(value) for key, value in default_environment().items()}
    if python is None:
        return here
    return {
        **here,
        "implementation_name": python.implementation,
        "implementation_version": python.version,
        "platform_machine": python.platform.partition("-")[2] or here["platform_machine"],
        "platform_python_implementation": _IMPLEMENTATIONS.get(python.implementation, python.implementation),
        "python_full_version": python.version,
        "python_version": python.minor,
    }


def _list_tags(python: Interpreter | None) -> Iterator[Tag]:
    from packaging.tags import compatible_tags, cpython_tags, generic_tags, platform_tags, sys_tags

    if python is None:
        yield from sys_tags()
        return
    major, minor = (int(part) for part in python.minor.split("."))
    platforms = list(platform_tags())
    if python.implementation == "cpython":
        yield from cpython_tags((major, minor), [python.abi], platforms)
        name = f"cp{major}{minor}"
    else:
        short = {"pypy": "pp"}.get(python.implementation, re.sub(r"\W", "", python.implementation))
        name = f"{short}{major}{minor}"
        yield from generic_tags(name, [python.abi, f"{python.abi}_pp73"], platforms)
    yield from compatible_tags((major, minor), name, platforms)


def make_target(python: Interpreter | None) -> Target:
    """Return the target for an interpreter of this machine; None is the one that runs."""
    return Target(python=python)
