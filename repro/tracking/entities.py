"""What a tracking store gives and takes: runs, queries and pages of answers, the same for every store.

Names are MLflow's (`run.info.run_id`, `run.data.metrics`), so that code that reads its runs reads ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum

from repro.formats.run_meta import MetricPoint, RunInfo
from repro.kinds import Generic, TypeVar
from repro.values import field, frozen

T = TypeVar("T")

MAX_RESULTS_DEFAULT = 1000
MAX_RESULTS = 50_000
PARENT_RUN_ID = "mlflow.parentRunId"
RUN_NAME = "mlflow.runName"
USER = "mlflow.user"


class ViewType(str, Enum):
    """Which of the active and the deleted ones are meant."""

    ACTIVE_ONLY = "ACTIVE_ONLY"
    DELETED_ONLY = "DELETED_ONLY"
    ALL = "ALL"

    def shows(self, lifecycle_stage: str) -> bool:
        """Tell whether what is `active` or `deleted` belongs to the view."""
        return self is ViewType.ALL or (lifecycle_stage == "active") == (self is ViewType.ACTIVE_ONLY)


@frozen
class Metric:
    """A point and the key of the metric that it is of."""

    key: str
    point: MetricPoint


@frozen
class Dataset:
    """A dataset that a run has read; `schema` and `profile` are JSON, `tags` say how it was used."""

    name: str
    digest: str
    source_type: str
    source: str
    schema: str | None = None
    profile: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@frozen
class RunData:
    """What was logged to a run: `points` are the latest of each metric, by step, then time, then value."""

    points: Mapping[str, MetricPoint] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def metrics(self) -> dict[str, float]:
        """The latest value of each metric."""
        return {key: point.value for key, point in self.points.items()}


@frozen
class Run:
    """A run with everything that was logged to it but its artifacts."""

    info: RunInfo
    data: RunData
    datasets: tuple[Dataset, ...] = ()

    @property
    def run_id(self) -> str:
        """The run's id, 32 hexadecimal digits."""
        return self.info.run_id

    @property
    def id(self) -> str:
        """The run's id, as MLflow's R package has it (`mlflow_id`)."""
        return self.info.run_id


@frozen
class Artifact:
    """A file or directory among a run's artifacts; `path` is relative to them, `size_bytes` None for a directory."""

    path: str
    is_dir: bool
    size_bytes: int | None = None


@frozen
class NewRun:
    """A run that is to be made; without a name it gets one of its id."""

    experiment_id: str
    user_id: str
    start_time_ms: int
    run_name: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@frozen
class Batch:
    """What is logged to a run in one call. Its order in a metric is the order of the points."""

    metrics: Sequence[Metric] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@frozen
class RunQuery:
    """A search for runs, in MLflow's filter grammar; `page_token` is what the page before gave."""

    experiment_ids: tuple[str, ...]
    filter: str = ""
    view: ViewType = ViewType.ACTIVE_ONLY
    order_by: tuple[str, ...] = ()
    max_results: int = MAX_RESULTS_DEFAULT
    page_token: str | None = None


@frozen
class ExperimentQuery:
    """A search for experiments."""

    filter: str = ""
    view: ViewType = ViewType.ACTIVE_ONLY
    order_by: tuple[str, ...] = ()
    max_results: int = MAX_RESULTS_DEFAULT
    page_token: str | None = None


@frozen
class Page(Generic[T]):
    """Some of what was found; `token` asks for the next page, None after the last."""

    items: tuple[T, ...]
    token: str | None = None

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)
