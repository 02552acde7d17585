"""The calls of MLflow's REST API 2.0 that a client needs, with values on both sides.

Which may be sent twice: all that read, and all that set (a tag, a status, a parameter to the value it has). Not a
create and not metrics: those say AnswerLostError where they may have happened.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from repro.errors import TrackingError, TrackingNotFoundError
from repro.formats.run_meta import Experiment, MetricPoint, RunInfo, RunStatus
from repro.tracking import wire
from repro.tracking.entities import Artifact, Dataset, ExperimentQuery, NewRun, Page, Run, RunQuery
from repro.tracking.rest.patience import Patience
from repro.tracking.rest.transport import Transport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.tracking.rest.transport import Query

LOCAL_ID = "repro.local_id"
"""The tag every run is made with: a create whose answer was lost is found by it."""
_HISTORY_PAGE = 25_000


def get_object(fields: wire.Fields, key: str) -> wire.Fields:
    """Return an object of an answer. Raises TrackingError."""
    value = fields.get(key)
    if not isinstance(value, dict):
        raise TrackingError(f"the server's answer has no `{key}`")
    return value


class Api:
    """One server's tracking API; every call raises TrackingError."""

    def __init__(self, transport: Transport, *, patience: Patience | None = None) -> None:
        self.transport = transport
        self._patience = patience

    def get(self, name: str, query: Query) -> wire.Fields:
        """Return what the server answers to a call that reads."""
        return self.transport.call("GET", name, query=query, patience=self._patience)

    def post(self, name: str, payload: wire.Fields | bytes, *, repeatable: bool = True) -> wire.Fields:
        """Return what the server answers to fields that are sent. Raises AnswerLostError where it may have acted."""
        return self.transport.call("POST", name, payload=payload, repeatable=repeatable, patience=self._patience)

    def delete(self, name: str, payload: wire.Fields) -> wire.Fields:
        """Return what the server answers to a removal."""
        return self.transport.call("DELETE", name, payload=payload, patience=self._patience)

    def create_experiment(self, name: str, *, artifact_location: str | None, tags: dict[str, str]) -> str:
        """Make an experiment and return its id. Raises AnswerLostError where it may be there now."""
        fields: dict[str, object] = {"name": name, "tags": wire.format_pairs(tags)}
        if artifact_location:
            fields["artifact_location"] = artifact_location
        return wire.get_text(self.post("experiments/create", fields, repeatable=False), "experiment_id")

    def get_experiment(self, experiment_id: str) -> Experiment:
        """Return an experiment."""
        fields = self.get("experiments/get", {"experiment_id": experiment_id})
        return wire.parse_experiment(get_object(fields, "experiment"))

    def find_experiment(self, name: str) -> Experiment | None:
        """Return the experiment of a name."""
        try:
            fields = self.get("experiments/get-by-name", {"experiment_name": name})
        except TrackingNotFoundError:
            return None
        return wire.parse_experiment(get_object(fields, "experiment"))

    def search_experiments(self, query: ExperimentQuery) -> Page[Experiment]:
        """Return a page of experiments."""
        fields: dict[str, object] = {
            "filter": query.filter,
            "view_type": query.view.value,
            "order_by": list(query.order_by),
            "max_results": query.max_results,
        }
        if query.page_token:
            fields["page_token"] = query.page_token
        found = self.post("experiments/search", fields)
        items = tuple(wire.parse_experiment(each) for each in wire.list_fields(found, "experiments"))
        return Page(items=items, token=wire.find_text(found, "next_page_token") or None)

    def change_experiment(self, deed: str, experiment_id: str, **fields: str) -> None:
        """Do `update`, `delete`, `restore`, `set-experiment-tag` or `delete-experiment-tag`."""
        self.post(f"experiments/{deed}", {"experiment_id": experiment_id, **fields})

    def create_run(self, new: NewRun) -> Run:
        """Make a run. Raises AnswerLostError where it may be there now."""
        return wire.parse_run(get_object(self.post("runs/create", wire.format_new_run(new), repeatable=False), "run"))

    def get_run(self, run_id: str) -> Run:
        """Return a run."""
        return wire.parse_run(get_object(self.get("runs/get", {"run_id": run_id}), "run"))

    def search_runs(self, query: RunQuery) -> Page[Run]:
        """Return a page of runs."""
        fields: dict[str, object] = {
            "experiment_ids": list(query.experiment_ids),
            "filter": query.filter,
            "run_view_type": query.view.value,
            "order_by": list(query.order_by),
            "max_results": query.max_results,
        }
        if query.page_token:
            fields["page_token"] = query.page_token
        found = self.post("runs/search", fields)
        items = tuple(wire.parse_run(each) for each in wire.list_fields(found, "runs"))
        return Page(items=items, token=wire.find_text(found, "next_page_token") or None)

    def update_run(
        self, run_id: str, *, status: RunStatus | None, end_time_ms: int | None, name: str | None
    ) -> RunInfo:
        """Change what is given."""
        given = {"status": status and status.value, "end_time": end_time_ms, "run_name": name}
        fields = {key: value for key, value in given.items() if value is not None}
        return wire.parse_run_info(get_object(self.post("runs/update", {"run_id": run_id, **fields}), "run_info"))

    def change_run(self, deed: str, run_id: str, **fields: str) -> None:
        """Do `delete`, `restore`, `set-tag` or `delete-tag`."""
        self.post(f"runs/{deed}", {"run_id": run_id, **fields})

    def log_batch(self, body: bytes, *, repeatable: bool) -> None:
        """Send the body of a `runs/log-batch`; one with metrics is not repeatable, and raises AnswerLostError."""
        self.post("runs/log-batch", body, repeatable=repeatable)

    def log_datasets(self, run_id: str, datasets: Sequence[Dataset]) -> None:
        """Note what a run has read."""
        self.post("runs/log-inputs", {"run_id": run_id, "datasets": [wire.format_dataset(each) for each in datasets]})

    def get_history(self, run_id: str, key: str) -> list[MetricPoint]:
        """Return every point of a metric."""
        return list(self._walk_history(run_id, key))

    def _walk_history(self, run_id: str, key: str) -> Iterator[MetricPoint]:
        query: dict[str, str | int] = {"run_id": run_id, "metric_key": key, "max_results": _HISTORY_PAGE}
        while True:
            found = self.get("metrics/get-history", query)
            yield from (wire.parse_metric(each).point for each in wire.list_fields(found, "metrics"))
            token = wire.find_text(found, "next_page_token")
            if not token or token == query.get("page_token"):
                return
            query["page_token"] = token

    def list_artifacts(self, run_id: str, path: str) -> list[Artifact]:
        """Return what the server says lies in a directory of a run's artifacts; names are not checked."""
        query: dict[str, str | int] = {"run_id": run_id, "path": path} if path else {"run_id": run_id}
        found: list[Artifact] = []
        while True:
            page = self.get("artifacts/list", query)
            found += [wire.parse_artifact(each) for each in wire.list_fields(page, "files")]
            token = wire.find_text(page, "next_page_token")
            if not token or token == query.get("page_token"):
                return found
            query["page_token"] = token
