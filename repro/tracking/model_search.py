"""Search models that are at hand as values: registered ones, their versions, and those that runs have logged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from repro.formats.model_meta import LoggedModel, ModelVersion, RegisteredModel
from repro.tracking.search.clauses import (
    MODEL_VERSIONS,
    REGISTERED_MODELS,
    Attribute,
    Clause,
    Entity,
    Order,
    Value,
    Vocabulary,
)
from repro.tracking.search.grammar import parse_filter, parse_order, parse_orders
from repro.tracking.search.match import select
from repro.tracking.search.order import sort_by
from repro.values import frozen

_IS_PROMPT = "mlflow.prompt.is_prompt"
_ENTITIES = frozenset({Entity.ATTRIBUTE, Entity.TAG, Entity.PARAM, Entity.METRIC})
LOGGED_MODELS = Vocabulary(
    noun="logged model",
    attributes={
        "name": Attribute(takes_list=True),
        "model_id": Attribute(takes_list=True),
        "model_type": Attribute(),
        "status": Attribute(takes_list=True),
        "source_run_id": Attribute(takes_list=True),
        "experiment_id": Attribute(takes_list=True),
        "creation_timestamp": Attribute(is_number=True),
        "last_updated_timestamp": Attribute(is_number=True),
    },
    entities=_ENTITIES,
    sorted_entities=_ENTITIES,
    null_tests=frozenset({Entity.TAG, Entity.PARAM}),
    aliases={"creation_time": "creation_timestamp"},
)


def _read_registered_model(model: RegisteredModel, entity: Entity, key: str) -> Value | None:
    if entity is Entity.TAG:
        return model.tags.get(key, "false" if key == _IS_PROMPT else None)
    attributes: dict[str, Value | None] = {
        "name": model.name,
        "creation_timestamp": model.created_ms,
        "last_updated_timestamp": model.updated_ms,
    }
    return attributes[key]


def _read_version(version: ModelVersion, entity: Entity, key: str) -> Value | None:
    if entity is Entity.TAG:
        return version.tags.get(key, "false" if key == _IS_PROMPT else None)
    attributes: dict[str, Value | None] = {
        "name": version.name,
        "version_number": version.version,
        "run_id": version.run_id,
        "source_path": version.source,
        "creation_timestamp": version.created_ms,
        "last_updated_timestamp": version.updated_ms,
    }
    return attributes[key]


def _is_wanted(tags: Iterable[str], clauses: Sequence[Clause]) -> bool:
    """Prompts are registered models too, for MLflow; they are found only if asked for."""
    return _IS_PROMPT not in tags or any(clause.key == _IS_PROMPT for clause in clauses)


def find_registered_models(
    models: Iterable[RegisteredModel], filter_text: str, orders: Sequence[str]
) -> list[RegisteredModel]:
    """Return what a filter keeps, in its order and then by name. Raises TrackingError."""
    clauses = parse_filter(filter_text, REGISTERED_MODELS)
    wanted = [each for each in models if _is_wanted(each.tags, clauses)]
    by = parse_orders((*orders, "name"), REGISTERED_MODELS)
    return sort_by(select(wanted, clauses, _read_registered_model), by, _read_registered_model)


def find_versions(versions: Iterable[ModelVersion], filter_text: str, orders: Sequence[str]) -> list[ModelVersion]:
    """Return what a filter keeps, in its order and then the last changed first. Raises TrackingError."""
    clauses = parse_filter(filter_text, MODEL_VERSIONS)
    wanted = [each for each in versions if _is_wanted(each.tags, clauses)]
    by = parse_orders((*orders, "last_updated_timestamp DESC", "name", "version_number DESC"), MODEL_VERSIONS)
    return sort_by(select(wanted, clauses, _read_version), by, _read_version)


@frozen
class DatasetFilter:
    """A dataset that metrics must have been measured with; any digest where none is given."""

    name: str
    digest: str | None = None


class _LoggedModelReader:
    """Reads a model's keys; with datasets, of its metrics only those that were measured with one of them."""

    def __init__(self, datasets: Sequence[DatasetFilter]) -> None:
        self._datasets = datasets

    def _has_dataset(self, name: str | None, digest: str | None) -> bool:
        return any(each.name == name and each.digest in (None, digest) for each in self._datasets)

    def read(self, model: LoggedModel, entity: Entity, key: str) -> Value | None:
        """Return what a model has for a key."""
        if entity is Entity.TAG:
            return model.tags.get(key)
        if entity is Entity.PARAM:
            return model.params.get(key)
        if entity is Entity.ATTRIBUTE:
            return _read_attribute(model, key)
        measured = [
            each.point
            for each in model.metrics
            if each.key == key and (not self._datasets or self._has_dataset(each.dataset_name, each.dataset_digest))
        ]
        return max(measured, key=lambda point: point.order).value if measured else None


def _read_attribute(model: LoggedModel, key: str) -> Value | None:
    attributes: dict[str, Value | None] = {
        "name": model.name,
        "model_id": model.model_id,
        "model_type": model.model_type,
        "status": model.status.value.removeprefix("LOGGED_MODEL_"),
        "source_run_id": model.source_run_id,
        "experiment_id": model.experiment_id,
        "creation_timestamp": model.created_ms,
        "last_updated_timestamp": model.updated_ms,
    }
    return attributes[key]


def parse_logged_model_order(key: str, *, ascending: bool) -> Order:
    """Return what logged models are sorted by. Raises TrackingError."""
    return parse_order(f"{key} {'ASC' if ascending else 'DESC'}", LOGGED_MODELS)


def find_logged_models(
    models: Iterable[LoggedModel], filter_text: str, orders: Sequence[Order], datasets: Sequence[DatasetFilter]
) -> list[LoggedModel]:
    """Return what a filter keeps, in its order and then the newest first. Raises TrackingError."""
    clauses = parse_filter(filter_text, LOGGED_MODELS)
    read = _LoggedModelReader(datasets).read
    by = (*orders, *parse_orders(("creation_timestamp DESC", "model_id"), LOGGED_MODELS))
    return sort_by(select(list(models), clauses, read), by, read)
