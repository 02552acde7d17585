"""Log to the active run: `repro.log_metric(...)` and the like, light enough for any training script.

Where no run is active, one is started.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from repro.errors import TrackingError, UsageError
from repro.formats.run_meta import Experiment, MetricPoint
from repro.tracking.active_experiment import find_active_experiment_id, get_active_client, get_experiment_named
from repro.tracking.active_run import active_run, is_active, require_run
from repro.tracking.client import Client, as_tuple, make_point, parse_view
from repro.tracking.clock import now_ms
from repro.tracking.entities import MAX_RESULTS, Artifact, ExperimentQuery, Metric, Run, RunQuery, ViewType
from repro.tracking.paging import find_experiments, find_runs


def _choose(run_id: str | None) -> tuple[Client, str]:
    """Return the client and the id of the run that is meant, by default the active one, started where there is none."""
    if run_id is not None:
        return _find_client(), run_id
    run = require_run()
    return run.client, run.info.run_id


def log_param(key: str, value: object, synchronous: bool | None = None) -> object:
    """Log a parameter as text and return its value; the same value may be logged again, another not.

    What was logged is kept when the call returns, whatever `synchronous` says, here and below: it is MLflow's word.
    """
    client, target = _choose(None)
    return client.log_param(target, key, value)


def log_params(params: Mapping[str, object], synchronous: bool | None = None, run_id: str | None = None) -> None:
    """Log parameters."""
    client, target = _choose(run_id)
    client.log_batch(target, params=params)


def log_metric(
    key: str,
    value: float,
    step: float | None = None,
    timestamp: float | None = None,
    *,
    synchronous: bool | None = None,
    run_id: str | None = None,
) -> float:
    """Log a value of a metric and return it; `timestamp` is milliseconds since the epoch, else now.

    It and `step`, by default 0, are rounded to whole numbers. NaN and infinities are values.
    """
    if run_id is None:  # a training loop's hot path
        run = require_run()
        run.client.log_metric(run.info.run_id, key, value, timestamp, step)
    else:
        _find_client().log_metric(run_id, key, value, timestamp, step)
    return value


def log_metrics(
    metrics: Mapping[str, float],
    step: float | None = None,
    timestamp: float | None = None,
    *,
    synchronous: bool | None = None,
    run_id: str | None = None,
) -> None:
    """Log metrics of one step and time; nothing where one of them is no number."""
    client, target = _choose(run_id)
    time_ms = now_ms() if timestamp is None else timestamp
    points = [Metric(key=str(key), point=make_point(value, time_ms, step)) for key, value in metrics.items()]
    client.log_batch(target, points)


def log_batch(
    metrics: Mapping[str, float] | Iterable[object] = (),
    params: Mapping[str, object] | None = None,
    tags: Mapping[str, object] | None = None,
) -> None:
    """Log many values at once; see `Client.log_batch`."""
    run = require_run()
    run.client.log_batch(run.run_id, metrics, params, tags)


def set_tag(key: str, value: object, synchronous: bool | None = None) -> None:
    """Set a tag of the run."""
    run = require_run()
    run.client.set_tag(run.run_id, key, value)


def set_tags(tags: Mapping[str, object], synchronous: bool | None = None) -> None:
    """Set tags of the run."""
    run = require_run()
    run.client.log_batch(run.run_id, tags=tags)


def delete_tag(key: str) -> None:
    """Remove a tag of the run."""
    run = require_run()
    run.client.delete_tag(run.run_id, key)


def log_artifact(
    local_path: str | os.PathLike[str], artifact_path: str | None = None, run_id: str | None = None
) -> list[Artifact]:
    """Keep a file, or a directory under its name, with the run, and return what lies beside it."""
    client, target = _choose(run_id)
    return client.log_artifact(target, local_path, artifact_path)


def log_artifacts(
    local_dir: str | os.PathLike[str], artifact_path: str | None = None, run_id: str | None = None
) -> list[Artifact]:
    """Keep what lies in a directory with the run, and return the listing."""
    client, target = _choose(run_id)
    return client.log_artifacts(target, local_dir, artifact_path)


def log_text(text: str, artifact_file: str, run_id: str | None = None) -> None:
    """Keep a text with the run as the file `artifact_file`."""
    client, target = _choose(run_id)
    client.log_text(target, text, artifact_file)


def log_dict(dictionary: object, artifact_file: str, run_id: str | None = None) -> None:
    """Keep a mapping or list with the run, as YAML where the name ends in `.yaml` or `.yml`, else as JSON."""
    client, target = _choose(run_id)
    client.log_dict(target, dictionary, artifact_file)


def log_figure(figure: object, artifact_file: str, *, save_kwargs: Mapping[str, object] | None = None) -> None:
    """Keep a figure of matplotlib or plotly with the run, in the format that the name ends in."""
    run = require_run()
    run.client.log_figure(run.run_id, figure, artifact_file, save_kwargs=save_kwargs)


def log_table(data: object, artifact_file: str, run_id: str | None = None) -> None:
    """Keep a table with the run, appended where the file is there; see `Client.log_table`."""
    client, target = _choose(run_id)
    client.log_table(target, data, artifact_file)


def flush() -> None:
    """Return when everything logged until now is where it belongs."""
    (run.client if (run := active_run()) else get_active_client()).flush()


def _find_client() -> Client:
    run = active_run()
    return run.client if run else get_active_client()


def _choose_run_id(run_id: str | None) -> str:
    if run_id is None and (run := active_run()):
        return run.run_id
    if run_id is None:
        raise TrackingError("no run is active", hint="give a run's id")
    return run_id


def get_run(run_id: str | None = None) -> Run:
    """Return a run, by default the active one. Raises TrackingNotFoundError."""
    return _find_client().get_run(_choose_run_id(run_id))


def get_metric_history(key: str, run_id: str | None = None) -> list[MetricPoint]:
    """Return every point of a metric, of the active run by default."""
    return _find_client().get_metric_history(_choose_run_id(run_id), key)


def delete_run(run_id: str) -> None:
    """Mark a run as deleted. Raises TrackingError for the active one."""
    if is_active(run_id):
        raise TrackingError(f"the run `{run_id}` is active and cannot be deleted", hint="end it first")
    _find_client().delete_run(run_id)


def restore_run(run_id: str) -> None:
    """Make a deleted run active again."""
    _find_client().restore_run(run_id)


def list_artifacts(path: str | None = None, run_id: str | None = None) -> list[Artifact]:
    """Return what lies directly in a directory of a run's artifacts, of the active run by default."""
    return _find_client().list_artifacts(_choose_run_id(run_id), path)


def download_artifacts(
    artifact_uri: str | None = None,
    *,
    run_id: str | None = None,
    artifact_path: str | None = None,
    dst_path: str | os.PathLike[str] | None = None,
) -> str:
    """Bring artifacts to a local directory, made where it is missing, and return the path; by URI, or by run and path.

    URIs: `runs:/<run id>/<path>`, `models:/<name>/<version>`, `models:/<name>@<alias>`, `models:/<model id>`,
    `mlflow-artifacts:/...`, a `file:` URI or a path. What lies on this machine stays where it is unless `dst_path` is
    given; a run's artifacts are always copied. Raises UsageError and TrackingNotFoundError.
    """
    from repro.tracking.artifact_uri import bring
    from repro.tracking.run_files import explaining

    if artifact_uri is not None and (run_id is not None or artifact_path is not None):
        raise UsageError("artifacts are named by a URI, or by run and path", hint="give one of them")
    if dst_path is not None:
        with explaining("directory", os.fspath(dst_path)):
            os.makedirs(dst_path, exist_ok=True)
    if artifact_uri is None:
        return _find_client().download_artifacts(_choose_run_id(run_id), artifact_path or "", dst_path)
    return bring(_find_client(), artifact_uri, dst_path)


def create_experiment(name: str, artifact_location: str | None = None, tags: Mapping[str, object] | None = None) -> str:
    """Make an experiment and return its id. Raises TrackingExistsError."""
    return get_active_client().create_experiment(name, artifact_location, tags)


def get_experiment(experiment_id: str | None = None, *, name: str | None = None) -> Experiment:
    """Return an experiment by its id or its name, by default the active one, also a deleted one.

    Raises TrackingNotFoundError, and TrackingError where both are given.
    """
    if experiment_id is not None and name is not None:
        raise TrackingError("an experiment is asked for by its id or by its name", hint="give one of them")
    client = get_active_client()
    if name is None:
        return client.get_experiment(experiment_id or find_active_experiment_id())
    return get_experiment_named(client, name)


def get_experiment_by_name(name: str) -> Experiment | None:
    """Return the experiment of a name, also a deleted one; None where there is none."""
    return get_active_client().get_experiment_by_name(name)


def search_experiments(
    view_type: ViewType | str | int = ViewType.ACTIVE_ONLY,
    max_results: int | None = None,
    filter_string: str | None = None,
    order_by: Sequence[str] | None = None,
) -> list[Experiment]:
    """Return experiments, all that there are unless `max_results` says how many; see docs/tracking.md."""
    query = ExperimentQuery(filter=filter_string or "", view=parse_view(view_type), order_by=as_tuple(order_by))
    return find_experiments(get_active_client().store, query, limit=max_results)


def rename_experiment(experiment_id: str, new_name: str) -> None:
    """Give an experiment another name."""
    get_active_client().rename_experiment(experiment_id, new_name)


def delete_experiment(experiment_id: str) -> None:
    """Mark an experiment and its runs as deleted. Raises TrackingError for the active one."""
    if experiment_id == find_active_experiment_id():
        raise TrackingError(f"the experiment `{experiment_id}` is active and cannot be deleted", hint="set another")
    get_active_client().delete_experiment(experiment_id)


def restore_experiment(experiment_id: str) -> None:
    """Make a deleted experiment active again."""
    get_active_client().restore_experiment(experiment_id)


def set_experiment_tag(key: str, value: object) -> None:
    """Set a tag of the active experiment."""
    get_active_client().set_experiment_tag(find_active_experiment_id(), key, value)


def set_experiment_tags(tags: Mapping[str, object]) -> None:
    """Set tags of the active experiment."""
    for key, value in tags.items():
        set_experiment_tag(key, value)


def _choose_experiments(
    client: Client, experiment_ids: Sequence[str] | None, names: Sequence[str] | None, *, all_of_them: bool
) -> list[str]:
    if experiment_ids is not None and names is not None:
        raise TrackingError("runs are searched in experiments by id or by name", hint="give one of them")
    if all_of_them:
        return [each.experiment_id for each in search_experiments(ViewType.ALL)]
    if names is not None:
        found = (client.get_experiment_by_name(name) for name in as_tuple(names))
        return [each.experiment_id for each in found if each]
    return list(as_tuple(experiment_ids)) if experiment_ids is not None else [find_active_experiment_id()]


def search_runs(
    experiment_ids: Sequence[str] | None = None,
    filter_string: str | None = "",
    run_view_type: ViewType | str | int = ViewType.ACTIVE_ONLY,
    max_results: int = MAX_RESULTS * 2,
    order_by: Sequence[str] | None = None,
    output_format: str = "list",
    search_all_experiments: bool = False,
    experiment_names: Sequence[str] | None = None,
) -> Any:
    """Return runs, of the active experiment by default: a list of Run, or with `pandas` a DataFrame.

    The DataFrame has MLflow's columns: `run_id`, `experiment_id`, `status`, `artifact_uri`, `start_time`, `end_time`,
    and `metrics.*`, `params.*` and `tags.*`. See docs/tracking.md for the filter. Raises TrackingError.
    """
    if output_format not in ("list", "pandas"):
        raise TrackingError(f"runs cannot be given as `{output_format}`", hint="list or pandas")
    client = get_active_client()
    ids = _choose_experiments(client, experiment_ids, experiment_names, all_of_them=search_all_experiments)
    query = RunQuery(
        experiment_ids=tuple(ids),
        filter=filter_string or "",
        view=parse_view(run_view_type),
        order_by=as_tuple(order_by),
    )
    found = find_runs(client.store, query, limit=max_results)
    if output_format == "list":
        return found
    from repro.tracking.frames import make_frame

    return make_frame(found)
