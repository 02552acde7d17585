"""What a model's answer to each row is to be, as a value: MLflow's names and Spark's DDL are read, Spark's is written.

`parse_result_type` and `format_ddl` are each other's inverse, but for the names that say the same.
"""

from __future__ import annotations

import re

from repro.errors import UsageError
from repro.values import frozen

SCALARS = ("int", "long", "float", "double", "string", "boolean")
_NAMES = {
    **{name: name for name in SCALARS},
    "integer": "int", "bigint": "long", "real": "float", "bool": "boolean", "str": "string",
}  # fmt: skip
_DDL = {"long": "bigint"}
_TOKEN = re.compile(r"\s*(?:(`(?:[^`]|``)+`)|([^\s<>,:`]+)|([<>,:]))")
_MOST_DEPTH = 50


@frozen
class Scalar:
    """One value; `name` is one of SCALARS."""

    name: str


@frozen
class ArrayOf:
    """Any number of values of one type."""

    item: ResultType


@frozen
class Struct:
    """Values by name."""

    fields: tuple[tuple[str, ResultType], ...]


ResultType = Scalar | ArrayOf | Struct


class _Reader:
    """Read DDL token by token; what is wrong is a ValueError that says what was expected."""

    def __init__(self, text: str) -> None:
        self._tokens: list[str] = []
        at = 0
        end = len(text.rstrip())
        while at < end:
            found = _TOKEN.match(text, at)
            if found is None:
                raise ValueError(f"`{text[at : at + 20].strip()}` cannot be read")
            self._tokens.append(found[1] or found[2] or found[3])
            at = found.end()
        self._at = 0

    def peek(self, ahead: int = 0) -> str:
        """Return a token without taking it, nothing at the end."""
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else ""

    def take(self) -> str:
        """Take a token."""
        token = self.peek()
        self._at += 1
        return token

    def expect(self, token: str) -> None:
        """Take this one."""
        if self.peek() != token:
            raise ValueError(f"`{token}` is missing" + (f" before `{self.peek()}`" if self.peek() else " at the end"))
        self._at += 1

    def read_type(self, depth: int = 0) -> ResultType:
        """Take a type."""
        if depth > _MOST_DEPTH:
            raise ValueError("it is nested too deeply")
        name = self.take()
        kind = name.lower()
        if kind == "array" and self.peek() == "<":
            self.expect("<")
            item = self.read_type(depth + 1)
            self.expect(">")
            return ArrayOf(item=item)
        if kind == "struct" and self.peek() == "<":
            self.expect("<")
            fields = self.read_fields(depth + 1)
            self.expect(">")
            return fields
        if kind not in _NAMES:
            raise ValueError(f"`{name}` is no type of a result" if name else "a type is missing at the end")
        return Scalar(name=_NAMES[kind])

    def read_fields(self, depth: int = 0) -> Struct:
        """Take names with types."""
        fields: dict[str, ResultType] = {}
        while True:
            token = self.take()
            if not token or token in "<>,:":
                raise ValueError("a field has no name")
            name = token[1:-1].replace("``", "`") if token.startswith("`") else token
            if name in fields:
                raise ValueError(f"the field `{name}` is there twice")
            if self.peek() == ":":
                self.take()
            fields[name] = self.read_type(depth)
            if self.peek() != ",":
                return Struct(fields=tuple(fields.items()))
            self.take()


def _is_type(reader: _Reader) -> bool:
    return not reader.peek(1) or (reader.peek(1) == "<" and reader.peek().lower() in ("array", "struct"))


def _read_text(text: str) -> ResultType:
    reader = _Reader(text)
    found = reader.read_type() if _is_type(reader) else reader.read_fields()
    if reader.peek():
        raise ValueError(f"`{reader.peek()}` is one word too many")
    return found


def _read_json(value: object) -> ResultType:
    """Return what a DataType of Spark's says as JSON."""
    kind = value.get("type") if isinstance(value, dict) else value
    if isinstance(value, dict) and kind == "array":
        return ArrayOf(item=_read_json(value["elementType"]))
    if isinstance(value, dict) and kind == "struct" and value["fields"]:
        return Struct(fields=tuple((str(each["name"]), _read_json(each["type"])) for each in value["fields"]))
    if str(kind) not in _NAMES:
        raise ValueError(f"`{kind}` is no type of a result")
    return Scalar(name=_NAMES[str(kind)])


def parse_result_type(given: object) -> ResultType:
    """Return the type that a text names, or a DataType of Spark's. Raises UsageError."""
    text, say = str(given), getattr(given, "jsonValue", None)
    try:
        found = _read_json(say()) if callable(say) else _read_text(text)
    except ValueError as error:
        raise UsageError(
            f"`{text[:200]}` is no result type: {error}",
            hint=f"one of {', '.join(SCALARS)}, `array<double>`, or fields as in `label string, score double`",
        ) from None
    return found


def format_ddl(type_: ResultType) -> str:
    """Return a type as Spark's SQL names it."""
    if isinstance(type_, Scalar):
        return _DDL.get(type_.name, type_.name)
    if isinstance(type_, ArrayOf):
        return f"array<{format_ddl(type_.item)}>"
    fields = ("`" + name.replace("`", "``") + "`:" + format_ddl(field) for name, field in type_.fields)
    return f"struct<{','.join(fields)}>"


def describe_type(type_: ResultType) -> dict[str, object]:
    """Return a type as `inside/model_result.py` takes it."""
    if isinstance(type_, Scalar):
        return {"type": type_.name}
    if isinstance(type_, ArrayOf):
        return {"array": describe_type(type_.item)}
    return {"struct": [[name, describe_type(field)] for name, field in type_.fields]}
