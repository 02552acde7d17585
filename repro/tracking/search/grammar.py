"""Parse MLflow's filters (`metrics.acc > 0.9 AND tags.team = 'a'`) and orders (`metrics.acc DESC`).

The language is that of MLflow's search documentation. Where its own parser takes a text by accident (no AND between two
clauses, one at the end), this one refuses it; `''` within single quotes is a quote, as in SQL.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from repro.errors import TrackingError
from repro.tracking.search.clauses import (
    DATASET_KEYS,
    ENTITY_WORDS,
    FOR_LISTS,
    FOR_NULL,
    Clause,
    Comparator,
    Entity,
    Order,
    Value,
    Vocabulary,
)

_QUOTED = r"""`[^`]*`|"[^"]*" """.strip()
_KEY = re.compile(rf"""({_QUOTED}|[^\s.=<>!~'"`(),]+)(?:\.({_QUOTED}|[^\s=<>!~'"`(),]+))?""")
_SPACE = re.compile(r"\s*")
_COMPARATOR = re.compile(r"[=<>!~]+|(?:NOT\s+)?(?:LIKE|ILIKE|RLIKE|IN|BETWEEN)\b|IS\s+(?:NOT\s+)?NULL\b", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.])")
_WHOLE = re.compile(r"[+-]?\d+")
_TEXT = re.compile(r"""'((?:[^']|'')*)'|"([^"]*)\"""")
_COMMA = re.compile(r"\s*,\s*")
_AND = re.compile(r"AND\b", re.IGNORECASE)
_CLAUSE = re.compile(r"""(?:'(?:[^']|'')*'|"[^"]*"|`[^`]*`|(?!\s+AND\b).)*""", re.IGNORECASE | re.DOTALL)
_DIRECTION = re.compile(r"\s+(ASC|DESC)\s*", re.IGNORECASE)


class _Text:
    """A filter and how far it is read; every refusal names the clause."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.start = 0

    def start_clause(self) -> None:
        self.skip_space()
        self.start = self.position

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self.text, self.position)
        if found:
            self.position = found.end()
        return found

    def skip_space(self) -> None:
        self.take(_SPACE)

    def is_at_end(self) -> bool:
        self.skip_space()
        return self.position == len(self.text)

    def refuse(self, why: str, *, hint: str | None = None) -> TrackingError:
        found = _CLAUSE.match(self.text, self.start)
        clause = found.group().strip() if found else ""
        return TrackingError(f"the filter's clause `{clause or self.text.strip()}` {why}", hint=hint)


def _unquote(word: str) -> str:
    return word[1:-1] if word[:1] in ("`", '"') else word


def _list_attributes(vocabulary: Vocabulary, *, sorting: bool) -> str:
    names = [name for name, each in vocabulary.attributes.items() if (each.sorts if sorting else each.filters)]
    return ", ".join(names)


def _hint_at_keys(vocabulary: Vocabulary, *, sorting: bool) -> str:
    others = sorted((vocabulary.sorted_entities if sorting else vocabulary.entities) - {Entity.ATTRIBUTE})
    keys = [f"{each.value}s.KEY" for each in others if each is not Entity.DATASET]
    datasets = [f"datasets.{key}" for key in DATASET_KEYS] if Entity.DATASET in others else []
    return ", ".join([_list_attributes(vocabulary, sorting=sorting), *keys, *datasets])


def _find_key(found: re.Match[str], vocabulary: Vocabulary, *, sorting: bool) -> tuple[Entity, str] | str:
    """Return what a key names, or why it names nothing."""
    first, second = found.groups()
    entity = ENTITY_WORDS.get(_unquote(first)) if second is not None else Entity.ATTRIBUTE
    if entity not in (vocabulary.sorted_entities if sorting else vocabulary.entities):
        deed = "sorted by" if sorting else "searched by"
        return f"has the key `{found.group()}`, and {vocabulary.noun}s are not {deed} `{_unquote(first)}`"
    key = _unquote(first if second is None else second)
    if entity is Entity.ATTRIBUTE:
        key = vocabulary.aliases.get(key, key)
        attribute = vocabulary.attributes.get(key)
        if not attribute or not (attribute.sorts if sorting else attribute.filters):
            return f"has the key `{key}`, which is no attribute of a {vocabulary.noun}"
    if not key or (entity is Entity.DATASET and key not in DATASET_KEYS):
        return f"has the key `{found.group()}`, which a {entity.value} has not"
    return entity, key


def _parse_key(text: _Text, vocabulary: Vocabulary) -> tuple[Entity, str]:
    found = text.take(_KEY)
    if not found:
        raise text.refuse("does not begin with a key", hint=f"keys are {_hint_at_keys(vocabulary, sorting=False)}")
    key = _find_key(found, vocabulary, sorting=False)
    if isinstance(key, str):
        raise text.refuse(key, hint=f"keys are {_hint_at_keys(vocabulary, sorting=False)}")
    return key


def _parse_comparator(text: _Text, vocabulary: Vocabulary, entity: Entity, key: str) -> Comparator:
    text.skip_space()
    known = vocabulary.list_comparators(entity, key)
    hint = f"a {entity.value} is compared with {', '.join(known)}"
    if entity is Entity.ATTRIBUTE:
        hint = f"`{key}` is compared with {', '.join(known)}"
    found = text.take(_COMPARATOR)
    if not found:
        raise text.refuse(f"has no comparator after `{key}`", hint=hint)
    word = " ".join(found.group().upper().split())
    if word not in [each.value for each in known]:
        raise text.refuse(f"compares `{key}` with `{word}`", hint=hint)
    return Comparator(word)


def _parse_text(text: _Text) -> str | None:
    found = text.take(_TEXT)
    if not found:
        return None
    single, double = found.groups()
    return double if single is None else single.replace("''", "'")


def _parse_list(text: _Text) -> tuple[str, ...]:
    values: list[str] = []
    closed = re.compile(r"\s*\)")
    if text.take(re.compile(r"\(\s*")):
        while not text.take(closed):
            value = _parse_text(text)
            if value is None:
                break
            values.append(value)
            if not text.take(_COMMA) and not closed.match(text.text, text.position):
                break
        else:
            if values:
                return tuple(values)
    raise text.refuse("has no list of quoted texts", hint="a list is written ('one', 'two')")


def _parse_number(text: _Text, key: str, *, is_metric: bool) -> Value:
    found = text.take(_NUMBER)
    if not found:
        raise text.refuse(f"compares `{key}` with what is no number", hint="numbers are written without quotes")
    return int(found.group()) if _WHOLE.fullmatch(found.group()) and not is_metric else float(found.group())


def _parse_value(
    text: _Text, vocabulary: Vocabulary, entity: Entity, key: str, comparator: Comparator
) -> Value | tuple[str, ...] | None:
    text.skip_space()
    if comparator in FOR_NULL:
        return None
    if comparator in FOR_LISTS:
        return _parse_list(text)
    if vocabulary.takes_number(entity, key):
        return _parse_number(text, key, is_metric=entity is Entity.METRIC)
    value = _parse_text(text)
    if value is None:
        raise text.refuse(f"compares `{key}` with what is no quoted text", hint="texts are written 'like this'")
    return value


def _parse_clause(text: _Text, vocabulary: Vocabulary) -> Clause:
    text.start_clause()
    entity, key = _parse_key(text, vocabulary)
    comparator = _parse_comparator(text, vocabulary, entity, key)
    value = _parse_value(text, vocabulary, entity, key, comparator)
    return Clause(entity=entity, key=key, comparator=comparator, value=value)


def parse_filter(text: str, vocabulary: Vocabulary) -> tuple[Clause, ...]:
    """Return the clauses that must all hold, none for an empty text. Raises TrackingError with the clause and why."""
    reading = _Text(text)
    clauses: list[Clause] = []
    if reading.is_at_end():
        return ()
    while True:
        clauses.append(_parse_clause(reading, vocabulary))
        if reading.is_at_end():
            return tuple(clauses)
        rest = reading.text[reading.position :]
        if not reading.take(_AND):
            raise reading.refuse(
                f"is followed by `{rest.split()[0]}`", hint="clauses are joined by AND, and only by it"
            )
        if reading.is_at_end():
            raise reading.refuse("is followed by AND and nothing more")


def parse_order(text: str, vocabulary: Vocabulary) -> Order:
    """Return what `KEY [ASC|DESC]` sorts by. Raises TrackingError."""
    stripped = text.strip()
    found = _KEY.match(stripped)
    if not found:
        raise TrackingError(
            f"the order `{text}` does not begin with a key", hint="an order is KEY, KEY ASC or KEY DESC"
        )
    direction = _DIRECTION.fullmatch(stripped, found.end())
    if found.end() < len(stripped) and not direction:
        raise TrackingError(
            f"the order `{text}` ends with what is neither ASC nor DESC", hint="an order is KEY, KEY ASC or KEY DESC"
        )
    key = _find_key(found, vocabulary, sorting=True)
    if isinstance(key, str):
        raise TrackingError(f"the order `{text}` {key}", hint=f"keys are {_hint_at_keys(vocabulary, sorting=True)}")
    return Order(entity=key[0], key=key[1], ascending=not direction or direction.group(1).upper() == "ASC")


def parse_orders(texts: Sequence[str], vocabulary: Vocabulary) -> tuple[Order, ...]:
    """Return several orders, the first decides first. Raises TrackingError."""
    return tuple(parse_order(text, vocabulary) for text in texts)
