"""Pickle a model that no safer format can hold, and say what it would need elsewhere.

What is defined in a script goes along by value (cloudpickle); what lies in a module is looked for by its name.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

from repro.errors import ModelError
from repro.models.flavors import name_class
from repro.values import frozen

_INSTALL = "pip install cloudpickle"


@frozen
class Pickled:
    """What wrote a pickle, and the modules that it names."""

    serialization: str
    modules: frozenset[str]


def find_cloudpickle() -> ModuleType | None:
    """Return cloudpickle, None where it is not installed."""
    try:
        import cloudpickle
    except ImportError:
        return None
    return cloudpickle  # type: ignore[no-any-return]


def require_cloudpickle(why: str) -> ModuleType:
    """Return cloudpickle. Raises ModelError that says why it is needed."""
    module = find_cloudpickle()
    if module is None:
        raise ModelError(f"{why} needs cloudpickle, which is not installed", hint=_INSTALL)
    return module


def list_modules(pickled: bytes | BinaryIO) -> frozenset[str]:
    """Return the modules that a pickle names, and so imports when it is read."""
    return frozenset(name for name in _iterate_modules(pickled) if name)


def _iterate_modules(pickled: bytes | BinaryIO) -> Iterator[str]:
    import pickletools

    texts: list[str] = []
    memo: dict[int, str] = {}
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name == "GLOBAL":
            yield str(argument).partition(" ")[0]
        elif opcode.name == "STACK_GLOBAL" and len(texts) >= 2:
            yield texts[-2]
        elif isinstance(argument, str):
            texts.append(argument)
        elif opcode.name == "MEMOIZE" and texts:
            memo[len(memo)] = texts[-1]
        elif "GET" in opcode.name and argument in memo:
            texts.append(memo[argument])


def dump(model: object, path: Path) -> Pickled:
    """Write a model's pickle: with cloudpickle, or with pickle where that is not installed.

    Raises ModelError for what cannot be pickled, or would not be found again.
    """
    module = find_cloudpickle()
    if module is None and type(model).__module__ == "__main__":
        require_cloudpickle(f"`{type(model).__qualname__}` is defined in the script: to save it")
    try:
        with open(path, "wb") as file:
            (module or pickle).dump(model, file, protocol=pickle.DEFAULT_PROTOCOL)
    except Exception as error:  # a reducer may raise anything
        raise ModelError(f"a `{name_class(model)}` cannot be pickled: {error}") from error
    with open(path, "rb") as file:
        return Pickled(serialization="cloudpickle" if module else "pickle", modules=list_modules(file))
