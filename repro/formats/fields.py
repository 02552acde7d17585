"""Read and write YAML as mappings: the only user of yaml (the environment's own copy, else one lent to a script).

yaml is imported inside the functions: who reads no file does not pay for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from repro.errors import ProjectError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import yaml

_INSTALL = "pip install pyyaml"
# What these plain scalars (`<<`, `=`) mean as keys is decided with their mapping.
_MOST_DEPTH = 1000  # libyaml calls itself for each level, and the process ends where its stack does
_OPENERS = ("[", "{", "- ", "? ")
_KEY_TAGS = ("tag:yaml.org,2002:merge", "tag:yaml.org,2002:value")


def _walk_nodes(root: yaml.Node) -> Iterator[yaml.Node]:
    """Yield every node of a document once, in the order of the text; an alias may lead back up."""
    import yaml

    visited: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in visited:
            continue
        visited.add(id(node))
        yield node
        if isinstance(node, yaml.MappingNode):
            waiting += [each for pair in reversed(node.value) for each in reversed(pair)]
        elif isinstance(node, yaml.SequenceNode):
            waiting += reversed(node.value)


def _refuse_repeated_keys(mapping: yaml.MappingNode) -> None:
    """Look at the text's own keys: a merge (`<<`) later adds others that may be overridden."""
    import yaml

    seen = set()
    for key, _ in mapping.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        if key.value in seen:
            raise yaml.MarkedYAMLError(problem=f"the key `{key.value}` stands twice", problem_mark=key.start_mark)
        seen.add(key.value)


def _refuse_impossible_value(loader: yaml.SafeLoader, scalar: yaml.ScalarNode) -> None:
    """Name the place of a value such as the date `2020-13-45`; yaml lets the converter's bare error through."""
    import yaml

    if scalar.tag in _KEY_TAGS:
        return
    try:
        loader.construct_object(scalar)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        problem = f"`{scalar.value}` is not a {scalar.tag.rpartition(':')[2]}"
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=scalar.start_mark) from error


def _refuse_depth(text: str) -> None:
    """Refuse a text that is nested too deep to be built; only one with as many openers can be."""
    import yaml

    if sum(map(text.count, _OPENERS)) <= _MOST_DEPTH:
        return
    depth = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MOST_DEPTH:
            problem = f"it is nested more than {_MOST_DEPTH} deep"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)  # type: ignore[arg-type]


def _load(text: str) -> tuple[object, str]:
    """Return a document's content, and where it begins."""
    import yaml

    _refuse_depth(text)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None, ", line 1, column 1"
        for node in _walk_nodes(root):
            if isinstance(node, yaml.MappingNode):
                _refuse_repeated_keys(node)
            elif isinstance(node, yaml.ScalarNode):
                _refuse_impossible_value(loader, node)
        return loader.construct_document(root), _format_place(root.start_mark)
    finally:
        loader.dispose()


def _format_place(mark: yaml.Mark | None) -> str:
    return f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""


def _explain(error: Exception, text: str) -> tuple[str, str]:
    """Return where a loader stopped, and why."""
    import yaml

    if isinstance(error, yaml.MarkedYAMLError):
        return _format_place(error.problem_mark or error.context_mark), str(error.problem or error.context)
    if isinstance(error, yaml.reader.ReaderError) and isinstance(error.character, int):
        before = text.partition(chr(error.character))[0]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        return f", line {line}, column {column}", f"{error.reason} (U+{error.character:04X})"
    return "", " ".join(str(error).split())


def load_mapping(text: str, *, where: str) -> dict[str, object]:
    """Return the mapping a YAML text holds. Raises ProjectError with `where`, line and column."""
    try:
        import yaml
    except ImportError as error:
        raise ProjectError(f"`{where}` cannot be read: it is YAML that needs pyyaml", hint=_INSTALL) from error
    try:
        content, start = _load(text)
    except (yaml.YAMLError, RecursionError, TypeError, ValueError) as error:
        place, reason = _explain(error, text)
        raise ProjectError(f"`{where}`{place} is not valid YAML: {reason}") from error
    if not isinstance(content, dict):
        raise ProjectError(f"`{where}`{start} is not a YAML mapping of `key: value` lines")
    return {str(key): value for key, value in content.items()}


def find_key_line(text: str, place: str) -> int | None:
    """Return the line of the key that a place such as `entry_points.main.command` names, else of the nearest above it.

    A key may have dots itself.
    """
    import yaml

    node = yaml.compose(text, Loader=yaml.SafeLoader)
    line = None
    while place and isinstance(node, yaml.MappingNode):
        found = [
            (key, value)
            for key, value in node.value
            if isinstance(key, yaml.ScalarNode) and (place == key.value or place.startswith(f"{key.value}."))
        ]
        if not found:
            break
        key, node = max(found, key=lambda pair: len(pair[0].value))
        line, place = key.start_mark.line + 1, place[len(key.value) + 1 :]
    return line


def dump_mapping(mapping: Mapping[str, object]) -> str:
    """Return a mapping as YAML with sorted keys. Raises ProjectError for values that YAML has no word for."""
    try:
        import yaml
    except ImportError as error:
        raise ProjectError("YAML cannot be written without pyyaml", hint=_INSTALL) from error
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    try:
        text = yaml.dump(dict(mapping), Dumper=dumper, sort_keys=True, allow_unicode=True, default_flow_style=False)
    except (yaml.YAMLError, TypeError, RecursionError) as error:  # a TypeError: keys that cannot be sorted
        raise ProjectError(f"this cannot be YAML: {' '.join(map(str, error.args))}") from error
    return str(text)


def _join(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def read_text(mapping: Mapping[str, object], key: str, *, place: str, faults: list[str]) -> str | None:
    """Return a single value as text, None where there is none; a list or a mapping is added to `faults`.

    `true` becomes "true" and 0.5 "0.5". `place` names the mapping, "" the whole file.
    """
    value = mapping.get(key)
    if isinstance(value, (dict, list, set, tuple, bytes)):
        faults.append(f"not a single value in `{_join(place, key)}`")
        return None
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else str(value)


def read_mapping(mapping: Mapping[str, object], key: str, *, place: str, faults: list[str]) -> dict[str, object]:
    """Return the mapping behind a key, empty where there is none; anything else is added to `faults`."""
    value = mapping.get(key)
    if value is not None and not isinstance(value, dict):
        faults.append(f"not a mapping in `{_join(place, key)}`")
    return {str(name): each for name, each in value.items()} if isinstance(value, dict) else {}
