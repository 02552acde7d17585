"""Runs on an MLflow server, over REST.

What is logged is written to a journal on this machine and sent in the background (see `sender`); a read sends first
what was logged to the run. Where the server is away, runs begin and go on, and what they log waits in the outbox.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from repro import settings
from repro.errors import ServerUnavailableError, TrackingError, TrackingNotFoundError
from repro.formats.run_meta import Experiment, MetricPoint, RunInfo, RunStatus
from repro.tracking.clock import now_ms
from repro.tracking.entities import (
    RUN_NAME,
    USER,
    Artifact,
    Batch,
    Dataset,
    ExperimentQuery,
    NewRun,
    Page,
    Run,
    RunData,
    RunQuery,
)
from repro.tracking.rest import artifacts, creation, entries, local_runs
from repro.tracking.rest.address import Address, find_address
from repro.tracking.rest.api import LOCAL_ID, Api
from repro.tracking.rest.courier import WAITING, Courier
from repro.tracking.rest.outbox import LOCAL_EXPERIMENT, Outbox, RunBox, open_outbox
from repro.tracking.rest.patience import QUICK, Patience
from repro.tracking.rest.sender import Sender
from repro.tracking.rest.transport import Transport
from repro.tracking.store import DEFAULT_EXPERIMENT
from repro.values import replace

T = TypeVar("T")
_MOST_INFOS = 1000
_stores: dict[tuple[Address, Path, Patience, float], RestStore] = {}
"""One for each server and way to it: whoever logs to a run here, a read through another client sends it first."""


def _make_local_experiment(
    name: str, artifact_location: str | None, tags: Mapping[str, str], time_ms: int
) -> Experiment:
    """Return an experiment that is to be made; the same name gives the same id."""
    return Experiment(
        experiment_id=LOCAL_EXPERIMENT + sha256(name.encode()).hexdigest()[:16],
        name=name,
        artifact_location=artifact_location or "",
        creation_time_ms=time_ms,
        last_update_time_ms=time_ms,
        tags=tags,
    )


class RestStore:
    """The runs of one server; see `repro.tracking.store.Store`."""

    def __init__(self, address: Address, outbox: Outbox, *, patience: Patience, timeout_s: float) -> None:
        self._address = address
        self._transport = Transport(address, patience=patience, timeout_s=timeout_s)
        self._api = Api(self._transport)
        self._quick = Api(self._transport, patience=QUICK)
        self._courier = Courier(self._quick, outbox)
        self._sender = Sender(self._courier)
        self._outbox = outbox
        self._infos: dict[str, RunInfo] = {}

    def __repr__(self) -> str:
        return f"RestStore({self.uri!r})"

    @property
    def uri(self) -> str:
        """The tracking URI, without credentials."""
        return self._address.uri

    @property
    def outbox_dir(self) -> Path:
        """Where what the server has not got yet is kept."""
        return self._outbox.root

    @property
    def api(self) -> Api:
        """The server's calls, for what is not of runs."""
        return self._api

    def find_place(self, run_id: str) -> artifacts.Place:
        """Return where the artifacts of a run are."""
        return self._find_place(self._reach(run_id))

    def close(self) -> None:
        """Close the connection of this thread."""
        self._transport.close()

    # experiments

    def create_experiment(
        self, name: str, *, artifact_location: str | None = None, tags: dict[str, str] | None = None
    ) -> str:
        """Make an experiment and return its id; where the server is away, one that it will have."""
        if not name.strip():
            raise TrackingError("an experiment needs a name")
        try:
            self._sender.raise_if_just_away()
            return creation.create_experiment(self._quick, name, artifact_location=artifact_location, tags=tags or {})
        except ServerUnavailableError as error:
            self._sender.note_away(error)
        local = _make_local_experiment(name, artifact_location, tags or {}, now_ms())
        self._outbox.keep_experiment(local)
        if self._outbox.find_kept_experiment(local.experiment_id) is None:
            raise TrackingError(f"`{self._outbox.root}` cannot be written", hint="REPRO_OUTBOX names another directory")
        return local.experiment_id

    def get_experiment(self, experiment_id: str) -> Experiment:
        """Return an experiment, also a deleted one; where the server is away, as it was."""
        try:
            self._sender.raise_if_just_away()
            found = self._quick.get_experiment(self._courier.resolve_experiment(experiment_id))
        except ServerUnavailableError as error:
            kept = self._outbox.find_kept_experiment(experiment_id)
            if kept is None and experiment_id == DEFAULT_EXPERIMENT:
                kept = replace(_make_local_experiment("Default", None, {}, 0), experiment_id=DEFAULT_EXPERIMENT)
            if kept is None:
                raise
            self._sender.note_away(error)
            return kept
        self._outbox.keep_experiment(found)
        return found

    def find_experiment(self, name: str) -> Experiment | None:
        """Return the experiment of a name, also a deleted one; where the server is away, as it was."""
        try:
            self._sender.raise_if_just_away()
            found = self._quick.find_experiment(name)
        except ServerUnavailableError as error:
            self._sender.note_away(error)
            return self._outbox.find_named_experiment(name)
        if found:
            self._outbox.keep_experiment(found)
        return found

    def search_experiments(self, query: ExperimentQuery) -> Page[Experiment]:
        """Return experiments, the newest first where the query has no order."""
        return self._api.search_experiments(query)

    def _change_experiment(self, deed: str, experiment_id: str, **fields: str) -> None:
        experiment_id = self._courier.resolve_experiment(experiment_id)
        self._api.change_experiment(deed, experiment_id, **fields)
        self._outbox.forget_experiment(experiment_id)

    def rename_experiment(self, experiment_id: str, name: str) -> None:
        """Give an active experiment another name."""
        self._change_experiment("update", experiment_id, new_name=name)

    def delete_experiment(self, experiment_id: str) -> None:
        """Mark an active experiment and its runs as deleted."""
        self._change_experiment("delete", experiment_id)

    def restore_experiment(self, experiment_id: str) -> None:
        """Make a deleted experiment active again."""
        self._change_experiment("restore", experiment_id)

    def set_experiment_tag(self, experiment_id: str, key: str, value: str) -> None:
        """Set a tag of an experiment."""
        self._change_experiment("set-experiment-tag", experiment_id, key=key, value=value)

    def delete_experiment_tag(self, experiment_id: str, key: str) -> None:
        """Remove a tag of an experiment."""
        self._change_experiment("delete-experiment-tag", experiment_id, key=key)

    # runs

    def _remember(self, info: RunInfo, *names: str) -> None:
        if len(self._infos) > _MOST_INFOS:
            self._infos.clear()
        for name in (info.run_id, *names):
            self._infos[name] = info

    def create_run(self, new: NewRun) -> Run:
        """Make a run that is RUNNING; where the server is away, one with an id of its own that it will have later."""
        local_id = os.urandom(16).hex()
        user = {USER: new.user_id} if new.user_id else {}
        new = replace(new, tags={**user, **new.tags, LOCAL_ID: local_id})
        entries.format_batch(Batch(tags=new.tags))  # checks them
        try:
            self._sender.raise_if_just_away()
            made = replace(new, experiment_id=self._courier.resolve_experiment(new.experiment_id or DEFAULT_EXPERIMENT))
            run = creation.create_run(self._quick, self._courier.resolve_parent(made), local_id, look_first=False)
        except ServerUnavailableError as error:
            self._sender.note_away(error)
            return self._begin_local_run(local_id, new)
        self._remember(run.info)
        return run

    def _begin_local_run(self, local_id: str, new: NewRun) -> Run:
        info = local_runs.make_info(local_id, new)
        try:
            self._outbox.get_run(local_id).write_new(replace(new, run_name=info.run_name))
        except OSError as error:
            raise TrackingError(
                f"`{self._outbox.root}` cannot be written ({error.strerror})",
                hint="REPRO_OUTBOX names another directory for what the server has not got yet",
            ) from error
        return Run(info=info, data=RunData(tags={RUN_NAME: info.run_name, **new.tags}))

    def _reach(self, run_id: str) -> str:
        """Send what was logged to a run until now, and return the server's id of it."""
        self._sender.deliver_run(run_id)
        return self._outbox.find_id(run_id)

    def _find_box(self, run_id: str) -> RunBox:
        return self._outbox.get_run(run_id)

    def _read(self, run_id: str, remote: Callable[[str], T], local: Callable[[RunBox], T]) -> T:
        """Ask the server for what it has of a run, and only of a run that it has not got yet what is kept of it."""
        box = self._find_box(run_id)
        try:
            if box.is_new():
                self._sender.raise_if_just_away()
            return remote(self._reach(run_id))
        except ServerUnavailableError as error:
            if box.read_new() is None:
                raise
            self._sender.note_away(error)
            return local(box)

    def get_run(self, run_id: str) -> Run:
        """Return a run, also a deleted one."""
        run = self._read(run_id, self._api_for(run_id).get_run, _get_local_run)
        self._remember(run.info, run_id)
        return run

    def _api_for(self, run_id: str) -> Api:
        """Return the patient API, but for a run that need not wait for the server."""
        return self._quick if self._find_box(run_id).is_new() else self._api

    def search_runs(self, query: RunQuery) -> Page[Run]:
        """Return runs, the newest first where the query has no order."""
        self._sender.deliver_all()
        ids = tuple(self._courier.resolve_experiment(each) for each in query.experiment_ids)
        return self._api.search_runs(replace(query, experiment_ids=ids))

    def _do_or_keep(self, run_id: str, deed: Callable[[str], T], line: Callable[[], str]) -> T | None:
        """Do what comes after all that was logged to a run; where the server is away, keep it for later."""
        try:
            self._sender.raise_if_just_away()
            return deed(self._reach(run_id))
        except ServerUnavailableError as error:
            self._sender.write(run_id, line())
            self._sender.note_away(error)
            return None
        except WAITING:
            if self._sender.has_unsent(run_id):  # what was logged before waits for other credentials
                self._sender.write(run_id, line())
            raise

    def update_run(
        self, run_id: str, *, status: RunStatus | None = None, end_time_ms: int | None = None, name: str | None = None
    ) -> RunInfo:
        """Change what is given."""
        info = self._do_or_keep(
            run_id,
            lambda found: self._quick.update_run(found, status=status, end_time_ms=end_time_ms, name=name),
            lambda: entries.format_update(status=status, end_time_ms=end_time_ms, name=name),
        )
        if info is None:
            info = self._change_kept_info(run_id, status, end_time_ms, name)
        elif info.status.is_final:
            self._sender.close_run(run_id)
        self._remember(info, run_id)
        return info

    def _change_kept_info(
        self, run_id: str, status: RunStatus | None, end_time_ms: int | None, name: str | None
    ) -> RunInfo:
        run = local_runs.find_local_run(self._find_box(run_id))
        if run:
            return run.info
        unknown = NewRun(experiment_id="", user_id="", start_time_ms=0)
        info = self._infos.get(run_id) or local_runs.make_info(run_id, unknown)
        return replace(
            info, status=status or info.status, end_time_ms=end_time_ms or info.end_time_ms,
            run_name=name or info.run_name,
        )  # fmt: skip

    def delete_run(self, run_id: str) -> None:
        """Mark a run as deleted."""
        self._api.change_run("delete", self._reach(run_id))

    def restore_run(self, run_id: str) -> None:
        """Make a deleted run active again."""
        self._api.change_run("restore", self._outbox.find_id(run_id))

    # what is logged

    def log_batch(self, run_id: str, batch: Batch) -> None:
        """Log to an active run; what the server refuses, `flush` says."""
        if lines := entries.format_batch(batch):
            self._sender.write(run_id, lines, params=dict(batch.params))

    def log_metric(self, run_id: str, key: str, point: MetricPoint) -> None:
        """Log one point of a metric."""
        self._sender.write(run_id, entries.format_point(key, point))

    def set_tag(self, run_id: str, key: str, value: str) -> None:
        """Set one tag."""
        self._sender.write(run_id, entries.format_tag(key, value))

    def delete_tag(self, run_id: str, key: str) -> None:
        """Remove a tag."""
        line = entries.format_removed_tag(key)
        self._do_or_keep(run_id, lambda found: self._quick.change_run("delete-tag", found, key=key), lambda: line)

    def get_metric_history(self, run_id: str, key: str) -> list[MetricPoint]:
        """Return every point of a metric; MLflow's SQL stores order them by time, step and value."""
        return self._read(
            run_id,
            lambda found: self._api_for(run_id).get_history(found, key),
            lambda box: local_runs.read_local_history(box, key),
        )

    def log_datasets(self, run_id: str, datasets: tuple[Dataset, ...]) -> None:
        """Keep which datasets a run has read."""
        self._do_or_keep(
            run_id,
            lambda found: self._quick.log_datasets(found, datasets),
            lambda: entries.format_datasets(datasets),
        )

    # artifacts

    def _find_place(self, run_id: str) -> artifacts.Place:
        info = self._infos.get(run_id)
        if info is None or not info.artifact_uri:
            info = self._api.get_run(run_id).info
            self._remember(info)
        return artifacts.find_place(self._api, run_id, info.artifact_uri)

    def list_artifacts(self, run_id: str, path: str = "") -> list[Artifact]:
        """Return what lies directly in a directory of a run's artifacts."""
        if path:
            artifacts.check_artifact_path(path)
        return self._read(
            run_id,
            lambda found: self._find_place(found).list_directory(path),
            lambda box: local_runs.list_local_directory(box, path),
        )

    def _keep_artifact(self, run_id: str, path: str, source: Path | bytes) -> None:
        def upload(found: str) -> None:
            import io

            place = self._find_place(found)
            with open(source, "rb") if isinstance(source, Path) else io.BytesIO(source) as file:
                place.upload(path, file)

        def keep() -> str:
            return entries.format_artifact(path, artifacts.keep_copy(source, self._find_box(run_id).path / "files"))

        try:
            self._do_or_keep(run_id, upload, keep)
        except OSError as error:
            raise TrackingError(f"the artifact `{path}` cannot be kept ({error.strerror})") from error

    def log_artifact(self, run_id: str, local_path: Path, artifact_dir: str = "") -> None:
        """Keep a file, or a directory with its content, below a directory of the run's artifacts."""
        for path, source in artifacts.find_sources(local_path, artifact_dir):
            self._keep_artifact(run_id, path, source)

    def write_artifact(self, run_id: str, path: str, content: bytes) -> None:
        """Keep bytes as an artifact."""
        self._keep_artifact(run_id, artifacts.check_artifact_path(path), content)

    def read_artifact(self, run_id: str, path: str) -> bytes:
        """Return the bytes of an artifact."""
        artifacts.check_artifact_path(path)

        def read(found: str) -> bytes:
            import io

            target = io.BytesIO()
            self._find_place(found).download(path, target)
            return target.getvalue()

        return self._read(run_id, read, lambda box: _read_local_artifact(box, path))

    def download_artifacts(self, run_id: str, path: str, target_dir: Path) -> Path:
        """Copy a file or directory of the artifacts below a directory, and return where it is."""
        path = posixpath.normpath(path) if path.strip("/") else ""
        path = "" if path == "." else path
        return artifacts.download(self._find_place(self._reach(run_id)), path, target_dir)

    def flush(self) -> None:
        """Send what was logged until now; where the server is away, return when it is on the disk.

        Raises TrackingError for what the server has refused, and TrackingRefusedError where it refuses us.
        """
        self._sender.flush()


def _get_local_run(box: RunBox) -> Run:
    run = local_runs.find_local_run(box)
    if run is None:
        raise TrackingNotFoundError(f"there is no run `{box.run_id}`")
    return run


def _read_local_artifact(box: RunBox, path: str) -> bytes:
    found = local_runs.list_local_files(box).get(path)
    if found is None:
        raise TrackingNotFoundError(f"the run `{box.run_id}` has no artifact `{path}`")
    return found.read_bytes()


def open_rest_store(uri: str, *, environ: Mapping[str, str], cwd: Path) -> RestStore:
    """Return the store of an http(s) tracking URI, reached as variables say. Raises TrackingError and UsageError."""
    address = find_address(uri, environ)
    retries, factor_s, jitter_s = settings.get_request_retries(environ)
    outbox = open_outbox(address, environ, str(cwd))
    patience = Patience(retries=retries, factor_s=factor_s, jitter_s=jitter_s)
    timeout_s = settings.get_request_timeout_s(environ)
    key = (address, outbox.root, patience, timeout_s)
    if key not in _stores:
        _stores.setdefault(key, RestStore(address, outbox, patience=patience, timeout_s=timeout_s))
    return _stores[key]
