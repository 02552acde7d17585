"""What `uv pip compile` and `pip-compile` print: exact pins with who requires them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from repro.formats.lockfile import canonicalize_name
from repro.values import frozen

_VIA = re.compile(r"#\s*via\b\s*(.*)")


@frozen
class Compiled:
    """One pin: a version, or the URL it was asked for by, credentials included.

    `via` are canonical names of what requires it; `requested` tells that a requirements file does.
    """

    name: str
    version: str | None
    url: str | None
    via: tuple[str, ...]
    requested: bool


def _read_pin(line: str) -> tuple[str, str | None, str | None]:
    from packaging.requirements import Requirement

    requirement = Requirement(line)
    version = next((each.version for each in requirement.specifier if each.operator == "=="), None)
    return canonicalize_name(requirement.name), version, requirement.url


def _read_via(comment: str) -> Iterator[str]:
    """Yield the words of a comment `# via a, -r b`: distributions by canonical name, files as `-r` or `-c`."""
    for part in comment.split(","):
        word = part.strip()
        if word.startswith("-"):
            yield word[:2]
        elif word and " " not in word:
            yield canonicalize_name(word.partition("[")[0])


def parse_compiled(text: str) -> tuple[Compiled, ...]:
    """Return the pins of a resolver's output, sorted by name. Raises ValueError for a line that is none."""
    found: list[tuple[str, str | None, str | None, set[str]]] = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("#"):
            match = _VIA.match(stripped)
            if found:
                found[-1][3].update(_read_via(match[1] if match else stripped.lstrip("# ")))
        elif stripped and not stripped.startswith("-"):
            found.append((*_read_pin(stripped), set()))
    pins = [
        Compiled(
            name=name, version=version, url=url, via=tuple(sorted(via - {name, "-r", "-c"})), requested="-r" in via
        )
        for name, version, url, via in found
    ]
    return tuple(sorted(pins, key=lambda each: each.name))
