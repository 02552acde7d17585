"""`Protocol`, `Generic` and `NamedTuple` as type checkers know them, without the time that importing typing takes.

At run time the first two are bases that do nothing, and a named tuple is made by `collections.namedtuple`.
"""

from __future__ import annotations

from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Generic as Generic  # noqa: PLC0414
    from typing import NamedTuple as NamedTuple  # noqa: PLC0414
    from typing import Protocol as Protocol  # noqa: PLC0414
    from typing import TypeVar as TypeVar  # noqa: PLC0414
else:

    class Protocol:
        """A base of classes that describe what others do."""

    class Generic:
        """A base of classes with a type parameter."""

        __slots__ = ()

        def __class_getitem__(cls, item):
            """Return the class: what it is of is the type checker's."""
            return cls

    def TypeVar(name):  # noqa: N802
        """Return what stands for a type parameter."""
        return name

    class _NamedTupleMaker(type):
        def __new__(cls, name, bases, body):
            names = [*body["__annotations__"]]
            defaults = [body.pop(each) for each in names if each in body]
            base = namedtuple(name, names, defaults=defaults, module=body["__module__"])
            return type(name, (base,), {**body, "__slots__": ()})

    NamedTuple = type.__new__(_NamedTupleMaker, "NamedTuple", (), {})
