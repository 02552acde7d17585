"""A file store with short ways to ask what a test wants to know."""

from __future__ import annotations

from repro.formats.run_meta import RunInfo
from repro.tracking.entities import Batch, NewRun, RunQuery
from repro.tracking.file_store import FileStore
from repro.tracking.store import find_text, write_text


class ReadableStore(FileStore):
    """The runs of a test."""

    def start(self, experiment_id: str = "0", *, name: str | None = None, tags: dict[str, str] | None = None) -> str:
        """Make a run of ada's and return its id."""
        new = NewRun(
            experiment_id=experiment_id, user_id="ada", start_time_ms=1, run_name=name, tags={"t": "x", **(tags or {})}
        )
        return self.create_run(new).info.run_id

    def log_param(self, run_id: str, key: str, value: str) -> None:
        self.log_batch(run_id, Batch(params={key: value}))

    def log_text(self, run_id: str, text: str, path: str) -> None:
        write_text(self, run_id, path, text)

    def read_params(self, run_id: str) -> dict[str, str]:
        return dict(self.get_run(run_id).data.params)

    def read_tags(self, run_id: str) -> dict[str, str]:
        return dict(self.get_run(run_id).data.tags)

    def read_metrics(self, run_id: str) -> dict[str, float]:
        return self.get_run(run_id).data.metrics

    def read_text(self, run_id: str, path: str) -> str | None:
        return find_text(self, run_id, path)

    def list_files(self, run_id: str) -> list[str]:
        return self.open_artifacts(run_id).list_files()

    def list_runs(self) -> list[RunInfo]:
        return [run.info for run in self.search_runs(RunQuery(experiment_ids=("0",)))]
