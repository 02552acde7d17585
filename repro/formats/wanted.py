"""What a project asks for before any version is chosen: requirements, constraints, index options, a Python.

The readers of requirements files, pyproject.toml, python_env.yaml and the others all give this one value.
"""

from __future__ import annotations

from collections.abc import Iterable

from repro.values import frozen


@frozen
class Place:
    """Where something stands: a file as the user named it, and a line where it is known."""

    file: str
    line: int | None = None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}, line {self.line}"


def find_line(text: str, item: str) -> int | None:
    """Return the number of the first line that holds a quoted or listed `item`: parsers of TOML and YAML keep none."""
    for number, line in enumerate(text.splitlines(), 1):
        if f'"{item}"' in line or f"'{item}'" in line or line.strip().removeprefix("- ").strip() == item:
            return number
    return None


@frozen
class Required:
    """One requirement (PEP 508), `${NAME}` in it not yet replaced; `hashes` are the files allowed, any where empty.

    One that is `for_builds` gives way where it excludes the others.
    """

    name: str
    text: str
    place: Place
    hashes: tuple[str, ...] = ()
    for_builds: bool = False


@frozen
class Include:
    """Another requirements file (`-r`, or `-c`: a constraint), relative to the file that names it."""

    path: str
    place: Place
    constraint: bool = False


@frozen
class Option:
    """An option of a requirements file that concerns the whole, by its long name; `value` is "" for a flag."""

    name: str
    value: str
    place: Place


@frozen
class PythonWish:
    """The Python that is asked for: a version (`3.11` or `3.11.7`), or a range (`>=3.10,<4`) it has to lie in."""

    place: Place
    version: str | None = None
    range: str | None = None


@frozen
class Wanted:
    """All that was read; `faults` are whole sentences with their place, `notes` what the user should know."""

    required: tuple[Required, ...] = ()
    constraints: tuple[Required, ...] = ()
    includes: tuple[Include, ...] = ()
    options: tuple[Option, ...] = ()
    pythons: tuple[PythonWish, ...] = ()
    notes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()

    def get_values(self, name: str) -> tuple[str, ...]:
        """Return every value an option has, in order."""
        return tuple(each.value for each in self.options if each.name == name)


def merge(wanted: Iterable[Wanted]) -> Wanted:
    """Return everything that several files ask for, in their order."""
    parts = tuple(wanted)
    return Wanted(
        required=tuple(each for part in parts for each in part.required),
        constraints=tuple(each for part in parts for each in part.constraints),
        includes=tuple(each for part in parts for each in part.includes),
        options=tuple(each for part in parts for each in part.options),
        pythons=tuple(each for part in parts for each in part.pythons),
        notes=tuple(dict.fromkeys(each for part in parts for each in part.notes)),
        faults=tuple(each for part in parts for each in part.faults),
    )
