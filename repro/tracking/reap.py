"""Find runs that say RUNNING and whose process is gone, and end them as KILLED."""

from __future__ import annotations

from enum import Enum

from repro.formats.run_meta import RunStatus
from repro.tracking.entities import ExperimentQuery, Run, RunQuery
from repro.tracking.file_store import FileStore
from repro.tracking.paging import find_experiments, find_runs
from repro.tracking.process_mark import TAG, Life, find_life, parse_mark
from repro.tracking.store import Store
from repro.values import frozen

REAPED_TAG = "repro.reaped"


class Verdict(Enum):
    """What is done with a run that says RUNNING."""

    ALIVE = "its process is there"
    GONE = "its process is gone"
    ELSEWHERE = "it runs on another host"
    UNKNOWN = "it does not say in which process it lives"
    OLD = "it has said nothing for long"

    @property
    def is_end(self) -> bool:
        """Whether the run is ended."""
        return self in (Verdict.GONE, Verdict.OLD)


@frozen
class Reaping:
    """A run that says RUNNING, and what became of it."""

    run: Run
    verdict: Verdict

    def to_dict(self) -> dict[str, object]:
        """Return it for `--json`."""
        return {
            "run_id": self.run.run_id,
            "run_name": self.run.info.run_name,
            "ended": self.verdict.is_end,
            "reason": self.verdict.value,
        }


def _find_last_sign_ms(run: Run) -> int:
    """Return when a run has logged something last, as far as its metrics say."""
    return max([run.info.start_time_ms, *(point.timestamp_ms for point in run.data.points.values())])


def judge(run: Run, *, now_ms: int, older_than_ms: int | None) -> Verdict:
    """Say what should become of a run that says RUNNING.

    One of whose process nothing can be known ends where it has said nothing for `older_than_ms`.
    """
    mark = parse_mark(run.data.tags.get(TAG, ""))
    life = find_life(mark) if mark else None
    if life is Life.ALIVE:
        return Verdict.ALIVE
    if life is Life.GONE:
        return Verdict.GONE
    if older_than_ms is not None and now_ms - _find_last_sign_ms(run) > older_than_ms:
        return Verdict.OLD
    return Verdict.ELSEWHERE if life is Life.ELSEWHERE else Verdict.UNKNOWN


def _still_runs(store: Store, run: Run) -> bool:
    """Tell whether a run says RUNNING now; its process may have ended it just before it was seen to be gone."""
    info = store.get_run(run.run_id).info
    return info.status is RunStatus.RUNNING and info.lifecycle_stage == "active"


def reap_run(
    store: Store, run: Run, *, now_ms: int, older_than_ms: int | None = None, dry_run: bool = False
) -> Reaping | None:
    """End a run that says RUNNING and whose process is gone, with the time of its last sign; None where it has ended.

    Raises TrackingError.
    """
    verdict = judge(run, now_ms=now_ms, older_than_ms=older_than_ms)
    if verdict.is_end and not _still_runs(store, run):
        return None
    if verdict.is_end and not dry_run:
        store.update_run(run.run_id, status=RunStatus.KILLED, end_time_ms=_find_last_sign_ms(run))
        store.set_tag(run.run_id, REAPED_TAG, verdict.value)
        if isinstance(store, FileStore):
            store.remove_half_written(run.run_id)
    return Reaping(run=run, verdict=verdict)


def reap_runs(store: Store, *, now_ms: int, older_than_ms: int | None = None, dry_run: bool = False) -> list[Reaping]:
    """Reap the runs of a store; return all that say RUNNING. Raises TrackingError."""
    experiments = find_experiments(store, ExperimentQuery())
    query = RunQuery(
        experiment_ids=tuple(each.experiment_id for each in experiments), filter="attributes.status = 'RUNNING'"
    )
    reaped = [
        reap_run(store, run, now_ms=now_ms, older_than_ms=older_than_ms, dry_run=dry_run)
        for run in find_runs(store, query)
    ]
    store.flush()
    return [each for each in reaped if each]
