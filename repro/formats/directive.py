"""What a script's own text says of how it is run: a comment for editors, or `[tool.repro]` in its header (PEP 723).

The comment stands among the first lines, with nothing but comments and empty lines before it:

    # !source repro.run
    # !source repro.run(restore=True, alpha=0.5)
    # !repro run --restore -P alpha=0.5

The first form is RStudio's; its arguments are literals, with or without the parentheses. Nothing is ever evaluated.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from repro.errors import UsageError
from repro.values import frozen, replace

_COMMENT = re.compile(r"^\s*#+\s*!\s*(source|repro)\b(.*)$")
_CALL = re.compile(r"^([\w.:]+)\s*,?\s*(.*)$", re.DOTALL)
_SWITCHES = ("restore", "snapshot", "observe")
_NOT_HERE = ("uri", "entry_point", "cache")  # of `repro.run`, and no parameters by mistake
_HINT = "`# !source repro.run` or `# !source repro.run(restore=True, alpha=0.5)`"


@frozen
class Directive:
    """How a script wants to be run; `line` is where it says so, counted from 1."""

    line: int
    restore: bool = False
    snapshot: bool = True
    observe: bool = True
    python: str | None = None
    parameters: tuple[tuple[str, str], ...] = ()


class _Faults:
    """Gather what is wrong, each with its place."""

    def __init__(self, where: str) -> None:
        self._where = where
        self.found: list[str] = []

    def add(self, line: int, text: str) -> None:
        self.found.append(f"{self._where}:{line}: {text}")


def _format_parameter(value: object) -> str:
    """Return a parameter's text. Raises ValueError where the value is none."""
    if isinstance(value, str | bool | int | float):
        return str(value)
    raise ValueError


def _switch(directive: Directive, key: str, on: bool) -> Directive:
    match key:
        case "restore":
            return replace(directive, restore=on)
        case "snapshot":
            return replace(directive, snapshot=on)
        case _:
            return replace(directive, observe=on)


def _apply(directive: Directive, key: str, value: object, text: str | None) -> Directive:
    """Return the directive with one more argument; `text` is a number as it is written. Raises ValueError."""
    if key in _SWITCHES:
        if not isinstance(value, bool):
            raise ValueError(f"`{key}` must be true or false, and `{value}` is not")
        return _switch(directive, key, value)
    if key == "python":
        if not isinstance(value, str) or not value:
            raise ValueError(f"`python` must be a path, and `{value}` is not")
        return replace(directive, python=value)
    if key in _NOT_HERE:
        raise ValueError(f"`{key}` is not known here: it is this file that is run")
    if key in dict(directive.parameters):
        raise ValueError(f"the parameter `{key}` is given twice")
    try:
        written = _format_parameter(value) if text is None else text
    except ValueError:
        raise ValueError(f"the parameter `{key}` must be a text, a number, True or False") from None
    return replace(directive, parameters=(*directive.parameters, (key, written)))


def _read_number_text(source: str, node: ast.expr, value: object) -> str | None:
    """Return a number as it is written (`1e-3`), where any reader takes it so; None for any other value."""
    written = ast.get_source_segment(source, node) or ""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return written if is_number and re.fullmatch(r"[-+]?[\d.]+([eE][-+]?\d+)?", written) else None


def _read_literal(keyword: ast.keyword) -> object:
    """Return an argument's value. Raises ValueError for anything but a literal."""
    if keyword.arg is None:
        raise ValueError("`**` is not read: only literals are")
    try:
        return ast.literal_eval(keyword.value)
    except (ValueError, TypeError, MemoryError, RecursionError):
        written = ast.unparse(keyword.value)
        raise ValueError(f"`{keyword.arg}={written}` is not a literal, and nothing is evaluated") from None


def _read_call(directive: Directive, text: str) -> Directive:
    """Read `repro.run(restore=True, alpha=0.5)`. Raises ValueError."""
    match = _CALL.match(text.strip())
    if not match:
        raise ValueError(f"a function is missing behind `!source`: {_HINT}")
    name, rest = match[1], match[2].strip()
    if name != "repro.run":
        raise ValueError(f"`{name}` is not known: {_HINT}")
    source = f"run{rest}" if rest.startswith("(") else f"run({rest})"
    try:
        tree = ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ValueError(f"`{rest}` are not arguments such as `restore=True, alpha=0.5`") from None
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name) or tree.args:
        raise ValueError(f"`{rest}` are not arguments such as `restore=True, alpha=0.5`: each has a name")
    for keyword in tree.keywords:
        value, key = _read_literal(keyword), str(keyword.arg)
        if key == "parameters" and isinstance(value, dict):
            directive = _apply_parameters(directive, value)
        else:
            directive = _apply(directive, key, value, _read_number_text(source, keyword.value, value))
    return directive


def _apply_parameters(directive: Directive, parameters: Mapping[object, object]) -> Directive:
    """Add parameters whatever they are called. Raises ValueError."""
    for name, value in parameters.items():
        if not isinstance(name, str) or not name or "=" in name:
            raise ValueError(f"`{name}` is no name of a parameter")
        if name in dict(directive.parameters):
            raise ValueError(f"the parameter `{name}` is given twice")
        try:
            directive = replace(directive, parameters=(*directive.parameters, (name, _format_parameter(value))))
        except ValueError:
            raise ValueError(f"the parameter `{name}` must be a text, a number, True or False") from None
    return directive


def _read_command_line(directive: Directive, text: str) -> Directive:
    """Read `run --restore -P alpha=0.5`. Raises ValueError."""
    import shlex

    words = shlex.split(text)
    if words[:1] != ["run"]:
        raise ValueError(f"`!repro{text.rstrip()}` is not known: `# !repro run` is, or {_HINT}")
    waiting = words[1:]
    while waiting:
        word = waiting.pop(0)
        if word == "--restore":
            directive = replace(directive, restore=True)
        elif word in ("--no-snapshot", "--no-observe"):
            directive = _switch(directive, word[5:], False)
        elif word in ("-P", "--param", "--python") and waiting:
            value = waiting.pop(0)
            name, separator, given = value.partition("=")
            if word != "--python" and (not name or not separator):
                raise ValueError(f"`-P {value}` is not `NAME=VALUE`")
            key, said = ("python", value) if word == "--python" else ("", given)
            directive = _apply(directive, key, said, None) if key else _apply_parameters(directive, {name: given})
        else:
            raise ValueError(f"`{word}` is not known here: `-P NAME=VALUE`, `--restore`, `--no-snapshot`, "
                             "`--no-observe` and `--python PATH` are")  # fmt: skip
    return directive


def _find_comments(lines: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    """Yield line, word and rest of each directive in the leading comments."""
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            return
        if match := _COMMENT.match(line):
            yield number, match[1], match[2]


def _read_table(directive: Directive, table: Mapping[str, object], refuse: Callable[[str], None]) -> Directive | None:
    """Read `[tool.repro]`; one with `run = false` is none."""
    for key, value in table.items():
        try:
            if key == "run":
                if not isinstance(value, bool):
                    raise ValueError(f"`run` must be true or false, and `{value}` is not")
            elif key == "parameters":
                if not isinstance(value, dict):
                    raise ValueError("`parameters` must be a table")
                directive = _apply_parameters(directive, value)
            elif key in (*_SWITCHES, "python"):
                directive = _apply(directive, key, value, None)
            else:
                raise ValueError(f"`{key}` is not known: run, restore, snapshot, observe, python and parameters are")
        except ValueError as error:
            refuse(f"[tool.repro]: {error}")
    return None if table.get("run") is False else directive


def _find_table(text: str, where: str, faults: _Faults) -> Iterator[Directive]:
    from repro.formats.fields import read_mapping
    from repro.formats.pyproject import find_script_headers
    from repro.formats.toml import parse_toml

    for line, content in find_script_headers(text):
        wrong: list[str] = []
        tool = read_mapping(parse_toml(content, where=where), "tool", place="", faults=wrong)
        table = read_mapping(tool, "repro", place="tool", faults=wrong)
        for fault in wrong:
            faults.add(line, fault)
        if "repro" not in tool:
            continue
        found = _read_table(Directive(line=line), table, lambda fault, at=line: faults.add(at, fault))  # type: ignore[misc]
        if found:
            yield found


def find_directive(text: str, *, where: str) -> Directive | None:
    """Return how a script wants to be run, None where it does not say. Raises UsageError with every fault.

    A header that is not TOML is a ReproError.
    """
    faults = _Faults(where)
    found = []
    for line, word, rest in _find_comments(text.splitlines()):
        try:
            read = _read_call if word == "source" else _read_command_line
            found.append(read(Directive(line=line), rest))
        except ValueError as error:
            faults.add(line, str(error))
            found.append(Directive(line=line))
    found += _find_table(text, where, faults)
    if len(found) > 1:
        faults.add(found[1].line, f"it says a second time how it is run, after line {found[0].line}")
    if faults.found:
        raise UsageError(f"`{where}` does not say rightly how it is run", details=tuple(faults.found))
    return found[0] if found else None
