"""Values: what `dataclass(frozen=True, slots=True, kw_only=True)` makes of a class, at a small part of its cost.

That compiles seven functions for each class and imports `inspect`, which is most of the time that a short command
takes. Here the methods are shared: they read the class's fields, and `__init__` is compiled for classes that make many
values alone. What `dataclasses` says of its classes (`fields`, `replace`, `asdict`, `is_dataclass`) it says of these.
"""

from __future__ import annotations

from operator import attrgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from dataclasses import Field
    from dataclasses import asdict as asdict  # noqa: PLC0414
    from dataclasses import replace as replace  # noqa: PLC0414
    from inspect import Signature
    from typing import Any, TypeVar

    from typing_extensions import dataclass_transform

    T = TypeVar("T")
else:

    def dataclass_transform(**_):
        return lambda decorator: decorator


_MISSING: Any = type("_Missing", (), {"__repr__": lambda self: "<factory>", "__slots__": ()})()
_FEW = 16  # so many values are made before `__init__` is compiled: that takes as long as it saves with some hundred


class _Field:
    """What is known of one field; `put` sets it in a value that is being made."""

    __slots__ = ("compare", "default", "factory", "init", "name", "put", "shown")

    def __init__(self, default: Any, factory: Any, init: bool, shown: bool, compare: bool) -> None:
        self.default = default
        self.factory = factory
        self.init = init
        self.shown = shown
        self.compare = compare
        self.name = ""
        self.put: Callable[[Any, Any], None]


def field(
    *,
    default: Any = _MISSING,
    default_factory: Any = _MISSING,
    init: bool = True,
    repr: bool = True,  # noqa: A002
    compare: bool = True,
) -> Any:
    """Say more of a field than its default, as `dataclasses.field` does."""
    return _Field(default, default_factory, init, repr, compare)


def _write_parameter(field: _Field) -> list[str]:
    if not field.init:
        return []
    is_needed = field.default is _MISSING and field.factory is _MISSING
    return [field.name if is_needed else f"{field.name}=_default_{field.name}"]


def _write_assignment(field: _Field) -> list[str]:
    name = field.name
    if field.factory is not _MISSING:
        made = f"_factory_{name}()"
        content = f"{made} if {name} is _MISSING else {name}" if field.init else made
    elif field.init:
        content = name
    elif field.default is not _MISSING:
        content = f"_default_{name}"
    else:
        return []  # `__post_init__` sets it
    return [f"_put_{name}(self, {content})"]


def _make_key(names: list[str]) -> Callable[[object], object]:
    """Return what makes a tuple of a value's fields."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda value: tuple(getattr(value, name) for name in names)


class _Shape:
    """The fields of one class, by name, and how many values it may still make before its `__init__` is compiled."""

    __slots__ = ("cls", "fields", "key", "left", "settles")

    def __init__(self, cls: type, fields: Mapping[str, _Field]) -> None:
        self.cls = cls
        self.fields = fields
        self.key = _make_key([each.name for each in fields.values() if each.compare])
        self.left = _FEW
        self.settles = hasattr(cls, "__post_init__")

    def compile_init(self) -> Callable[..., None]:
        """Return an `__init__` like the one that dataclass makes, and let the class have it."""
        names: dict[str, object] = {"_MISSING": _MISSING}
        parameters, lines = ["self"], []
        for each in self.fields.values():
            names |= {f"_{word}_{each.name}": getattr(each, word) for word in ("put", "default", "factory")}
            parameters += _write_parameter(each)
            lines += _write_assignment(each)
        parameters[1:1] = ["*"] if len(parameters) > 1 else []
        lines += ["self.__post_init__()"] if self.settles else []
        text = "\n    ".join([f"def __init__({', '.join(parameters)}):", *(lines or ["pass"])])
        # As code: a text, run while Python ends, makes it forget that an interrupt ended it (CPython's pythonrun.c).
        exec(compile(text, "<values>", "exec"), names)
        init: Any = names["__init__"]
        init.__qualname__ = f"{self.cls.__qualname__}.__init__"
        init.__module__ = self.cls.__module__
        self.cls.__init__ = init  # type: ignore[misc]
        return init  # type: ignore[no-any-return]


def _init(self: Any, /, *args: object, **given: object) -> None:
    """Set the fields; what is not as it must be is said by the compiled `__init__`."""
    shape: _Shape = self.__value_shape__
    shape.left -= 1
    if args or shape.left < 0:
        return shape.compile_init()(self, *args, **given)
    used = 0
    for name, each in shape.fields.items():
        if each.init and name in given:
            each.put(self, given[name])
            used += 1
        elif each.default is not _MISSING:
            each.put(self, each.default)
        elif each.factory is not _MISSING:
            each.put(self, each.factory())
        elif each.init:
            return shape.compile_init()(self, **given)
    if used != len(given):
        return shape.compile_init()(self, **given)
    if shape.settles:
        self.__post_init__()
    return None


def _repr(self: Any) -> str:
    shown = (each.name for each in self.__value_shape__.fields.values() if each.shown)
    return f"{self.__class__.__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"


def _eq(self: Any, other: Any) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    key = self.__value_shape__.key
    return key(self) == key(other)


def _hash(self: Any) -> int:
    return hash(self.__value_shape__.key(self))


def _refuse_assignment(self: object, name: str, value: object) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_deletion(self: object, name: str) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _get_state(self: Any) -> list[object]:
    return [getattr(self, name) for name in self.__value_shape__.fields]


def _set_state(self: Any, state: list[object]) -> None:
    for each, content in zip(self.__value_shape__.fields.values(), state, strict=True):
        each.put(self, content)


def _replace(value: Any, /, **changes: object) -> Any:
    """Return a value with some fields changed."""
    kept = (each.name for each in value.__value_shape__.fields.values() if each.init and each.name not in changes)
    return value.__class__(**changes, **{name: getattr(value, name) for name in kept})


class _DataclassFields:
    """The fields as `dataclasses` describes them, made when they are asked for."""

    def __get__(self, value: object, cls: Any) -> Mapping[str, Field[Any]]:
        from dataclasses import MISSING, field, make_dataclass

        def describe(each: _Field) -> Any:
            if each.factory is not _MISSING:
                return field(default_factory=each.factory, init=each.init, repr=each.shown, compare=each.compare)
            default: Any = MISSING if each.default is _MISSING else each.default
            return field(default=default, init=each.init, repr=each.shown, compare=each.compare)

        fields: Mapping[str, _Field] = cls.__value_shape__.fields
        made: Any = make_dataclass(
            cls.__name__, [(name, "Any", describe(each)) for name, each in fields.items()], kw_only=True
        )
        described: Mapping[str, Field[Any]] = made.__dataclass_fields__
        return described


class _Signature:
    """The signature, for `help` and editors, made when it is asked for."""

    def __get__(self, value: object, cls: Any) -> Signature:
        from inspect import signature

        shape: _Shape = cls.__value_shape__
        own = shape.compile_init()
        found = signature(own)
        return found.replace(parameters=list(found.parameters.values())[1:])


_SHARED = {
    "__init__": _init,
    "__repr__": _repr,
    "__eq__": _eq,
    "__replace__": _replace,
    "__getstate__": _get_state,
    "__setstate__": _set_state,
    "__match_args__": (),
    "__dataclass_fields__": _DataclassFields(),
    "__signature__": _Signature(),
}
_FROZEN = {**_SHARED, "__hash__": _hash, "__setattr__": _refuse_assignment, "__delattr__": _refuse_deletion}
_MUTABLE = {**_SHARED, "__hash__": None}


def _list_own(namespace: Mapping[str, Any]) -> list[_Field]:
    """Return the fields that a class body itself names."""
    found = []
    for name, annotation in namespace.get("__annotations__", {}).items():
        if "ClassVar" in annotation:
            continue
        default = namespace.get(name, _MISSING)
        each = default if isinstance(default, _Field) else _Field(default, _MISSING, True, True, True)
        each.name = name
        found.append(each)
    return found


def _make_class(cls: type[T], methods: Mapping[str, Any]) -> type[T]:
    inherited: dict[str, _Field] = {}
    for base in cls.__mro__[:0:-1]:
        inherited |= base.__dict__["__value_shape__"].fields if "__value_shape__" in base.__dict__ else {}
    own = {each.name: each for each in _list_own(cls.__dict__)}
    dropped = {"__dict__", "__weakref__", *own}
    namespace = {name: content for name, content in cls.__dict__.items() if name not in dropped}
    namespace = {**methods, **namespace, "__slots__": tuple(name for name in own if name not in inherited)}
    metaclass: Any = type(cls)
    made = metaclass(cls.__name__, cls.__bases__, namespace)
    made.__qualname__ = cls.__qualname__
    for name, each in own.items():
        each.put = getattr(made, name).__set__
    made.__value_shape__ = _Shape(made, {**inherited, **own})
    return made  # type: ignore[no-any-return]


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """Make a class of values of one whose body names the fields with their types and defaults.

    Its module says `from __future__ import annotations`; its bases have no fields, or are values too. It is a new
    class: `super()` without arguments does not work in its methods.
    """
    return _make_class(cls, _FROZEN)


@dataclass_transform(kw_only_default=True, field_specifiers=(field,))
def mutable(cls: type[T]) -> type[T]:
    """Make a class likewise whose fields can be set again, for what is being gathered: it has no hash."""
    return _make_class(cls, _MUTABLE)


def list_fields(cls: Any) -> tuple[str, ...]:
    """Return the names of a class's fields."""
    return tuple(cls.__value_shape__.fields)


if not TYPE_CHECKING:
    replace = _replace

    def _plain(content):
        if hasattr(type(content), "__value_shape__"):
            return asdict(content)
        if isinstance(content, (list, tuple)):
            return type(content)(map(_plain, content))
        if isinstance(content, dict):
            return {_plain(key): _plain(each) for key, each in content.items()}
        return content

    def asdict(value):
        """Return a value's fields by name, those of the values inside too; what cannot change is not copied."""
        return {name: _plain(getattr(value, name)) for name in value.__value_shape__.fields}
