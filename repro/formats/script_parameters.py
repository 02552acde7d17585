"""What a Python script accepts on its command line, read with `ast` and never run.

Found are the calls of `repro.param`, argparse's `add_argument`, and click's `option` and `argument`. What is computed
when the script runs is kept as its source; what cannot be known at all is a remark.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Mapping
from enum import Enum

from repro.formats.source_code import parse_source
from repro.values import frozen


class Origin(Enum):
    """Who reads a parameter from the command line."""

    REPRO = "repro.param"
    ARGPARSE = "argparse"
    CLICK = "click"


@frozen
class Computed:
    """A value that only running the script would tell; `source` is how it is written there."""

    source: str


Value = str | int | float | bool | None | list[object] | Computed


@frozen
class ScriptParameter:
    """A parameter of a script; `spellings` are its options (`--alpha`, `-a`), none for one that is told by its place.

    `type` is None where none is named; `is_flag` where it takes no value. `line` counts from 1.
    """

    name: str
    origin: Origin
    spellings: tuple[str, ...]
    type: str | None
    default: Value
    required: bool
    is_flag: bool
    choices: Value
    description: Value
    line: int


@frozen
class Remark:
    """What is not known of a script's parameters, and why."""

    line: int
    text: str


@frozen
class Accepted:
    """What a script accepts, in the order of its lines, and what else it may accept."""

    parameters: tuple[ScriptParameter, ...]
    remarks: tuple[Remark, ...]


_CLICKS = ("click", "rich_click", "asyncclick")
_UNREADABLE = (
    "typer", "fire", "absl", "hydra", "docopt", "simple_parsing", "jsonargparse", "tyro", "tap", "optparse", "getopt",
)  # fmt: skip
_OWN_TYPES = {
    "str": "string", "string": "string", "float": "numeric", "numeric": "numeric", "int": "integer",
    "integer": "integer", "bool": "bool", "boolean": "bool",
}  # fmt: skip
_FLAG_ACTIONS = ("store_true", "store_false", "store_const", "append_const", "count", "BooleanOptionalAction")
_CLICK_TYPES = {"INT": "int", "FLOAT": "float", "STRING": "str", "BOOL": "bool", "UUID": "uuid", "File": "file"}


def _read_literal(node: ast.expr) -> object:
    """Return a literal's value. Raises ValueError for anything else."""
    value = ast.literal_eval(node)
    if isinstance(value, tuple | list):
        return [_check_plain(each) for each in value]
    return _check_plain(value)


def _check_plain(value: object) -> object:
    """Return a value that JSON has too. Raises ValueError for any other."""
    if value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ValueError


class _Names:
    """What the names of a script stand for: modules and their functions by import, and constants."""

    def __init__(self, tree: ast.Module) -> None:
        self.modules: dict[str, str] = {}
        self.functions: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self.modules[alias.asname or alias.name.partition(".")[0]] = alias.name
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for alias in node.names:
                    self.functions[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        self.constants = dict(_find_constants(tree))

    def resolve(self, node: ast.expr) -> str | None:
        """Return the dotted name behind `repro.param`, or behind `param` where it was imported from there."""
        match node:
            case ast.Name(id=name):
                return self.functions.get(name) or self.modules.get(name)
            case ast.Attribute(value=owner, attr=attr):
                above = self.resolve(owner)
                return f"{above}.{attr}" if above else None
        return None

    def read(self, node: ast.expr | None) -> Value:
        """Return the value of a literal, or of a name that is a constant's."""
        if node is None:
            return None
        if isinstance(node, ast.Name) and node.id in self.constants:
            node = self.constants[node.id]
        try:
            return _read_literal(node)  # type: ignore[return-value]
        except (ValueError, TypeError, MemoryError, RecursionError):
            return Computed(source=ast.unparse(node))


def _find_constants(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Yield the names that a module binds once, and to a literal."""
    bound: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound[node.id] = bound.get(node.id, 0) + 1
        elif isinstance(node, ast.arg):
            bound[node.arg] = bound.get(node.arg, 0) + 2
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if bound[name] == 1:
                yield name, value
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value) if bound[name] == 1:
                yield name, value


def _format_type(node: ast.expr | None, names: _Names) -> str | None:
    """Return a type as a word: `float` of `float` and `"float"`, `int` of `click.INT`, else its source."""
    match node:
        case None | ast.Constant(value=None):
            return None
        case ast.Constant(value=str(word)):
            return word
        case ast.Name(id=name):
            return _CLICK_TYPES.get(name, name) if names.functions.get(name, "").startswith(_CLICKS) else name
        case ast.Attribute(attr=attr):
            return _CLICK_TYPES.get(attr, ast.unparse(node))
        case ast.Call(func=ast.Attribute(attr="Choice") | ast.Name(id="Choice")):
            return "choice"
    return ast.unparse(node)


def _type_of(value: Value) -> str | None:
    return type(value).__name__ if isinstance(value, str | bool | int | float) else None


class _Reader:
    """Gather the parameters and remarks of one script."""

    def __init__(self, names: _Names) -> None:
        self.names = names
        self.parameters: list[ScriptParameter] = []
        self.remarks: list[Remark] = []

    def remark(self, node: ast.expr | ast.stmt, text: str) -> None:
        self.remarks.append(Remark(line=node.lineno, text=text))

    def _read_keywords(self, call: ast.Call) -> dict[str, ast.expr]:
        if any(keyword.arg is None for keyword in call.keywords):
            self.remark(call, f"some of what is said of a parameter is computed: `{_shorten(call)}`")
        return {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}

    def read_own(self, call: ast.Call) -> None:
        """Read a call of `repro.param`."""
        fields = dict(zip(("name", "default", "type", "description"), call.args, strict=False))
        fields |= self._read_keywords(call)
        name = self.names.read(fields.get("name"))
        if not isinstance(name, str):
            self.remark(call, f"the name of a parameter is computed: `{_shorten(call)}`")
            return
        default = self.names.read(fields.get("default"))
        word = _format_type(fields.get("type"), self.names) or _type_of(default)
        if word is None and not isinstance(default, Computed):
            self.remark(call, f"the parameter `{name}` has neither a default nor a type")
        self.parameters.append(
            ScriptParameter(
                name=name,
                origin=Origin.REPRO,
                spellings=(f"--{name}",),
                type=_OWN_TYPES.get(word, word) if word else None,
                default=default,
                required=default is None,
                is_flag=False,
                choices=None,
                description=self.names.read(fields.get("description")),
                line=call.lineno,
            )
        )

    def _read_spellings(self, call: ast.Call) -> list[str] | None:
        found = [self.names.read(each) for each in call.args]
        if not found or not all(isinstance(each, str) and each for each in found):
            self.remark(call, f"the name of a parameter is computed: `{_shorten(call)}`")
            return None
        return [str(each) for each in found]

    def read_argparse(self, call: ast.Call) -> None:
        """Read a call of `add_argument`."""
        fields = self._read_keywords(call)
        spellings = self._read_spellings(call)
        if spellings is None:
            return
        action = _format_type(fields.get("action"), self.names) or "store"
        action = action.rpartition(".")[2]
        if action in ("help", "version"):
            return
        options = tuple(each for each in spellings if each.startswith("-"))
        is_flag = action in _FLAG_ACTIONS
        dest = self.names.read(fields.get("dest"))
        default = self.names.read(fields.get("default"))
        if "default" not in fields and action in ("store_true", "store_false"):
            default = action == "store_false"
        nargs = self.names.read(fields.get("nargs"))
        required = self.names.read(fields.get("required")) is True if options else nargs not in ("?", "*")
        self.parameters.append(
            ScriptParameter(
                name=dest if isinstance(dest, str) and options else _name_of(spellings),
                origin=Origin.ARGPARSE,
                spellings=options,
                type="flag" if is_flag else _format_type(fields.get("type"), self.names) or "str",
                default=default,
                required=required,
                is_flag=is_flag,
                choices=self.names.read(fields.get("choices")),
                description=self.names.read(fields.get("help")),
                line=call.lineno,
            )
        )

    def read_click(self, call: ast.Call, *, is_option: bool) -> None:
        """Read a call of click's `option` or `argument`."""
        fields = self._read_keywords(call)
        spellings = self._read_spellings(call)
        if spellings is None:
            return
        options = tuple(part.strip() for each in spellings if each.startswith("-") for part in each.split("/"))
        named = [each for each in spellings if not each.startswith("-")]
        is_flag = any("/" in each for each in spellings) or self.names.read(fields.get("is_flag")) is True
        is_flag = is_flag or self.names.read(fields.get("count")) is True
        default = self.names.read(fields.get("default"))
        required = self.names.read(fields.get("required"))
        word = _format_type(fields.get("type"), self.names) or _type_of(default) or "str"
        self.parameters.append(
            ScriptParameter(
                name=named[0] if named else _name_of(list(options)),
                origin=Origin.CLICK,
                spellings=options if is_option else (),
                type="flag" if is_flag else word,
                default=default,
                required=required is True or (not is_option and required is None and default is None),
                is_flag=is_flag,
                choices=_find_choices(fields.get("type"), self.names),
                description=self.names.read(fields.get("help")),
                line=call.lineno,
            )
        )

    def read_call(self, call: ast.Call) -> None:
        """Read a call where it is one of those that make a parameter."""
        name = self.names.resolve(call.func) or ""
        module, _, function = name.rpartition(".")
        attribute = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        if name in ("repro.param", "repro.projects.parameters.param"):
            self.read_own(call)
        elif module.partition(".")[0] in _CLICKS and function in ("option", "argument"):
            self.read_click(call, is_option=function == "option")
        elif attribute == "add_argument":
            self.read_argparse(call)
        elif attribute == "parse_known_args":
            self.remark(call, "it accepts other options too (`parse_known_args`)")
        elif attribute == "add_subparsers" or (module in _CLICKS and function == "group"):
            self.remark(call, "it has subcommands: the parameters of all of them are listed together")


def _find_choices(node: ast.expr | None, names: _Names) -> Value:
    match node:
        case ast.Call(func=ast.Attribute(attr="Choice") | ast.Name(id="Choice"), args=[first, *_]):
            return names.read(first)
    return None


def _name_of(spellings: list[str]) -> str:
    """Return the name that argparse and click make of an option's spellings: the first long one's."""
    longest = next((each for each in spellings if each.startswith("--")), spellings[0])
    return longest.lstrip("-").replace("-", "_")


def _shorten(node: ast.expr) -> str:
    text = ast.unparse(node)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _find_other_readers(tree: ast.Module, names: _Names) -> Iterator[Remark]:
    """Yield what else may read the command line, the first place of each."""
    said = set()
    for node in ast.walk(tree):
        found = None
        if isinstance(node, ast.Attribute | ast.Name) and names.resolve(node) == "sys.argv":
            found = "it reads `sys.argv` itself: what it takes from there cannot be known"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            used = [each.partition(".")[0] for each in modules if each.partition(".")[0] in _UNREADABLE]
            found = f"it uses `{used[0]}`, whose parameters are not read" if used else None
        if found and found not in said:
            said.add(found)
            yield Remark(line=node.lineno, text=found)  # type: ignore[attr-defined]


def parse_script_parameters(source: str | bytes) -> Accepted:
    """Return what a script accepts. Raises ValueError where it is not Python of our version."""
    try:
        tree = parse_source(source)
        names = _Names(tree)
        reader = _Reader(names)
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        for call in sorted(calls, key=lambda each: (each.lineno, each.col_offset)):
            reader.read_call(call)
    except (RecursionError, MemoryError) as error:
        raise ValueError("it is nested too deeply") from error
    remarks = sorted({*reader.remarks, *_find_other_readers(tree, names)}, key=lambda each: (each.line, each.text))
    parameters = sorted(reader.parameters, key=lambda each: each.line)
    return Accepted(parameters=tuple(parameters), remarks=tuple(remarks))


def list_flags(accepted: Accepted) -> Mapping[str, bool]:
    """Return, by each option's name with `_` for `-`, whether it takes no value."""
    return {
        spelling.lstrip("-").replace("-", "_"): each.is_flag
        for each in accepted.parameters
        for spelling in each.spellings
        if spelling.startswith("--")
    }
