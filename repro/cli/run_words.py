"""The runs and experiments that words of the command line mean, and the options that say where they are."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from repro import settings
from repro.errors import TrackingNotFoundError, UsageError
from repro.formats.run_meta import Experiment
from repro.tracking.entities import ExperimentQuery, Run, RunQuery, ViewType
from repro.tracking.paging import find_experiments, find_runs
from repro.tracking.run_ids import find_run_ids
from repro.tracking.store import Store, open_store

_WHOLE_ID = re.compile(r"[0-9a-f]{32}")
_PART_OF_ID = re.compile(r"[0-9a-f]{4,31}")


def add_store(parser: argparse.ArgumentParser) -> None:
    """Add `--store`."""
    parser.add_argument(
        "--store", metavar="URI", help="where the runs are: a directory or a server (default: MLFLOW_TRACKING_URI)"
    )


def open_given_store(uri: str | None) -> Store:
    """Return the store of a URI, else of MLFLOW_TRACKING_URI, else of `./mlruns`. Raises TrackingError."""
    return open_store(uri or settings.find_tracking_uri(settings.own_environment()), cwd=Path.cwd())


def get_experiment(store: Store, word: str) -> Experiment:
    """Return the experiment of a name or an id. Raises TrackingNotFoundError."""
    found = store.find_experiment(word)
    if found is None and word.isdecimal():
        return store.get_experiment(word)
    if found is None:
        raise TrackingNotFoundError(f"there is no experiment `{word}`", hint="`repro experiments list` shows them")
    return found


def list_experiment_ids(store: Store, words: list[str], view: ViewType = ViewType.ACTIVE_ONLY) -> tuple[str, ...]:
    """Return the ids of the experiments named, without a name those of all."""
    if words:
        return tuple(get_experiment(store, word).experiment_id for word in words)
    return tuple(each.experiment_id for each in find_experiments(store, ExperimentQuery(view=view)))


def _find_run(store: Store, word: str) -> Run | None:
    """Return the run whose id begins so, None where none does."""
    found = find_run_ids(store, word)
    if len(found) > 1:
        raise _refuse(word, found)
    return store.get_run(found[0]) if found else None


def _refuse(word: str, run_ids: list[str]) -> UsageError:
    shown = ", ".join(run_id[: max(8, len(word) + 1)] for run_id in run_ids[:5])
    return UsageError(f"`{word}` may be {len(run_ids)} runs: {shown}", hint="give more of the id")


def get_run(store: Store, word: str) -> Run:
    """Return the run of an id, of the beginning of one (4 digits or more), or of a name that one run has.

    Raises TrackingNotFoundError, and UsageError for a word that several runs have.
    """
    if _WHOLE_ID.fullmatch(word):
        return store.get_run(word)
    if _PART_OF_ID.fullmatch(word) and (found := _find_run(store, word)):
        return found
    query = RunQuery(experiment_ids=list_experiment_ids(store, [], ViewType.ALL), view=ViewType.ALL)
    matches = [run for run in find_runs(store, query) if run.info.run_name == word]
    if not matches:
        raise TrackingNotFoundError(f"there is no run `{word}` in `{store.uri}`", hint="`repro runs list` shows them")
    if len(matches) > 1:
        raise _refuse(word, [run.run_id for run in matches])
    return matches[0]
