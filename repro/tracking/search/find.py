"""Search runs and experiments that are at hand as values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from repro.formats.run_meta import Experiment
from repro.tracking.entities import Dataset, ExperimentQuery, Page, Run, RunQuery
from repro.tracking.search.clauses import EXPERIMENTS, RUNS, Entity, Value
from repro.tracking.search.grammar import parse_filter, parse_orders
from repro.tracking.search.match import select
from repro.tracking.search.order import sort_by, sort_naturally
from repro.tracking.search.paging import check_max_results, make_page

_DATASET_CONTEXT = "mlflow.data.context"


def _read_attribute(item: object, key: str) -> Value | None:
    value = getattr(item, key)
    return value if value is None or isinstance(value, int | float) else str(value)


def read_datasets_key(datasets: Sequence[Dataset], key: str) -> list[Value]:
    """Return what each of a run's datasets has for a key."""
    if key == "context":
        return [each.tags[_DATASET_CONTEXT] for each in datasets if _DATASET_CONTEXT in each.tags]
    return [each.name if key == "name" else each.digest for each in datasets]


def read_run(run: Run, entity: Entity, key: str) -> Value | Sequence[Value] | None:
    """Return what a run has for a key."""
    if entity is Entity.METRIC:
        point = run.data.points.get(key)
        return None if point is None else point.value
    if entity is Entity.PARAM:
        return run.data.params.get(key)
    if entity is Entity.TAG:
        return run.data.tags.get(key)
    return read_datasets_key(run.datasets, key) if entity is Entity.DATASET else _read_attribute(run.info, key)


def read_experiment(experiment: Experiment, entity: Entity, key: str) -> Value | None:
    """Return what an experiment has for a key."""
    return experiment.tags.get(key) if entity is Entity.TAG else _read_attribute(experiment, key)


def find_runs(runs: Iterable[Run], query: RunQuery) -> Page[Run]:
    """Return the page of a query among runs of its experiments: the newest first where it has no order.

    What the query's orders leave equal is in that order too, then by run id. Raises TrackingError.
    """
    clauses, orders = parse_filter(query.filter, RUNS), parse_orders(query.order_by, RUNS)
    check_max_results(query.max_results)
    shown = (run for run in runs if query.view.shows(run.info.lifecycle_stage))
    found = sort_naturally(select(shown, clauses, read_run), read_run, newest="start_time", tie="run_id")
    return make_page(sort_by(found, orders, read_run), query, lambda run: run.run_id)


def find_experiments(experiments: Iterable[Experiment], query: ExperimentQuery) -> Page[Experiment]:
    """Return the page of a query among experiments, the newest first where it has no order. Raises TrackingError."""
    clauses = parse_filter(query.filter, EXPERIMENTS)
    orders = parse_orders(query.order_by or ("creation_time DESC", "experiment_id ASC"), EXPERIMENTS)
    check_max_results(query.max_results)
    shown = (each for each in experiments if query.view.shows(each.lifecycle_stage))
    found = sorted(select(shown, clauses, read_experiment), key=lambda each: each.experiment_id, reverse=True)
    return make_page(sort_by(found, orders, read_experiment), query, lambda each: each.experiment_id)
