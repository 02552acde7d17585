"""Artifacts by their URI: of a run, of a server's proxy, or of a local path."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from repro.errors import TrackingError, TrackingNotFoundError
from repro.formats.direct_url import clean_url
from repro.tracking.artifact_files import ArtifactFiles
from repro.tracking.client import Client

_RUNS = re.compile(r"runs:/+([0-9a-zA-Z]+)(?:/(.*))?")
_PROXY = re.compile(r"mlflow-artifacts:(?://[^/]+)?/+[0-9]+/([0-9a-f]{32})/artifacts(?:/(.*))?")


def _bring_path(path: Path, dst_path: str | os.PathLike[str] | None) -> str:
    if not path.exists():
        raise TrackingNotFoundError(f"there is no file `{path}`")
    if dst_path is None:
        return str(path)
    return str(ArtifactFiles(path.parent).copy_to(path.name, Path(dst_path).absolute()))


def bring(client: Client, uri: str, dst_path: str | os.PathLike[str] | None = None) -> str:
    """Bring what a URI names to a local directory and return the path. Raises TrackingError."""
    if match := _RUNS.fullmatch(uri):  # as it stands, as MLflow has it
        return client.download_artifacts(match[1], match[2] or "", dst_path)
    if match := _PROXY.fullmatch(uri):
        return client.download_artifacts(match[1], unquote(match[2] or ""), dst_path)
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return _bring_path(Path(unquote(parts.path)), dst_path)
    if parts.scheme:
        raise TrackingError(
            f"artifacts cannot be brought from `{clean_url(uri)}`", hint="runs:/<run id>/<path>, file: or a path"
        )
    return _bring_path(Path(uri).expanduser().absolute(), dst_path)
