"""MLflow's `python_env.yaml`: a Python version, build dependencies and dependencies (requirement lines)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from repro.formats.fields import dump_mapping, load_mapping, read_text
from repro.formats.wanted import Place, PythonWish, Wanted, find_line, merge

FILE_NAME = "python_env.yaml"
_KEYS = ("python", "build_dependencies", "dependencies")
_VERSION = re.compile(r"\d+\.\d+(\.\d+((a|b|rc)\d+)?)?")


def read_python_version(text: str, *, place: Place, faults: list[str]) -> tuple[PythonWish, ...]:
    """Return the wish for a version such as `3.11` or `3.11.7`; anything else is added to `faults`."""
    if text == "3.1":
        faults.append(f'{place}: YAML reads 3.10 as the number 3.1: write `python: "3.10"`')
        return ()
    if _VERSION.fullmatch(text):
        return (PythonWish(place=place, version=text),)
    faults.append(f"{place}: `{text}` is not a Python version such as `3.11` or `3.11.7`")
    return ()


def read_requirement_list(value: object, *, text: str, where: str, key: str, faults: list[str]) -> Wanted:
    """Return what a YAML list of requirement lines asks for."""
    from repro.formats.loose_requirements import read_lines  # needs packaging, which who writes a file may not have

    if not isinstance(value, list | None) or not all(isinstance(each, str) for each in value or ()):
        faults.append(f"{where}: `{key}` is not a list of requirements")
        return Wanted()
    return read_lines([(Place(file=where, line=find_line(text, each)), each.strip()) for each in value or ()])


def parse_python_env(text: str, *, where: str) -> Wanted:
    """Return what a python_env.yaml asks for.

    Raises ProjectError where it is not YAML; other faults, unknown keys among them, are gathered.
    """
    content = load_mapping(text, where=where)
    faults = [f"{where}: unknown key `{key}`; it may have {', '.join(_KEYS)}" for key in content if key not in _KEYS]
    build, others = (
        read_requirement_list(content.get(key), text=text, where=where, key=key, faults=faults) for key in _KEYS[1:]
    )
    build = replace(build, required=tuple(replace(each, for_builds=True) for each in build.required))
    unplaced: list[str] = []
    version = read_text(content, "python", place="", faults=unplaced)
    place = Place(file=where, line=find_line(text, f"python: {version}") or find_line(text, str(version)))
    pythons = read_python_version(version, place=place, faults=faults) if version else ()
    faults += [f"{where}: {fault}" for fault in unplaced]
    return merge([build, others, Wanted(pythons=pythons, faults=tuple(faults))])


def format_python_env(*, python: str | None, pins: Sequence[str]) -> str:
    """Return the python_env.yaml for exact pins, as MLflow writes and reads it."""
    build = [pin for pin in pins if re.match(r"(pip|setuptools|wheel)([=@ ]|$)", pin)]
    content: Mapping[str, object] = {
        "python": python,
        "build_dependencies": build,
        "dependencies": [pin for pin in pins if pin not in build],
    }
    return dump_mapping({key: value for key, value in content.items() if value})
