"""The one interface of the places runs are kept in, and the choice of one by its tracking URI.

Two keep it: a directory in MLflow's FileStore layout (`file_store`), and an MLflow server over REST (`rest`).
Every deed raises TrackingNotFoundError for what does not exist, TrackingExistsError for a name that is taken,
TrackingError for what may not be, and a server's also ServerUnavailableError.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from repro import settings
from repro.errors import TrackingError
from repro.formats.run_meta import Experiment, MetricPoint, RunInfo, RunStatus
from repro.kinds import Protocol
from repro.tracking.entities import Artifact, Batch, Dataset, ExperimentQuery, NewRun, Page, Run, RunQuery

DEFAULT_EXPERIMENT = "0"


class Store(Protocol):
    """A place that runs are kept in."""

    @property
    def uri(self) -> str:
        """The tracking URI that opens it."""

    def create_experiment(
        self, name: str, *, artifact_location: str | None = None, tags: dict[str, str] | None = None
    ) -> str:
        """Make an experiment and return its id."""

    def get_experiment(self, experiment_id: str) -> Experiment:
        """Return an experiment, also a deleted one."""

    def find_experiment(self, name: str) -> Experiment | None:
        """Return the experiment of a name, also a deleted one: its name stays taken."""

    def search_experiments(self, query: ExperimentQuery) -> Page[Experiment]:
        """Return experiments, the newest first where the query has no order."""

    def rename_experiment(self, experiment_id: str, name: str) -> None:
        """Give an active experiment another name."""

    def delete_experiment(self, experiment_id: str) -> None:
        """Mark an active experiment and its runs as deleted."""

    def restore_experiment(self, experiment_id: str) -> None:
        """Make a deleted experiment active again."""

    def set_experiment_tag(self, experiment_id: str, key: str, value: str) -> None:
        """Set a tag of an experiment."""

    def delete_experiment_tag(self, experiment_id: str, key: str) -> None:
        """Remove a tag of an experiment."""

    def create_run(self, new: NewRun) -> Run:
        """Make a run that is RUNNING."""

    def get_run(self, run_id: str) -> Run:
        """Return a run, also a deleted one."""

    def search_runs(self, query: RunQuery) -> Page[Run]:
        """Return runs, the newest first where the query has no order."""

    def update_run(
        self, run_id: str, *, status: RunStatus | None = None, end_time_ms: int | None = None, name: str | None = None
    ) -> RunInfo:
        """Change what is given; a run whose status is not final has no end time."""

    def delete_run(self, run_id: str) -> None:
        """Mark a run as deleted."""

    def restore_run(self, run_id: str) -> None:
        """Make a deleted run active again."""

    def log_batch(self, run_id: str, batch: Batch) -> None:
        """Log to an active run: a parameter may be logged again with the same value only."""

    def log_metric(self, run_id: str, key: str, point: MetricPoint) -> None:
        """Log one point of a metric."""

    def set_tag(self, run_id: str, key: str, value: str) -> None:
        """Set one tag."""

    def delete_tag(self, run_id: str, key: str) -> None:
        """Remove a tag."""

    def get_metric_history(self, run_id: str, key: str) -> list[MetricPoint]:
        """Return every point of a metric, in the order they were logged; none for a metric that there is not."""

    def log_datasets(self, run_id: str, datasets: tuple[Dataset, ...]) -> None:
        """Keep which datasets a run has read; one that was kept already stays."""

    def list_artifacts(self, run_id: str, path: str = "") -> list[Artifact]:
        """Return what lies directly in a directory of a run's artifacts; nothing where there is no such directory."""

    def log_artifact(self, run_id: str, local_path: Path, artifact_dir: str = "") -> None:
        """Keep a file, or a directory with its content, below a directory of the run's artifacts."""

    def write_artifact(self, run_id: str, path: str, content: bytes) -> None:
        """Keep bytes as an artifact."""

    def read_artifact(self, run_id: str, path: str) -> bytes:
        """Return the bytes of an artifact."""

    def download_artifacts(self, run_id: str, path: str, target_dir: Path) -> Path:
        """Copy a file or directory of the artifacts below a directory, and return where it is."""

    def flush(self) -> None:
        """Return when everything logged until now is where it belongs, or safe on disk until it can be."""


def write_text(store: Store, run_id: str, path: str, text: str) -> None:
    """Keep a text as an artifact."""
    store.write_artifact(run_id, path, text.encode())


def find_text(store: Store, run_id: str, path: str) -> str | None:
    """Return the text of an artifact, None where there is none that can be read."""
    try:
        return store.read_artifact(run_id, path).decode()
    except (TrackingError, UnicodeDecodeError):
        return None


def find_directory(uri: str | None, *, cwd: Path) -> Path | None:
    """Return the directory of a tracking URI: a path, a `file:` URI, or without one `mlruns`; None for any other."""
    if not uri:
        return cwd / "mlruns"
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if parts.scheme else cwd / Path(uri).expanduser()


def open_store(uri: str | None, *, cwd: Path) -> Store:
    """Return the store of a tracking URI. Raises TrackingError for one that no store keeps."""
    directory = find_directory(uri, cwd=cwd)
    if directory:
        from repro.tracking.file_store import FileStore

        return FileStore(directory)
    scheme = urlsplit(uri or "").scheme
    if scheme in ("http", "https"):
        from repro.tracking.rest.store import open_rest_store

        return open_rest_store(uri or "", environ=settings.own_environment(), cwd=cwd)
    raise TrackingError(
        f"the tracking URI `{scheme}:...` is not supported by this version of repro",
        hint="use a directory, MLFLOW_TRACKING_URI=./mlruns, or a server, https://...",
    )
