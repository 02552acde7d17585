"""Log to any run and ask for any, by its id: `repro.Client(tracking_uri)`, with the verbs of MLflow's client."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from repro import settings
from repro.errors import TrackingError, TrackingNotFoundError
from repro.formats.run_meta import Experiment, MetricPoint, RunStatus
from repro.tracking.clock import now_ms
from repro.tracking.entities import (
    MAX_RESULTS_DEFAULT,
    Artifact,
    Batch,
    ExperimentQuery,
    Metric,
    NewRun,
    Page,
    Run,
    RunQuery,
    ViewType,
)
from repro.tracking.observers import notify, observers
from repro.tracking.registry_verbs import RegistryVerbs
from repro.tracking.store import DEFAULT_EXPERIMENT, Store, open_store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.tracking.model_store import ModelStore

MAX_METRICS = 1000
MAX_PARAMS = 100
MAX_TAGS = 100


def make_point(value: float, timestamp: float | None = None, step: float | None = None) -> MetricPoint:
    """Return a point of a metric; time, in milliseconds, and step are rounded. Raises TrackingError."""
    try:
        return MetricPoint(
            float(value),
            time.time_ns() // 1_000_000 if timestamp is None else round(timestamp),
            0 if step is None else round(step),
        )
    except (TypeError, ValueError, OverflowError) as error:
        given = f"value {value!r}, time {timestamp!r}, step {step!r}"
        raise TrackingError(f"a metric's point is three numbers, and not {given} ({error})") from error


def parse_view(view: ViewType | str | int) -> ViewType:
    """Return which runs are meant; MLflow's own words for it are numbers from 1 on. Raises TrackingError."""
    try:
        return list(ViewType)[view - 1] if isinstance(view, int) and 1 <= view <= 3 else ViewType(view)
    except ValueError as error:
        raise TrackingError(f"`{view}` is no view", hint=", ".join(each.value for each in ViewType)) from error


def as_tuple(words: Sequence[str] | None) -> tuple[str, ...]:
    """Return a list of words, which may be missing, or be a single one."""
    return (words,) if isinstance(words, str) else tuple(words or ())


def _read_entity(value: object, *names: str) -> object:
    """Return a value of MLflow's (`Metric`, `Param`, `RunTag`) as a mapping; anything else as it is."""
    if isinstance(value, Mapping) or not hasattr(value, "key") or not hasattr(value, "value"):
        return value
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def _parse_metric(fields: object) -> Metric:
    """Return a metric of a batch: our own value, or a mapping `key`, `value` and maybe `timestamp` and `step`."""
    if isinstance(fields, Metric):
        return fields
    fields = _read_entity(fields, "key", "value", "timestamp", "step")
    if not isinstance(fields, Mapping) or not {"key", "value"} <= set(fields) <= {"key", "value", "timestamp", "step"}:
        raise TrackingError(f"a metric of a batch has key, value, timestamp, step; this is {fields!r}")
    return Metric(
        key=str(fields["key"]), point=make_point(fields["value"], fields.get("timestamp"), fields.get("step"))
    )


def parse_metrics(metrics: Mapping[str, float] | Iterable[object]) -> list[Metric]:
    """Return the metrics of a batch: a mapping of values, or a list of points. Raises TrackingError."""
    if isinstance(metrics, Mapping):
        timestamp = now_ms()
        return [Metric(key=str(key), point=make_point(value, timestamp)) for key, value in metrics.items()]
    return [_parse_metric(each) for each in metrics]


def as_texts(values: Mapping[str, object] | Iterable[object]) -> dict[str, str]:
    """Return values as the texts they are kept as: those of a mapping, or of a list of `key` and `value`.

    Raises TrackingError.
    """
    if isinstance(values, Mapping):
        return {str(key): str(value) for key, value in values.items()}
    pairs = [_read_entity(each, "key", "value") for each in values]
    for pair in pairs:
        if not isinstance(pair, Mapping) or set(pair) != {"key", "value"}:
            raise TrackingError(f"a value of a batch has key and value; this is {pair!r}")
    return {str(pair["key"]): str(pair["value"]) for pair in pairs if isinstance(pair, Mapping)}


def _split(batch: Batch) -> Iterable[Batch]:
    """Yield batches that are small enough for every server."""
    params, tags = list(batch.params.items()), list(batch.tags.items())
    count = max(len(batch.metrics) / MAX_METRICS, len(params) / MAX_PARAMS, len(tags) / MAX_TAGS)
    for number in range(int(count) + (count > int(count))):
        yield Batch(
            metrics=batch.metrics[number * MAX_METRICS : (number + 1) * MAX_METRICS],
            params=dict(params[number * MAX_PARAMS : (number + 1) * MAX_PARAMS]),
            tags=dict(tags[number * MAX_TAGS : (number + 1) * MAX_TAGS]),
        )


class Client(RegistryVerbs):
    """The runs and models of one store; every deed raises what `repro.tracking.store.Store` says.

    `tracking_uri` is a directory, a `file:` URI or a server's `http(s)://`; without one it is MLFLOW_TRACKING_URI, else
    `mlruns` in the working directory. Names of models are in the registry of `registry_uri`, else MLFLOW_REGISTRY_URI,
    else in the same store.
    """

    def __init__(
        self,
        tracking_uri: str | os.PathLike[str] | None = None,
        registry_uri: str | os.PathLike[str] | None = None,
        *,
        store: Store | None = None,
    ) -> None:
        if store is None:
            given = settings.find_tracking_uri(settings.live_environment()) if tracking_uri is None else tracking_uri
            store = open_store(os.fspath(given) if given is not None else None, cwd=Path.cwd())
        self.store = store
        self._registry_uri = os.fspath(registry_uri) if registry_uri is not None else None

    def __repr__(self) -> str:
        return f"Client({self.tracking_uri!r})"

    @property
    def tracking_uri(self) -> str:
        """The store's tracking URI."""
        return self.store.uri

    @property
    def models(self) -> ModelStore:
        """The models beside the runs."""
        from repro.tracking.model_store import open_models

        return open_models(self.store)

    @property
    def registry(self) -> ModelStore:
        """The registered models."""
        from repro.tracking.model_store import open_models

        uri = self._registry_uri or settings.find_registry_uri(settings.live_environment())
        return open_models(open_store(uri, cwd=Path.cwd())) if uri else self.models

    # experiments

    def create_experiment(
        self, name: str, artifact_location: str | None = None, tags: Mapping[str, object] | None = None
    ) -> str:
        """Make an experiment and return its id. Raises TrackingExistsError."""
        return self.store.create_experiment(name, artifact_location=artifact_location, tags=as_texts(tags or {}))

    def get_experiment(self, experiment_id: str) -> Experiment:
        """Return an experiment, also a deleted one."""
        return self.store.get_experiment(experiment_id)

    def get_experiment_by_name(self, name: str) -> Experiment | None:
        """Return the experiment of a name, also a deleted one; None where there is none."""
        return self.store.find_experiment(name)

    def search_experiments(
        self,
        view_type: ViewType | str | int = ViewType.ACTIVE_ONLY,
        max_results: int = MAX_RESULTS_DEFAULT,
        filter_string: str | None = None,
        order_by: Sequence[str] | None = None,
        page_token: str | None = None,
    ) -> Page[Experiment]:
        """Return a page of experiments (`page.token` asks for the next); see docs/tracking.md for the filter."""
        query = ExperimentQuery(
            filter=filter_string or "",
            view=parse_view(view_type),
            order_by=as_tuple(order_by),
            max_results=max_results,
            page_token=page_token,
        )
        return self.store.search_experiments(query)

    def rename_experiment(self, experiment_id: str, new_name: str) -> None:
        """Give an experiment another name."""
        self.store.rename_experiment(experiment_id, new_name)

    def delete_experiment(self, experiment_id: str) -> None:
        """Mark an experiment and its runs as deleted."""
        self.store.delete_experiment(experiment_id)

    def restore_experiment(self, experiment_id: str) -> None:
        """Make a deleted experiment active again."""
        self.store.restore_experiment(experiment_id)

    def set_experiment_tag(self, experiment_id: str, key: str, value: object) -> None:
        """Set a tag of an experiment."""
        self.store.set_experiment_tag(experiment_id, key, str(value))

    def delete_experiment_tag(self, experiment_id: str, key: str) -> None:
        """Remove a tag of an experiment."""
        self.store.delete_experiment_tag(experiment_id, key)

    # runs

    def create_run(
        self,
        experiment_id: str = DEFAULT_EXPERIMENT,
        start_time: int | None = None,
        tags: Mapping[str, object] | None = None,
        run_name: str | None = None,
    ) -> Run:
        """Make a run that is RUNNING and stays so until `set_terminated`; `start_time` in ms since the epoch."""
        new = NewRun(
            experiment_id=experiment_id,
            user_id=settings.get_user(settings.live_environment()),
            start_time_ms=now_ms() if start_time is None else round(start_time),
            run_name=run_name,
            tags=as_texts(tags or {}),
        )
        run = self.store.create_run(new)
        notify("create_run", run_id=run.run_id, experiment_id=run.info.experiment_id)
        return run

    def get_run(self, run_id: str) -> Run:
        """Return a run, also a deleted one."""
        return self.store.get_run(run_id)

    def search_runs(
        self,
        experiment_ids: Sequence[str],
        filter_string: str | None = "",
        run_view_type: ViewType | str | int = ViewType.ACTIVE_ONLY,
        max_results: int = MAX_RESULTS_DEFAULT,
        order_by: Sequence[str] | None = None,
        page_token: str | None = None,
    ) -> Page[Run]:
        """Return a page of runs (`page.token` asks for the next); see docs/tracking.md for the filter."""
        query = RunQuery(
            experiment_ids=as_tuple(experiment_ids),
            filter=filter_string or "",
            view=parse_view(run_view_type),
            order_by=as_tuple(order_by),
            max_results=max_results,
            page_token=page_token,
        )
        return self.store.search_runs(query)

    def set_terminated(
        self, run_id: str, status: RunStatus | str | None = RunStatus.FINISHED, end_time: int | None = None
    ) -> None:
        """End a run as FINISHED, FAILED or KILLED. Raises TrackingError for any other word."""
        status = RunStatus.FINISHED if status is None else status
        if status not in (RunStatus.FINISHED, RunStatus.FAILED, RunStatus.KILLED):
            raise TrackingError(f"a run cannot end as `{status}`", hint="FINISHED, FAILED or KILLED")
        end_time_ms = now_ms() if end_time is None else round(end_time)
        self.store.update_run(run_id, status=RunStatus(status), end_time_ms=end_time_ms)
        notify("set_terminated", run_id=run_id, status=str(status))
        self.store.flush()

    def update_run(self, run_id: str, status: RunStatus | str | None = None, name: str | None = None) -> None:
        """Change a run's status or name."""
        from repro.tracking.wire import parse_status

        self.store.update_run(run_id, status=parse_status(status) if status else None, name=name)

    def delete_run(self, run_id: str) -> None:
        """Mark a run as deleted."""
        self.store.delete_run(run_id)
        notify("delete_run", run_id=run_id)

    def restore_run(self, run_id: str) -> None:
        """Make a deleted run active again."""
        self.store.restore_run(run_id)
        notify("restore_run", run_id=run_id)

    # what is logged

    def log_param(self, run_id: str, key: str, value: object, synchronous: bool | None = None) -> object:
        """Log a parameter as text and return its value; the same value may be logged again, another not."""
        self.store.log_batch(run_id, Batch(params={key: str(value)}))
        if observers:
            notify("log_param", run_id=run_id, key=key, value=value)
        return value

    def log_metric(
        self,
        run_id: str,
        key: str,
        value: float,
        timestamp: float | None = None,
        step: float | None = None,
        synchronous: bool | None = None,
    ) -> None:
        """Log a point of a metric; `timestamp` in ms since the epoch, else now, `step` 0 where it is not given."""
        point = make_point(value, timestamp, step)
        self.store.log_metric(run_id, key, point)
        if observers:
            notify(
                "log_metric", run_id=run_id, key=key, value=point.value, timestamp=point.timestamp_ms, step=point.step
            )

    def log_batch(
        self,
        run_id: str,
        metrics: Mapping[str, float] | Iterable[object] = (),
        params: Mapping[str, object] | Iterable[object] | None = None,
        tags: Mapping[str, object] | Iterable[object] | None = None,
        synchronous: bool | None = None,
    ) -> None:
        """Log many values at once, of any number.

        Each is a mapping of values, or a list of mappings with `key`, `value` and, of a metric, maybe `timestamp` and
        `step`; MLflow's `Metric`, `Param` and `RunTag` do as well. `synchronous` is MLflow's word and changes nothing.
        Raises TrackingError before anything is logged where one of them is none.
        """
        batch = Batch(metrics=parse_metrics(metrics), params=as_texts(params or {}), tags=as_texts(tags or {}))
        for part in _split(batch):
            self.store.log_batch(run_id, part)
        if observers:
            notify("log_batch", run_id=run_id, metrics=batch.metrics, params=batch.params, tags=batch.tags)

    def set_tag(self, run_id: str, key: str, value: object, synchronous: bool | None = None) -> None:
        """Set a tag, replacing its value."""
        self.store.set_tag(run_id, key, str(value))
        if observers:
            notify("set_tag", run_id=run_id, key=key, value=value)

    def delete_tag(self, run_id: str, key: str) -> None:
        """Remove a tag."""
        self.store.delete_tag(run_id, key)
        notify("delete_tag", run_id=run_id, key=key)

    def get_metric_history(self, run_id: str, key: str) -> list[MetricPoint]:
        """Return every point of a metric, in the order they were logged."""
        return self.store.get_metric_history(run_id, key)

    # artifacts

    def log_artifact(
        self, run_id: str, local_path: str | os.PathLike[str], artifact_path: str | None = None
    ) -> list[Artifact]:
        """Keep a file, or a directory under its name, and return what lies beside it in the run."""
        self.store.log_artifact(run_id, Path(local_path), artifact_path or "")
        return self.list_artifacts(run_id, artifact_path)

    def log_artifacts(
        self, run_id: str, local_dir: str | os.PathLike[str], artifact_path: str | None = None
    ) -> list[Artifact]:
        """Keep what lies in a directory, and return the listing."""
        directory = Path(local_dir)
        if not directory.is_dir():
            raise TrackingError(f"there is no directory `{local_dir}` to keep")
        for each in sorted(directory.iterdir()):
            self.store.log_artifact(run_id, each, artifact_path or "")
        return self.list_artifacts(run_id, artifact_path)

    def log_text(self, run_id: str, text: str, artifact_file: str) -> None:
        """Keep a text as the file `artifact_file`."""
        try:
            content = text.encode()
        except UnicodeEncodeError as error:
            raise TrackingError(f"`{artifact_file}` cannot hold what is no Unicode text") from error
        self.store.write_artifact(run_id, artifact_file, content)

    def log_dict(self, run_id: str, dictionary: object, artifact_file: str) -> None:
        """Keep a mapping or list as YAML where the name ends in `.yaml` or `.yml`, else as JSON."""
        from repro.tracking.rendering import render_dict

        self.store.write_artifact(run_id, artifact_file, render_dict(dictionary, artifact_file))

    def log_figure(
        self, run_id: str, figure: object, artifact_file: str, *, save_kwargs: Mapping[str, object] | None = None
    ) -> None:
        """Keep a figure of matplotlib or plotly in the format that the name ends in."""
        from repro.tracking.rendering import render_figure

        self.store.write_artifact(run_id, artifact_file, render_figure(figure, artifact_file, save_kwargs or {}))

    def log_table(self, run_id: str, data: object, artifact_file: str) -> None:
        """Keep a table, a pandas DataFrame or a mapping of columns, and append where the file is there.

        It is JSON in MLflow's form, which its UI shows; pandas has to be there.
        """
        from repro.tracking.rendering import keep_table

        keep_table(self.store, run_id, data, artifact_file)

    def list_artifacts(self, run_id: str, path: str | None = None) -> list[Artifact]:
        """Return what lies directly in a directory of a run's artifacts."""
        return self.store.list_artifacts(run_id, path or "")

    def download_artifacts(self, run_id: str, path: str = "", dst_path: str | os.PathLike[str] | None = None) -> str:
        """Copy a file or directory of the artifacts below `dst_path`, else a new directory; return where it is.

        Raises TrackingNotFoundError.
        """
        if dst_path is not None and not os.path.isdir(dst_path):
            raise TrackingNotFoundError(f"there is no directory `{os.fspath(dst_path)}` to download to")
        import tempfile

        target_dir = Path(dst_path) if dst_path is not None else Path(tempfile.mkdtemp(prefix="repro-artifacts-"))
        return str(self.store.download_artifacts(run_id, path, target_dir.absolute()))

    def flush(self) -> None:
        """Return when everything logged until now is where it belongs."""
        self.store.flush()
