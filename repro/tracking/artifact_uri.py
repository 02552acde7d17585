"""Artifacts by their URI: of a run, of a model, of a server's proxy, or of a local path."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from repro.errors import TrackingError, TrackingNotFoundError
from repro.formats.direct_url import clean_url
from repro.tracking.artifact_files import ArtifactFiles
from repro.tracking.client import Client

_PROXY = re.compile(r"mlflow-artifacts:(?://[^/]+)?/+[0-9]+/([0-9a-f]{32})/artifacts(?:/(.*))?")


def _bring_path(path: Path, dst_path: str | os.PathLike[str] | None) -> str:
    if not path.exists():
        raise TrackingNotFoundError(f"there is no file `{path}`")
    if dst_path is None:
        return str(path)
    return str(ArtifactFiles(path.parent).copy_to(path.name, Path(dst_path).absolute()))


def _bring_model(client: Client, uri: str, dst_path: str | os.PathLike[str] | None) -> str:
    from repro.tracking.model_files import bring_files
    from repro.tracking.model_source import find_files

    found = find_files(client.models, client.registry, uri)
    return str(bring_files(found.files, Path(dst_path).absolute() if dst_path is not None else None))


def _bring_of_run(client: Client, uri: str, run_id: str, path: str, dst_path: str | os.PathLike[str] | None) -> str:
    """Bring an artifact of a run, else the model that it has logged under that name."""
    try:
        return client.download_artifacts(run_id, path, dst_path)
    except TrackingNotFoundError:
        if not path:
            raise
    return _bring_model(client, uri, dst_path)


def bring(client: Client, uri: str, dst_path: str | os.PathLike[str] | None = None) -> str:
    """Bring what a URI names to a local directory and return the path. Raises TrackingError and UsageError."""
    from repro.tracking.model_source import parse_run_uri

    if run := parse_run_uri(uri):
        return _bring_of_run(client, uri, *run, dst_path)
    if match := _PROXY.fullmatch(uri):
        return client.download_artifacts(match[1], unquote(match[2] or ""), dst_path)
    parts = urlsplit(uri)
    if parts.scheme in ("models", "mlflow-artifacts"):
        return _bring_model(client, uri, dst_path)
    if parts.scheme == "file":
        return _bring_path(Path(unquote(parts.path)), dst_path)
    if parts.scheme:
        raise TrackingError(
            f"artifacts cannot be brought from `{clean_url(uri)}`",
            hint="runs:/<run id>/<path>, models:/<name>/<version>, file: or a path",
        )
    return _bring_path(Path(uri).expanduser().absolute(), dst_path)
