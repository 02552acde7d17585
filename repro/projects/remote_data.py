"""Fetch what a parameter of type `path` names elsewhere: over http(s), the artifacts of a run, and models."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from repro import settings
from repro.errors import ReproError, UsageError
from repro.files import open_atomically
from repro.patterns import compile_later
from repro.tracking.store import open_store

_TRACKED = ("runs", "models", "mlflow-artifacts")
SCHEMES = ("http", "https", *_TRACKED)
_UNSAFE = compile_later(r"[\x00-\x1f/\\]")


def is_remote(value: str) -> bool:
    """Tell whether a value names what lies elsewhere, whether it can be fetched or not; `C:` is no scheme."""
    parts = urlsplit(value)
    is_here = parts.scheme == "file" and parts.netloc in ("", "localhost")
    return len(parts.scheme) > 1 and not is_here


def _name_file(parts: SplitResult) -> str:
    """Return the name a download gets: that of the URL's path, whose ending may count."""
    name = _UNSAFE.sub("_", unquote(parts.path.rstrip("/").rpartition("/")[2]))
    return name if name not in ("", ".", "..") else "download"


def _download(url: str, target_dir: Path, environ: Mapping[str, str]) -> Path:
    from shutil import copyfileobj

    from repro.snapshots.access import Access
    from repro.snapshots.door import Door
    from repro.snapshots.indexes import Indexes
    from repro.snapshots.remote_file import open_whole

    access = Access(Indexes(cert=settings.find_certificates(environ), find_links=(url,)), environ)
    door = Door(access)
    path = target_dir / _name_file(urlsplit(url))
    try:
        with (
            open_whole(lambda url, headers, into=None: door.get(url, headers, into=into), url) as stream,
            open_atomically(path) as target,
        ):
            copyfileobj(stream, target)
    finally:
        door.close()
    return path


def _take_artifacts(uri: str, target_dir: Path, environ: Mapping[str, str]) -> Path:
    from repro.tracking.artifact_uri import bring
    from repro.tracking.client import Client

    parts = urlsplit(uri)
    if parts.scheme == "runs" and not parts.path.strip("/").partition("/")[2]:
        raise UsageError(f"`{uri}` names no artifact of a run", hint="write `runs:/RUN_ID/PATH`")
    store = open_store(settings.find_tracking_uri(environ), cwd=Path.cwd())
    return Path(bring(Client(store=store), uri, target_dir))


def fetch(value: str, target_dir: Path, *, environ: Mapping[str, str]) -> Path:
    """Fetch what a URI of SCHEMES names into a directory, which is made; return what it has become there.

    Raises ReproError where it cannot be had.
    """
    try:
        os.makedirs(target_dir, exist_ok=True)
        is_tracked = urlsplit(value).scheme in _TRACKED
        return (_take_artifacts if is_tracked else _download)(value, target_dir, environ)
    except OSError as error:
        from repro.formats.redaction import redact

        raise ReproError(f"`{redact(value)}` cannot be kept in `{target_dir}` ({error.strerror})") from error
