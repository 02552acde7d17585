"""Where a script's new runs go: its tracking URI and its experiment, by what it has set, else by variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from repro import settings
from repro.errors import TrackingError, TrackingExistsError, TrackingNotFoundError
from repro.formats.run_meta import Experiment
from repro.tracking.client import Client
from repro.tracking.observers import notify
from repro.tracking.store import DEFAULT_EXPERIMENT, find_directory, open_store
from repro.values import mutable


@mutable
class _Chosen:
    """What this script has set, and the client of the store that was wanted last."""

    uri: str | None = None
    experiment_id: str | None = None
    opened: tuple[tuple[str | None, str], Client] | None = None


_chosen = _Chosen()


def get_active_client() -> Client:
    """Return the client of the tracking URI. Raises TrackingError for one that no store keeps."""
    uri = _chosen.uri or settings.find_tracking_uri(settings.live_environment())
    place = (uri, os.getcwd())
    if _chosen.opened is None or _chosen.opened[0] != place:
        _chosen.opened = place, Client(store=open_store(uri, cwd=Path.cwd()))
    return _chosen.opened[1]


def set_tracking_uri(uri: str | os.PathLike[str]) -> None:
    """Log to another store from now on: a directory, a `file:` URI, or a server's `http(s)://`.

    Processes that are started from now on get it as MLFLOW_TRACKING_URI. Raises TrackingError for what is no store's.
    """
    text = os.fspath(uri)
    store = open_store(text, cwd=Path.cwd())
    is_directory = find_directory(text, cwd=Path.cwd()) is not None
    _chosen.uri = (store.uri if is_directory else text) if text else None
    if _chosen.experiment_id:
        settings.set_experiment_id(None)
    _chosen.experiment_id = None
    settings.set_tracking_uri(_chosen.uri)
    notify("tracking_uri", uri=get_tracking_uri())


def get_tracking_uri() -> str:
    """Return the tracking URI: what was set, else MLFLOW_TRACKING_URI, else the `file:` URI of `./mlruns`."""
    return get_active_client().tracking_uri


def find_experiment_id(client: Client, environ: Mapping[str, str]) -> str:
    """Return the experiment that variables name: MLFLOW_EXPERIMENT_ID, _NAME (made where missing), else the default.

    Raises TrackingError where both variables are set and mean different ones.
    """
    by_id, name = settings.find_experiment_id(environ), settings.find_experiment_name(environ)
    if not name:
        return by_id or DEFAULT_EXPERIMENT
    by_name = _get_or_make(client, name).experiment_id
    if by_id and by_id != by_name:
        raise TrackingError(
            f"MLFLOW_EXPERIMENT_ID is `{by_id}`, and MLFLOW_EXPERIMENT_NAME `{name}` is `{by_name}`", hint="unset one"
        )
    return by_name


def find_active_experiment_id() -> str:
    """Return the experiment of new runs: what was set, else what variables name. Raises TrackingError."""
    return _chosen.experiment_id or find_experiment_id(get_active_client(), settings.live_environment())


def get_experiment_named(client: Client, name: str) -> Experiment:
    """Return the experiment of a name, also a deleted one. Raises TrackingNotFoundError."""
    found = client.get_experiment_by_name(name)
    if found is None:
        raise TrackingNotFoundError(f"there is no experiment `{name}`")
    return found


def _get_or_make(client: Client, name: str, artifact_location: str | None = None) -> Experiment:
    """Return the active experiment of a name, made where there is none. Raises TrackingError for a deleted one."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        with suppress(TrackingExistsError):  # another process was as fast
            return client.get_experiment(client.create_experiment(name, artifact_location))
        experiment = get_experiment_named(client, name)
    if experiment.lifecycle_stage != "active":
        raise TrackingError(
            f"the experiment `{name}` is deleted", hint=f"repro experiments restore {experiment.experiment_id}"
        )
    return experiment


def get_or_make_experiment_id(client: Client, word: str) -> str:
    """Return the id of an active experiment: that of a name, else that of an id, else of a new one of the name.

    Raises TrackingError for a deleted one.
    """
    if word.isdecimal() and client.get_experiment_by_name(word) is None:
        experiment = client.get_experiment(word)
        if experiment.lifecycle_stage != "active":
            raise TrackingError(f"the experiment `{word}` is deleted", hint=f"repro experiments restore {word}")
        return experiment.experiment_id
    return _get_or_make(client, word).experiment_id


def set_experiment(
    experiment_name: str | None = None, experiment_id: str | None = None, *, artifact_location: str | None = None
) -> Experiment:
    """Start new runs in this experiment from now on, by name (made where there is none) or by id, and return it.

    Processes that are started from now on get it as MLFLOW_EXPERIMENT_ID. Raises TrackingError unless exactly one is
    given, and for a deleted one.
    """
    if (experiment_name is None) == (experiment_id is None):
        raise TrackingError("an experiment is set by its name or by its id", hint="give one of them")
    if experiment_name is not None:
        experiment = _get_or_make(get_active_client(), experiment_name, artifact_location)
    else:
        experiment = get_active_client().get_experiment(experiment_id or "")
        if experiment.lifecycle_stage != "active":
            raise TrackingError(
                f"the experiment `{experiment_id}` is deleted", hint=f"repro experiments restore {experiment_id}"
            )
    _chosen.experiment_id = experiment.experiment_id
    settings.set_experiment_id(experiment.experiment_id)
    notify("active_experiment_id", experiment_id=experiment.experiment_id)
    return experiment
