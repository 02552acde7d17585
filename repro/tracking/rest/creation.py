"""Make a run or an experiment on a server once, though answers may be lost: look for it before asking again."""

from __future__ import annotations

from repro.errors import TrackingError, TrackingExistsError, TrackingNotFoundError
from repro.tracking.entities import NewRun, Run, RunQuery, ViewType
from repro.tracking.rest.answers import AnswerLostError
from repro.tracking.rest.api import LOCAL_ID, Api
from repro.values import replace

_TRIES = 3


def find_created(api: Api, experiment_id: str, local_id: str) -> Run | None:
    """Return the run of a local id.

    Where a server was slower than its proxy there may be several: the lowest id counts, the others are deleted, for
    nothing was logged to them.
    """
    query = RunQuery(
        experiment_ids=(experiment_id,), filter=f"tags.`{LOCAL_ID}` = '{local_id}'", view=ViewType.ALL, max_results=100
    )
    found = sorted(api.search_runs(query).items, key=lambda run: (run.info.lifecycle_stage != "active", run.run_id))
    for each in found[1:]:
        if each.info.lifecycle_stage == "active":
            api.change_run("delete", each.run_id)
    return found[0] if found else None


def create_run(api: Api, new: NewRun, local_id: str, *, look_first: bool) -> Run:
    """Make a run with the tag of its local id; `look_first` where it may have been asked for already."""
    tagged = replace(new, tags={**new.tags, LOCAL_ID: local_id})
    for tried in range(_TRIES):
        if (look_first or tried) and (run := find_created(api, new.experiment_id, local_id)):
            return run
        try:
            return api.create_run(tagged)
        except AnswerLostError:
            if tried + 1 == _TRIES:
                raise
    raise AssertionError


def create_experiment(api: Api, name: str, *, artifact_location: str | None, tags: dict[str, str]) -> str:
    """Make an experiment and return its id; one that was made by a try whose answer was lost is ours."""
    was_lost = False
    for tried in range(_TRIES):
        try:
            return api.create_experiment(name, artifact_location=artifact_location, tags=tags)
        except TrackingExistsError:
            found = api.find_experiment(name) if was_lost else None
            if found is None:
                raise
            return found.experiment_id
        except AnswerLostError:
            was_lost = True
            if tried + 1 == _TRIES:
                raise
    raise AssertionError


def get_or_create_experiment(api: Api, name: str, *, artifact_location: str | None, tags: dict[str, str]) -> str:
    """Return the id of the active experiment of a name, made where there is none. Raises TrackingError."""
    found = api.find_experiment(name)
    if found is None:
        try:
            return create_experiment(api, name, artifact_location=artifact_location, tags=tags)
        except TrackingExistsError:
            found = api.find_experiment(name)
    if found is None:
        raise TrackingNotFoundError(f"there is no experiment `{name}`")
    if found.lifecycle_stage != "active":
        raise TrackingError(f"the experiment `{name}` is deleted", hint="restore it, and sync again")
    return found.experiment_id
