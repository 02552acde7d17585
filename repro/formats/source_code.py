"""What Python source imports, read with `ast` and never run; a notebook's cells (nbformat 4) are read as source too."""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence

from repro.patterns import compile_later
from repro.values import frozen

# What a handler catches to live without an import; the broad ones do where nothing else is tried.
_TOLERANT = {"ImportError", "ModuleNotFoundError"}
_BROAD = {"Exception", "BaseException"}
_BLOCKS = ("body", "handlers", "orelse", "finalbody", "cases")  # where statements stand in others
# What a condition that picks the imports of a platform, a version or a checker asks for.
_CONDITIONS = {"TYPE_CHECKING", "version_info", "platform", "implementation", "find_spec"}
_MAGIC = compile_later(r"^([ \t]*)(?:[\w, \t]+=[ \t]*)?(?:[%!?](?:.*\\\n)*.*|.*\?[ \t]*)$", re.MULTILINE)
_OWN_LANGUAGE_MAGICS = ("%%time", "%%timeit", "%%capture", "%%prun", "%%python", "%%python3")


@frozen
class Import:
    """A module that is named by an import; `name` is dotted, and `optional` where the code can do without it.

    Of `from a.b import c` the name is `a.b.c`: `c` may be a module or a value. `line` counts from 1.
    """

    name: str
    line: int
    optional: bool = False


def _names_in(node: ast.AST) -> set[str]:
    found = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
    return found | {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)}


def _tolerates(node: ast.Try) -> bool:
    only_imports = all(isinstance(each, ast.Import | ast.ImportFrom | ast.Assign) for each in node.body)
    wanted = _TOLERANT | _BROAD if only_imports else _TOLERANT
    caught = [_BROAD if handler.type is None else _names_in(handler.type) for handler in node.handlers]
    return any(names & wanted for names in caught)


def _is_version_test(test: ast.expr) -> bool:
    """Tell whether a condition asks for the version, the platform or a checker; `os.name` too, but no other `name`."""
    names = _names_in(test)
    return bool(names & _CONDITIONS) or {"os", "name"} <= names


def _is_suppressing(item: ast.withitem) -> bool:
    call = item.context_expr
    return isinstance(call, ast.Call) and "suppress" in _names_in(call.func) and bool(_names_in(call) & _TOLERANT)


def _split_children(node: ast.AST) -> Iterator[tuple[ast.AST, bool]]:
    """Yield each statement in a statement, and whether it may fail to be imported without harm."""
    optional: Sequence[ast.AST] = ()
    match node:
        case ast.Try() if _tolerates(node):
            optional = [*node.body, *node.handlers, *node.orelse]
        case ast.If() if _is_version_test(node.test):
            optional = [*node.body, *node.orelse]
            if "TYPE_CHECKING" in _names_in(node.test):
                optional = node.orelse if isinstance(node.test, ast.UnaryOp) else node.body
        case ast.With() if any(map(_is_suppressing, node.items)):
            optional = node.body
    marked = set(map(id, optional))
    for block in _BLOCKS:
        for child in getattr(node, block, ()):
            yield child, id(child) in marked


def _read_statement(node: ast.AST, *, optional: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(name=alias.name, line=node.lineno, optional=optional)
    elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
        for alias in node.names:
            name = node.module if alias.name == "*" else f"{node.module}.{alias.name}"
            yield Import(name=name, line=node.lineno, optional=optional)


def _walk(tree: ast.AST) -> Iterator[Import]:
    waiting = [(tree, False)]
    while waiting:
        node, optional = waiting.pop()
        yield from _read_statement(node, optional=optional)
        waiting += [(child, optional or marked) for child, marked in _split_children(node)]


def _is_main_test(test: ast.expr) -> bool:
    match test:
        case ast.Compare(left=ast.Name(id="__name__"), ops=[ast.Eq()]):
            return True
    return False


def _list_certain(statements: Sequence[ast.stmt], *, is_main: bool) -> Iterator[ast.stmt]:
    """Yield each statement that runs whenever its block does, where no error before it is caught."""
    for node in statements:
        yield node
        match node:
            case ast.Try(handlers=[]):
                yield from _list_certain([*node.body, *node.finalbody], is_main=is_main)
            case ast.With() if not any(map(_is_suppressing, node.items)):
                yield from _list_certain(node.body, is_main=is_main)
            case ast.ClassDef():
                yield from _list_certain(node.body, is_main=is_main)
            case ast.If() if is_main and _is_main_test(node.test):
                yield from _list_certain(node.body, is_main=is_main)


def find_certain_imports(source: str | bytes, *, is_main: bool = True) -> tuple[Import, ...]:
    """Return what running a module surely imports: not in a function, nor where a condition or an error decides.

    `is_main` tells that it is run as a script. Raises ValueError as `find_imports` does.
    """
    certain = (
        _read_statement(node, optional=False) for node in _list_certain(parse_source(source).body, is_main=is_main)
    )
    return tuple(each for found in certain for each in found)


def find_certain_relatives(source: str | bytes, *, is_main: bool = True) -> tuple[str, ...]:
    """Return the relative imports among these, with their dots: of `from ..a import b` it is `..a.b`.

    Raises ValueError as `find_imports` does.
    """
    statements = _list_certain(parse_source(source).body, is_main=is_main)
    nodes = (node for node in statements if isinstance(node, ast.ImportFrom) and node.level)
    return tuple(
        f"{'.' * node.level}{'.'.join(part for part in (node.module, alias.name) if part and part != '*')}"
        for node in nodes
        for alias in node.names
    )


def find_imports(source: str | bytes) -> tuple[Import, ...]:
    """Return what a module's source imports, in the order of its lines; relative imports are left out.

    An import is optional under `try` with `except ImportError`, under `suppress(ImportError)`, and where a condition
    asks for TYPE_CHECKING, the version or the platform. Raises ValueError where it is not Python of our version.
    """
    return tuple(sorted(_walk(parse_source(source)), key=lambda each: (each.line, each.name)))


def parse_source(source: str | bytes) -> ast.Module:
    """Return the tree of a module's source. Raises ValueError where it is not Python of our version."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape in somebody's string
            return ast.parse(source)
    except SyntaxError as error:
        raise ValueError(f"line {error.lineno}: {error.msg}" if error.lineno else str(error.msg)) from error
    except (RecursionError, MemoryError) as error:
        raise ValueError("it is nested too deeply") from error


def _neutralize(text: str) -> str:
    """Return a cell without what IPython alone understands: `%magic`, `!command`, `x = !command`, `name?`."""
    return _MAGIC.sub(r"\1pass", text)


def _read_cell(cell: object) -> str:
    """Return the Python of a cell, empty for text and for a cell of another language."""
    if not isinstance(cell, dict) or cell.get("cell_type") != "code":
        return ""
    source = cell.get("source", "")
    text = "".join(map(str, source)) if isinstance(source, list) else str(source)
    if text.lstrip().startswith("%%"):
        magic, _, text = text.lstrip().partition("\n")
        if magic.split()[0] not in _OWN_LANGUAGE_MAGICS:
            return ""
    return text


def _get_cells(content: object) -> Iterable[object]:
    if not isinstance(content, dict) or not isinstance(cells := content.get("cells"), list):
        raise ValueError("it is not a notebook of format 4: it has no `cells`")
    metadata = content.get("metadata")
    kernel = metadata.get("kernelspec") if isinstance(metadata, dict) else None
    language = kernel.get("language", "python") if isinstance(kernel, dict) else "python"
    return cells if language == "python" else ()


def _find_cell_imports(text: str) -> tuple[Import, ...]:
    try:
        return find_imports(text)
    except ValueError:
        return find_imports(_neutralize(text))


def find_notebook_imports(text: str | bytes) -> tuple[Import, ...]:
    """Return what a notebook's Python cells import; a line is the number of the cell, counted from 1.

    Raises ValueError where it is no notebook, or a cell is not Python.
    """
    try:
        content = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    found = []
    for number, cell in enumerate(_get_cells(content), 1):
        try:
            imports = _find_cell_imports(_read_cell(cell))
        except ValueError as error:
            raise ValueError(f"cell {number}, {error}") from error
        found += [Import(name=each.name, line=number, optional=each.optional) for each in imports]
    return tuple(found)
