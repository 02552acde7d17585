"""Where artifacts are, for those on this machine and for clients.

On disk, `meta.yaml` says where the files are: `file:///.../mlruns/<experiment>/<run>/artifacts`, as MLflow's FileStore
has it, so that the directory can be read without any server. Clients are told
`mlflow-artifacts:/<experiment>/<run>/artifacts` instead, which every MLflow client turns into calls of the server that
it logs to, on any machine. What is kept elsewhere (`s3://...`) is told as it stands: clients go there by themselves.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import SplitResult, quote, unquote, urlsplit

from repro.errors import TrackingError
from repro.formats.model_meta import LoggedModel
from repro.formats.run_meta import Experiment, RunInfo

PROXY = "mlflow-artifacts"
_OWN = re.compile(r"(?P<experiment>[\w\-]+)/(?P<owner>models/[\w\-]+|[\w\-]+)/artifacts(?P<rest>/.*)?", re.ASCII)
_EXPERIMENT = re.compile(r"[\w\-]+", re.ASCII)


def split_uri(uri: str) -> SplitResult:
    """Return the parts of a URI. Raises TrackingError for what is none."""
    try:
        return urlsplit(uri)
    except ValueError as error:
        raise TrackingError(f"`{uri}` is no URI ({error})") from error


def is_served(uri: str) -> bool:
    """Tell whether artifacts are files that this server hands out."""
    return split_uri(uri).scheme in ("", "file", PROXY)


def tell_experiment(experiment: Experiment) -> str:
    """Return where a client finds the artifacts of an experiment's runs."""
    location = experiment.artifact_location
    return f"{PROXY}:/{experiment.experiment_id}" if is_served(location) else location


def tell_run(info: RunInfo) -> str:
    """Return where a client finds a run's artifacts."""
    return (
        f"{PROXY}:/{info.experiment_id}/{info.run_id}/artifacts" if is_served(info.artifact_uri) else info.artifact_uri
    )


def tell_model(model: LoggedModel) -> str:
    """Return where a client finds a logged model's files."""
    if not is_served(model.artifact_location):
        return model.artifact_location
    return f"{PROXY}:/{model.experiment_id}/models/{model.model_id}/artifacts"


def _find_path(uri: str, root: Path) -> str | None:
    """Return the path of a URI below the store's root, None for what is elsewhere."""
    parts = split_uri(uri)
    if parts.scheme == PROXY:
        return unquote(parts.path).strip("/")
    if parts.scheme not in ("", "file"):
        return None
    path = unquote(parts.path) if parts.scheme else uri
    base = f"{root.as_posix().rstrip('/')}/"
    return path.removeprefix(base) if path.startswith(base) else None


def _check_path(uri: str, path: str | None) -> str:
    if path is None or not _OWN.fullmatch(path) or ".." in path.split("/"):
        raise TrackingError(
            f"`{uri}` is not among this server's artifacts", hint="give a place of a run's artifacts, or a remote one"
        )
    return path


def tell_source(uri: str, root: Path) -> str:
    """Return how a client finds what a model version says it comes from; what is not below the root stays."""
    path = _find_path(uri, root)
    return f"{PROXY}:/{path}" if path is not None and _OWN.fullmatch(path) else uri


def keep_source(uri: str, root: Path) -> str:
    """Return where the files are that a client registers, for those who read the directory.

    Raises TrackingError for files of this machine that are not below the root: nobody but the server could read them.
    """
    if not is_served(uri):
        return uri
    return f"{root.as_uri()}/{quote(_check_path(uri, _find_path(uri, root)))}"


def check_new_location(uri: str) -> str | None:
    """Return where a new experiment is to keep artifacts, None for the store's own place.

    Raises TrackingError for a directory: it would be one of the server's machine, and only its owner may choose it.
    """
    parts = split_uri(uri)
    if parts.scheme == PROXY and (not parts.path.strip("/") or _EXPERIMENT.fullmatch(parts.path.strip("/"))):
        return None
    if parts.scheme in ("", "file", PROXY) or parts.query or parts.fragment:
        raise TrackingError(
            f"`{uri}` cannot be an experiment's artifact location here",
            hint="leave it out, or give a remote one: s3://...",
        )
    return uri
