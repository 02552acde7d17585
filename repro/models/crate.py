"""`repro.crate(function, **data)`: a function and just the data it needs, to be saved as a model.

The names that the function takes from outside itself are those of `data`, and no others: what a plain pickle would have
dragged along is refused by name. Modules are imported inside the function.
"""

from __future__ import annotations

import builtins
import dis
from collections.abc import Iterator, Mapping
from types import CellType, CodeType, FunctionType, ModuleType

from repro.errors import UsageError
from repro.models.flavors.pickling import require_cloudpickle

_LOADS = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"}
_STORES = {"STORE_GLOBAL", "STORE_NAME"}


def _walk_code(code: CodeType) -> Iterator[CodeType]:
    """Yield a function's code and that of the functions, classes and comprehensions in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType) and constant.co_name != "__annotate__":  # Python 3.14 asks it on request
            yield from _walk_code(constant)


def _find_outer_names(function: FunctionType) -> tuple[str, ...]:
    """Return the names that a function takes from around it: globals and a closure's, in the order of its code."""
    found = dict.fromkeys(function.__code__.co_freevars)
    for number, code in enumerate(_walk_code(function.__code__)):
        own: set[str] = set()
        for instruction in dis.get_instructions(code):
            name = str(instruction.argval)
            if instruction.opname in _STORES:
                own.add(name)
            elif instruction.opname in _LOADS and name not in own and not (number and name.startswith("__")):
                found[name] = None
    return tuple(found)


def _find_value(function: FunctionType, name: str) -> object:
    """Return what a function's outer name stands for now, None where it is not there."""
    code = function.__code__
    if name in code.co_freevars and function.__closure__:
        try:
            return function.__closure__[code.co_freevars.index(name)].cell_contents
        except ValueError:  # it has no value yet
            return None
    return function.__globals__.get(name)


def _explain(function: FunctionType, name: str) -> str:
    value = _find_value(function, name)
    if isinstance(value, ModuleType):
        alias = "" if value.__name__ == name else f" as {name}"
        return f"`{name}` is a module: import it inside, `import {value.__name__}{alias}`, or give it, `{name}={name}`"
    if value is None and name not in function.__globals__:
        return f"`{name}` is not defined"
    return f"`{name}` is a {type(value).__name__} outside of it: give it, `{name}={name}`"


def _check_names(function: FunctionType, known: Mapping[str, object], *, role: str) -> None:
    """Raise UsageError that names what a function would have dragged along."""
    outer = [name for name in _find_outer_names(function) if name not in known and not hasattr(builtins, name)]
    if outer:
        raise UsageError(
            f"{role} takes from outside what it was not given: {', '.join(f'`{name}`' for name in outer)}",
            details=tuple(_explain(function, name) for name in outer),
        )


def _find_own(data: Mapping[str, object]) -> dict[str, FunctionType]:
    """Return those data that are functions of the script, which go along by value."""
    return {
        name: value
        for name, value in data.items()
        if isinstance(value, FunctionType) and value.__module__ == "__main__"
    }


def _rebind(function: FunctionType, namespace: dict[str, object]) -> FunctionType:
    """Return a function that finds its outer names in a namespace alone."""
    cells = tuple(CellType(namespace[name]) for name in function.__code__.co_freevars)
    made = FunctionType(function.__code__, namespace, function.__name__, function.__defaults__, cells or None)
    made.__kwdefaults__ = function.__kwdefaults__
    made.__doc__ = function.__doc__
    made.__module__ = "__main__"  # pickled by value, wherever it was defined
    return made


def _format_size(size_bytes: int) -> str:
    for unit in ("B", "kB", "MB"):
        if size_bytes < 1000:
            return f"{size_bytes:.3g} {unit}"
        size_bytes /= 1000  # type: ignore[assignment]
    return f"{size_bytes:.3g} GB"


class Crate:
    """A function with its data: called as the function is, and saved with `repro.save_model`."""

    def __init__(self, function: FunctionType, data: Mapping[str, object]) -> None:
        self._cloudpickle = require_cloudpickle("a crate")
        self.data = dict(data)
        namespace: dict[str, object] = {"__builtins__": builtins, "__name__": "crate"}
        namespace |= {function.__name__: None, **data}
        for name, value in _find_own(data).items():
            namespace[name] = _rebind(value, namespace)
        self._bare = _rebind(function, {**dict.fromkeys(function.__code__.co_freevars), "__builtins__": builtins})
        self._function = _rebind(function, namespace)
        if function.__name__ not in data:  # it may call itself
            namespace[function.__name__] = self._function
        self.__doc__ = function.__doc__

    def __call__(self, *args: object, **options: object) -> object:
        """Call the function."""
        return self._function(*args, **options)

    @property
    def name(self) -> str:
        """The function's name, `<lambda>` for one without."""
        return self._function.__name__

    def dump(self) -> bytes:
        """Return the pickle of the function with its data, which needs nothing of repro. Raises UsageError."""
        return self._pickle(self._function, f"the crate of `{self.name}`")

    def _pickle(self, value: object, role: str) -> bytes:
        try:
            return bytes(self._cloudpickle.dumps(value))
        except Exception as error:  # a reducer may raise anything
            raise UsageError(f"{role} cannot be pickled: {error}") from error

    def measure(self) -> dict[str, int]:
        """Return the sizes of the data in bytes, pickled by themselves, the largest first. Raises UsageError."""
        sizes = {name: len(self._pickle(value, f"`{name}`")) for name, value in self.data.items()}
        return dict(sorted(sizes.items(), key=lambda pair: (-pair[1], pair[0])))

    def __repr__(self) -> str:
        lines = [f"<crate {_format_size(len(self.dump()))}"]
        lines.append(f"* function {self.name}: {_format_size(len(self._pickle(self._bare, 'the function')))}")
        lines += [f"* {name}: {_format_size(size)}" for name, size in self.measure().items()]
        return "\n".join(lines) + ">"


def crate(function: object, /, **data: object) -> Crate:
    """Return a function and just the data it needs, by the names that it knows them by.

    Raises UsageError for what is no function, for one that takes other names from outside, and for data of no use.
    """
    if not isinstance(function, FunctionType):
        raise UsageError(
            f"a crate is made of a function, and a {type(function).__name__} is none",
            hint="repro.crate(lambda data: model.predict(data), model=model)",
        )
    role = "the lambda" if function.__name__ == "<lambda>" else f"the function `{function.__name__}`"
    known = {function.__name__: function, **data}
    _check_names(function, known, role=role)
    own = _find_own(data)
    for name, value in own.items():
        _check_names(value, known, role=f"the function `{name}` of the crate")
    used = {name for each in (function, *own.values()) for name in _find_outer_names(each)}
    if unused := [f"`{name}`" for name in data if name not in used]:
        raise UsageError(f"{role} does not use what it was given: {', '.join(unused)}")
    return Crate(function, data)


def is_crate(value: object) -> bool:
    """Tell whether a value is a crate."""
    return isinstance(value, Crate)
