"""Find a run by the beginning of its id, in a directory and on a server alike."""

from __future__ import annotations

from repro.errors import ServerUnavailableError, TrackingError, TrackingNotFoundError, UsageError
from repro.tracking.entities import ExperimentQuery, RunQuery, ViewType
from repro.tracking.file_store import FileStore
from repro.tracking.paging import find_experiments, find_runs
from repro.tracking.store import Store

_ID_LENGTH = 32
_MOST_SHOWN = 10


def _search(store: Store, beginning: str, filter_: str, limit: int | None) -> list[str]:
    experiments = find_experiments(store, ExperimentQuery(view=ViewType.ALL))
    ids = tuple(each.experiment_id for each in experiments)
    runs = find_runs(store, RunQuery(experiment_ids=ids, filter=filter_, view=ViewType.ALL), limit=limit)
    return sorted(run.run_id for run in runs if run.run_id.startswith(beginning))


def find_run_ids(store: Store, beginning: str) -> list[str]:
    """Return the ids, sorted, of runs that begin so, also of deleted ones; a server's are a few of them.

    MLflow 1.x knows no filter by `run_id`: all its runs are looked at. Raises TrackingError.
    """
    if isinstance(store, FileStore):
        return store.find_run_ids(beginning)
    try:
        return _search(store, beginning, f"attributes.run_id LIKE '{beginning}%'", _MOST_SHOWN + 1)
    except ServerUnavailableError:
        raise
    except TrackingError as error:
        if error.error_code != TrackingError.error_code:
            raise
        return _search(store, beginning, "", None)


def complete_run_id(store: Store, beginning: str) -> str:
    """Return the id of the one run that begins so; a whole id is not looked up.

    Raises UsageError for several, TrackingNotFoundError for none, and TrackingError.
    """
    if len(beginning) == _ID_LENGTH:
        return beginning
    found = find_run_ids(store, beginning)
    if not found:
        raise TrackingNotFoundError(
            f"no run in `{store.uri}` begins with `{beginning}`", hint="`repro runs list` shows them"
        )
    if len(found) > 1:
        count = str(len(found)) if len(found) <= _MOST_SHOWN else f"more than {_MOST_SHOWN}"
        raise UsageError(
            f"{count} runs begin with `{beginning}`", hint="name more digits", details=tuple(found[:_MOST_SHOWN])
        )
    return found[0]
