"""pyproject.toml, and the header of a script (PEP 723): what a project asks for (PEP 621, PEP 735).

Only what is written down is read; dependencies that a build backend computes are refused with a hint.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from repro.errors import ProjectError
from repro.formats.fields import read_mapping
from repro.formats.lockfile import canonicalize_name
from repro.formats.loose_requirements import parse_requirement
from repro.formats.toml import parse_toml
from repro.formats.wanted import Include, Place, PythonWish, Required, Wanted, find_line

# The reference implementation's pattern (PEP 723).
_SCRIPT_BLOCK = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")


class _Reader:
    """Read the tables of one file and gather what is wrong."""

    def __init__(self, text: str, where: str) -> None:
        self.text = text
        self.where = where
        self.faults: list[str] = []

    def place(self, item: str) -> Place:
        return Place(file=self.where, line=find_line(self.text, item))

    def read_texts(self, value: object, key: str) -> list[str]:
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            self.faults.append(f"{self.where}: `{key}` is not a list of texts")
            return []
        return value

    def read_required(self, texts: Sequence[str]) -> Iterator[Required]:
        for text in texts:
            place = self.place(text)
            try:
                yield parse_requirement(text, place=place)
            except ValueError as error:
                self.faults.append(f"{place}: {error}")

    def read_python(self, table: Mapping[str, object]) -> tuple[PythonWish, ...]:
        from packaging.specifiers import InvalidSpecifier, SpecifierSet

        value = table.get("requires-python")
        if value is None:
            return ()
        place = self.place(str(value))
        try:
            return (PythonWish(place=place, range=str(SpecifierSet(str(value)))),)
        except InvalidSpecifier:
            self.faults.append(f"{place}: `{value}` is not a range of Python versions (`requires-python`)")
            return ()


def _find_sources(reader: _Reader, content: Mapping[str, object], required: Sequence[Required]) -> None:
    """Refuse requirements that uv takes from elsewhere: to take them from an index would be another distribution."""
    tool = read_mapping(content, "tool", place="", faults=reader.faults)
    uv = read_mapping(tool, "uv", place="tool", faults=reader.faults)
    sources = {canonicalize_name(name): name for name in read_mapping(uv, "sources", place="tool.uv", faults=[])}
    for each in required:
        if each.name in sources:
            reader.faults.append(
                f"{each.place}: `{each.name}` has a source of its own in `tool.uv.sources`, which is not read: "
                "lock it with `uv lock`, then name `uv.lock`"
            )


def _resolve_extras(reader: _Reader, project: Mapping[str, object], extras: Sequence[str]) -> Iterator[str]:
    """Yield the requirements of extras; one may name others of its own project (`name[other]`)."""
    name = canonicalize_name(str(project.get("name", "")))
    tables = read_mapping(project, "optional-dependencies", place="project", faults=reader.faults)
    known = {canonicalize_name(extra): value for extra, value in tables.items()}
    waiting, seen = [canonicalize_name(extra) for extra in extras], set()
    while waiting:
        extra = waiting.pop(0)
        if extra in seen:
            continue
        seen.add(extra)
        if extra not in known:
            there = ", ".join(f"`{each}`" for each in known) or "none"
            reader.faults.append(f"{reader.where}: there is no extra `{extra}`; it has {there}")
            continue
        for text in reader.read_texts(known[extra], f"project.optional-dependencies.{extra}"):
            own = re.fullmatch(r"\s*([A-Za-z0-9._-]+)\s*\[([^\]]+)\]\s*", text)
            if own and canonicalize_name(own[1]) == name:
                waiting += [canonicalize_name(each.strip()) for each in own[2].split(",")]
            else:
                yield text


def _resolve_groups(reader: _Reader, content: Mapping[str, object], groups: Sequence[str]) -> Iterator[str]:
    tables = read_mapping(content, "dependency-groups", place="", faults=reader.faults)
    known = {canonicalize_name(group): value for group, value in tables.items()}

    def resolve(group: str, above: tuple[str, ...]) -> Iterator[str]:
        if group in above:
            chain = " -> ".join((*above, group))
            reader.faults.append(f"{reader.where}: the dependency groups include each other in a circle: {chain}")
            return
        if group not in known:
            there = ", ".join(f"`{each}`" for each in known) or "none"
            reader.faults.append(f"{reader.where}: there is no dependency group `{group}`; it has {there}")
            return
        value = known[group]
        for item in value if isinstance(value, list) else [None]:
            match item:
                case str():
                    yield item
                case {"include-group": str(other), **rest} if not rest:
                    yield from resolve(canonicalize_name(other), (*above, group))
                case _:
                    reader.faults.append(f"{reader.where}: `dependency-groups.{group}` is not a list of requirements")

    for group in groups:
        yield from resolve(canonicalize_name(group), ())


def _find_dynamic_files(reader: _Reader, content: Mapping[str, object]) -> tuple[Include, ...]:
    """Return the files that setuptools reads dynamic dependencies from; any other backend would have to be run."""
    tool = read_mapping(content, "tool", place="", faults=reader.faults)
    setuptools = read_mapping(tool, "setuptools", place="tool", faults=reader.faults)
    dynamic = read_mapping(setuptools, "dynamic", place="tool.setuptools", faults=reader.faults)
    match dynamic.get("dependencies"):
        case {"file": str(name)}:
            names = [name]
        case {"file": list(listed)} if all(isinstance(each, str) for each in listed):
            names = listed
        case _:
            reader.faults.append(
                f"{reader.where}: its dependencies are dynamic, only its build backend knows them: "
                "write them into a requirements file and name that"
            )
            return ()
    place = reader.place("dependencies")
    return tuple(Include(path=name, place=place) for name in names)


def _refuse_empty(reader: _Reader, content: Mapping[str, object], groups: Sequence[str]) -> None:
    if "project" in content or (groups and "dependency-groups" in content):
        return
    tool = read_mapping(content, "tool", place="", faults=reader.faults)
    hint = "; poetry's own table is not read, its `[project]` is" if "poetry" in tool else ""
    reader.faults.append(f"{reader.where}: it has no `[project]` table{hint}")


def parse_pyproject(text: str, *, where: str, extras: Sequence[str] = (), groups: Sequence[str] = ()) -> Wanted:
    """Return what a project asks for, with some of its extras and dependency groups.

    Raises ReproError where it is not TOML; other faults are gathered.
    """
    reader = _Reader(text, where)
    content = parse_toml(text, where=where)
    project = read_mapping(content, "project", place="", faults=reader.faults)
    _refuse_empty(reader, content, groups)
    dynamic = reader.read_texts(project.get("dynamic"), "project.dynamic")
    texts = reader.read_texts(project.get("dependencies"), "project.dependencies")
    texts += _resolve_extras(reader, project, extras)
    texts += _resolve_groups(reader, content, groups)
    required = tuple(reader.read_required(list(dict.fromkeys(texts))))
    _find_sources(reader, content, required)
    return Wanted(
        required=required,
        includes=_find_dynamic_files(reader, content) if "dependencies" in dynamic else (),
        pythons=reader.read_python(project),
        faults=tuple(reader.faults),
    )


def find_script_headers(text: str) -> Iterator[tuple[int, str]]:
    """Yield line and TOML of each `# /// script` block (PEP 723), of which a script may have one."""
    for match in _SCRIPT_BLOCK.finditer(text):
        if match["type"] == "script":
            lines = match["content"].splitlines()
            content = "\n".join(line[2:] if line.startswith("# ") else line[1:] for line in lines)
            yield text.count("\n", 0, match.start()) + 1, content


def parse_script(text: str, *, where: str) -> Wanted:
    """Return what the header of a script asks for (PEP 723).

    Raises ProjectError where there is none, or it is not TOML; other faults are gathered.
    """
    headers = list(find_script_headers(text))
    if len(headers) != 1:
        many = "more than one" if headers else "no"
        raise ProjectError(f"`{where}` has {many} `# /// script` header (PEP 723)", hint="name a requirements file")
    content = parse_toml(headers[0][1], where=where)
    reader = _Reader(text, where)
    required = tuple(reader.read_required(reader.read_texts(content.get("dependencies"), "dependencies")))
    _find_sources(reader, content, required)
    return Wanted(required=required, pythons=reader.read_python(content), faults=tuple(reader.faults))
