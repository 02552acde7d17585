"""A filter and an order as values, and what of each kind of thing can be searched for: the words of the grammar."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from repro.values import field, frozen

Value = str | int | float


class Entity(str, Enum):
    """What a key is a key of."""

    ATTRIBUTE = "attribute"
    METRIC = "metric"
    PARAM = "parameter"
    TAG = "tag"
    DATASET = "dataset"


ENTITY_WORDS: Mapping[str, Entity] = {
    **dict.fromkeys(("attribute", "attributes", "attr", "run"), Entity.ATTRIBUTE),
    **dict.fromkeys(("metric", "metrics"), Entity.METRIC),
    **dict.fromkeys(("parameter", "parameters", "param", "params"), Entity.PARAM),
    **dict.fromkeys(("tag", "tags"), Entity.TAG),
    **dict.fromkeys(("dataset", "datasets"), Entity.DATASET),
}
DATASET_KEYS = ("name", "digest", "context")


class Comparator(str, Enum):
    """How a value is compared."""

    EQUAL = "="
    UNEQUAL = "!="
    LESS = "<"
    AT_MOST = "<="
    MORE = ">"
    AT_LEAST = ">="
    LIKE = "LIKE"
    ILIKE = "ILIKE"
    IN = "IN"
    NOT_IN = "NOT IN"
    IS_NULL = "IS NULL"
    IS_NOT_NULL = "IS NOT NULL"


_SAME = (Comparator.EQUAL, Comparator.UNEQUAL)
FOR_NUMBERS = (*_SAME, Comparator.LESS, Comparator.AT_MOST, Comparator.MORE, Comparator.AT_LEAST)
FOR_TEXT = (*_SAME, Comparator.LIKE, Comparator.ILIKE)
FOR_LISTS = (Comparator.IN, Comparator.NOT_IN)
FOR_NULL = (Comparator.IS_NULL, Comparator.IS_NOT_NULL)


@frozen
class Clause:
    """One condition. `value` is a float for a metric, texts for a list, None for the tests for NULL."""

    entity: Entity
    key: str
    comparator: Comparator
    value: Value | tuple[str, ...] | None = None


@frozen
class Order:
    """What is sorted by."""

    entity: Entity
    key: str
    ascending: bool = True


@frozen
class Attribute:
    """What may be done with an attribute; `takes_list` allows IN and NOT IN."""

    is_number: bool = False
    takes_list: bool = False
    filters: bool = True
    sorts: bool = True


@frozen
class Vocabulary:
    """What can be searched for in one kind of thing.

    `aliases` are other names of attributes, `null_tests` the entities that IS [NOT] NULL is for.
    """

    noun: str
    attributes: Mapping[str, Attribute]
    entities: frozenset[Entity] = frozenset({Entity.ATTRIBUTE, Entity.TAG})
    sorted_entities: frozenset[Entity] = frozenset({Entity.ATTRIBUTE})
    null_tests: frozenset[Entity] = frozenset({Entity.TAG})
    aliases: Mapping[str, str] = field(default_factory=dict)

    def list_comparators(self, entity: Entity, key: str) -> tuple[Comparator, ...]:
        """Return how a key may be compared."""
        if entity is Entity.METRIC:
            return FOR_NUMBERS
        if entity is Entity.DATASET:
            return (*FOR_TEXT, *FOR_LISTS)
        if entity is Entity.ATTRIBUTE:
            attribute = self.attributes[key]
            return FOR_NUMBERS if attribute.is_number else FOR_TEXT + FOR_LISTS * attribute.takes_list
        return FOR_TEXT + FOR_NULL * (entity in self.null_tests)

    def takes_number(self, entity: Entity, key: str) -> bool:
        """Tell whether a key is compared with numbers."""
        return entity is Entity.METRIC or (entity is Entity.ATTRIBUTE and self.attributes[key].is_number)


_RUN_ENTITIES = frozenset(Entity)
RUNS = Vocabulary(
    noun="run",
    attributes={
        "run_id": Attribute(takes_list=True),
        "run_name": Attribute(),
        "status": Attribute(),
        "user_id": Attribute(),
        "artifact_uri": Attribute(),
        "start_time": Attribute(is_number=True),
        "end_time": Attribute(is_number=True),
    },
    entities=_RUN_ENTITIES,
    sorted_entities=_RUN_ENTITIES - {Entity.DATASET},
    null_tests=frozenset({Entity.TAG, Entity.PARAM}),
    aliases={
        **dict.fromkeys(("created", "Created"), "start_time"),
        **dict.fromkeys(("run name", "Run name", "Run Name"), "run_name"),
    },
)
EXPERIMENTS = Vocabulary(
    noun="experiment",
    attributes={
        "name": Attribute(),
        "experiment_id": Attribute(takes_list=True),
        "creation_time": Attribute(is_number=True),
        "last_update_time": Attribute(is_number=True),
    },
)
_TIME_TO_SORT_BY = Attribute(is_number=True, filters=False)
REGISTERED_MODELS = Vocabulary(
    noun="registered model",
    attributes={
        "name": Attribute(takes_list=True),
        "creation_timestamp": _TIME_TO_SORT_BY,
        "last_updated_timestamp": _TIME_TO_SORT_BY,
    },
    null_tests=frozenset(),
)
MODEL_VERSIONS = Vocabulary(
    noun="model version",
    attributes={
        "name": Attribute(takes_list=True),
        "version_number": Attribute(is_number=True),
        "run_id": Attribute(takes_list=True, sorts=False),
        "source_path": Attribute(sorts=False),
        "creation_timestamp": _TIME_TO_SORT_BY,
        "last_updated_timestamp": _TIME_TO_SORT_BY,
    },
    null_tests=frozenset(),
)
