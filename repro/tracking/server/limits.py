"""How much may be logged at once, and how long values may be: MLflow's limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from repro.errors import TrackingError
from repro.tracking.entities import Batch
from repro.tracking.wire import Fields
from repro.values import replace

MAX_METRICS = 1000
MAX_PARAMS = 100
MAX_TAGS = 100
MAX_ENTITIES = 1000
_MAX_PARAM_VALUE = 6000
_MAX_TAG_VALUE = 8000
_MAX_EXPERIMENT_NAME = 500
_MAX_EXPERIMENT_TAG_VALUE = 20_000


def check_batch(metrics: Sequence[Fields], params: Sequence[Fields], tags: Sequence[Fields]) -> None:
    """Refuse a batch that is too large, or has a parameter twice. Raises TrackingError."""
    for kind, entries, most in (
        ("metrics", metrics, MAX_METRICS),
        ("params", params, MAX_PARAMS),
        ("tags", tags, MAX_TAGS),
    ):
        if len(entries) > most:
            raise TrackingError(
                f"A batch logging request can contain at most {most} {kind}. Got {len(entries)} {kind}."
                f" Please split up {kind} across multiple requests and try again."
            )
    if (number := len(metrics) + len(params) + len(tags)) > MAX_ENTITIES:
        raise TrackingError(
            f"A batch logging request can contain at most {MAX_ENTITIES} entities. Got {number} entities."
        )
    twice = [key for key, count in Counter(str(each.get("key")) for each in params).items() if count > 1]
    if twice:
        raise TrackingError(f"Duplicate parameter keys have been submitted: {twice}")


def cut_params(params: Mapping[str, str]) -> dict[str, str]:
    """Return parameters as they are kept: a long value is cut, as MLflow does."""
    return {key: value[:_MAX_PARAM_VALUE] for key, value in params.items()}


def cut_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags as they are kept: a long value is cut, as MLflow does."""
    return {key: value[:_MAX_TAG_VALUE] for key, value in tags.items()}


def cut_batch(batch: Batch) -> Batch:
    """Return a batch as it is kept."""
    return replace(batch, params=cut_params(batch.params), tags=cut_tags(batch.tags))


def check_experiment_name(name: str) -> None:
    """Refuse a name that is too long. Raises TrackingError."""
    if len(name) > _MAX_EXPERIMENT_NAME:
        raise TrackingError(f"an experiment's name has {_MAX_EXPERIMENT_NAME} characters at most, and this {len(name)}")


def check_experiment_tags(tags: Mapping[str, str]) -> None:
    """Refuse a value that is too long. Raises TrackingError."""
    for key, value in tags.items():
        if len(value) > _MAX_EXPERIMENT_TAG_VALUE:
            raise TrackingError(
                f"the tag `{key}` has {len(value)} characters, and may have {_MAX_EXPERIMENT_TAG_VALUE}"
            )
