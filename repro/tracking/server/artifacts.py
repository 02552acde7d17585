"""Deeds on artifacts: listings, and the files themselves, in and out (the mlflow-artifacts API).

Every path of a file is `<experiment>/<run>/artifacts/<path>` or `<experiment>/models/<model>/artifacts/<path>`; nothing
else below the store's root can be named, and links that lead elsewhere are not followed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

from repro.errors import TrackingError, TrackingNotFoundError
from repro.files import open_atomically, remove_tree
from repro.formats.run_meta import HALF_WRITTEN
from repro.tracking.artifact_files import ArtifactFiles
from repro.tracking.entities import Artifact
from repro.tracking.run_files import explaining
from repro.tracking.server.calls import Call, get_run_id, get_word
from repro.tracking.server.locations import tell_model, tell_run
from repro.tracking.server.refusal import Refusal
from repro.tracking.server.replies import EmptyReply, FileReply, JsonReply
from repro.tracking.server.site import Site
from repro.tracking.wire import Fields, find_text, format_artifact
from repro.values import frozen

_PLACE = re.compile(
    r"(?P<experiment>[\w\-]+)/(?:models/(?P<model>[\w\-]+)|(?P<run>[\w\-]+))/artifacts(?:/(?P<path>.*))?",
    re.ASCII | re.DOTALL,
)
_MAX_PATH = 4096
_MAX_NAME_BYTES = 255


def check_path(path: str) -> str:
    """Return a path below a run's artifacts without what means nothing. Raises TrackingError for one that leads out.

    MLflow decodes a path as often as it can; what would be another path then is refused too.
    """
    decoded = path
    while (further := unquote(decoded)) != decoded:
        decoded = further
    parts = decoded.split("/")
    if (
        len(path) > _MAX_PATH
        or decoded.startswith("/")
        or "\\" in decoded
        or not decoded.isprintable()
        or any(part in (".", "..") or len(part.encode()) > _MAX_NAME_BYTES for part in (*parts, *path.split("/")))
        or any(HALF_WRITTEN.fullmatch(part) for part in parts)
        or (decoded != path and decoded.count("/") != path.count("/"))
    ):
        raise TrackingError(f"Invalid path: `{decoded[:200]!r}`")
    return "/".join(part for part in path.split("/") if part)


@frozen
class Place:
    """A path among the artifacts of a run or a model."""

    files: ArtifactFiles
    path: str
    run_id: str | None

    def locate(self) -> Path:
        """Return where it is, links followed. Raises TrackingError for one that leads out."""
        return self.files.locate(self.path)


def _find_place(site: Site, path: str) -> Place:
    """Return whose artifact a path of the proxy names. Raises TrackingError."""
    match = _PLACE.fullmatch(path)
    if not match:
        raise TrackingError(
            f"Invalid path: `{path[:200]!r}`",
            hint="<experiment>/<run>/artifacts/..., <experiment>/models/<model>/artifacts/...",
        )
    below = check_path(match["path"] or "")
    if match["model"]:
        directory = site.models.find_dir(match["model"])
        _check_experiment(directory.parents[1], match["experiment"], match["model"])
        source = site.models.get(match["model"]).source_run_id
        return Place(files=site.models.open_artifacts(match["model"]), path=below, run_id=source)
    _check_experiment(site.store.find_run_dir(match["run"]).parent, match["experiment"], match["run"])
    return Place(files=site.store.open_artifacts(match["run"]), path=below, run_id=match["run"])


def _check_experiment(directory: Path, experiment_id: str, owner: str) -> None:
    if directory.name != experiment_id:
        raise TrackingNotFoundError(f"there is no `{owner}` in the experiment `{experiment_id}`")


def _list(files: ArtifactFiles, path: str) -> list[Artifact]:
    """Return what lies in a directory, without links that lead out."""
    kept = []
    for each in files.list_directory(path):
        try:
            files.locate(each.path)
        except TrackingError:
            continue
        kept.append(each)
    return kept


def _format_listing(root_uri: str, artifacts: Iterable[Artifact]) -> Fields:
    return {"root_uri": root_uri, "files": [format_artifact(each) for each in artifacts]}


def list_run_artifacts(site: Site, call: Call) -> JsonReply:
    """List a directory of a run's artifacts."""
    fields = call.read_fields()
    run_id = get_run_id(fields)
    path = check_path(find_text(fields, "path") or "")
    info = site.store.get_info(run_id)
    return JsonReply(fields=_format_listing(tell_run(info), _list(site.store.open_artifacts(run_id), path)))


def list_model_artifacts(site: Site, call: Call) -> JsonReply:
    """List a directory of a logged model's files."""
    model = site.models.get(call.places["model_id"])
    path = check_path(call.query.get("artifact_directory_path", [""])[0])
    return JsonReply(fields=_format_listing(tell_model(model), _list(site.models.open_artifacts(model.model_id), path)))


def list_proxied(site: Site, call: Call) -> JsonReply:
    """List a directory; names are relative to it."""
    place = _find_place(site, call.query.get("path", [""])[0].strip("/"))
    prefix = f"{place.path}/" if place.path else ""
    listed = _list(place.files, place.path)
    names = [{**format_artifact(each), "path": each.path.removeprefix(prefix)} for each in listed]
    return JsonReply(fields={"files": names})


def _reply_file(path: Path, name: str) -> FileReply:
    if not path.is_file():
        raise TrackingNotFoundError(f"there is no artifact `{name}`")
    return FileReply(path=path)


def download(site: Site, call: Call) -> FileReply:
    """Hand out a file."""
    place = _find_place(site, call.places["path"])
    return _reply_file(place.locate(), place.path)


def download_by_run(site: Site, call: Call) -> FileReply:
    """Hand out a file of a run, for a page (`/get-artifact`)."""
    fields = call.read_fields()
    path = check_path(get_word(fields, "path"))
    return _reply_file(site.store.open_artifacts(get_run_id(fields)).locate(path), path)


def _check_change(site: Site, place: Place) -> None:
    if place.run_id:
        site.permit.check_run(place.run_id)
    if not place.path:
        raise TrackingError("the path names no artifact")


def _check_space(directory: Path, length: int | None) -> None:
    import shutil

    if length is not None and length > shutil.disk_usage(directory).free:
        raise Refusal("BAD_REQUEST", f"there is no space for {length} bytes", status=507)


def upload(site: Site, call: Call) -> EmptyReply:
    """Keep a file: written beside its place as it comes, and moved there when it is whole."""
    place = _find_place(site, call.places["path"])
    _check_change(site, place)
    target = place.locate()
    with explaining("artifact", place.path):
        target.parent.mkdir(parents=True, exist_ok=True)
        _check_space(target.parent, call.body.length)
        if target.is_dir():
            raise TrackingError(f"`{place.path}` is a directory")
        with open_atomically(target) as file:
            while block := call.body.read():
                file.write(block)
    return EmptyReply()


def delete(site: Site, call: Call) -> EmptyReply:
    """Remove a file or a directory; what is not there is gone already."""
    place = _find_place(site, call.places["path"])
    _check_change(site, place)
    target = place.locate()
    with explaining("artifact", place.path):
        if target.is_dir():
            remove_tree(target)
        else:
            target.unlink(missing_ok=True)
    return EmptyReply()


def refuse_parts(site: Site, call: Call) -> JsonReply:
    """Say that files are not sent in parts; clients then send them whole."""
    raise Refusal("NOT_IMPLEMENTED", "Multipart upload is not supported for the current artifact repository")
