"""The models of an MLflow server, over REST; see `repro.tracking.model_store.ModelStore`."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from repro.errors import TrackingError, TrackingNotFoundError
from repro.formats.model_meta import LoggedModel, ModelVersion, RegisteredModel
from repro.tracking import wire
from repro.tracking.entities import Page
from repro.tracking.model_store import Files, HeldFiles, ModelQuery, NewVersion, ServedFiles, make_elsewhere_error
from repro.tracking.model_wire import parse_logged_model, parse_model_version, parse_registered_model
from repro.tracking.rest.answers import UnexplainedError
from repro.tracking.rest.api import get_object
from repro.tracking.rest.artifacts import LocalPlace, check_artifact_path, find_transport
from repro.tracking.rest.proxy_directory import ProxyDirectory
from repro.tracking.rest.store import RestStore

_NO_SUCH_CALL = (TrackingNotFoundError, UnexplainedError)
"""What a server answers that is older than the call."""


def _drop_empty(fields: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in fields.items() if value not in (None, "", [], ())}


def _format_query(query: ModelQuery) -> list[tuple[str, str | int]]:
    asked: list[tuple[str, str | int]] = [("max_results", query.max_results)]
    asked += [("filter", query.filter)] if query.filter else []
    asked += [("order_by", each) for each in query.order_by]
    return [*asked, ("page_token", query.page_token)] if query.page_token else asked


class RestModels:
    """The registry and the logged models of one server."""

    is_server = True

    def __init__(self, store: RestStore) -> None:
        self._store = store
        self._api = store.api

    @property
    def uri(self) -> str:
        """The server's URI, without credentials."""
        return self._store.uri

    # the registry

    def create_model(self, name: str, *, description: str | None, tags: Mapping[str, str]) -> RegisteredModel:
        """Register a name."""
        fields = _drop_empty({"name": name, "description": description, "tags": wire.format_pairs(tags)})
        made = self._api.post("registered-models/create", fields, repeatable=False)
        return parse_registered_model(get_object(made, "registered_model"))

    def get_model(self, name: str) -> RegisteredModel:
        """Return a registered model."""
        found = self._api.get("registered-models/get", {"name": name})
        return parse_registered_model(get_object(found, "registered_model"))

    def search_models(self, query: ModelQuery) -> Page[RegisteredModel]:
        """Return registered models, by name where the query has no order."""
        found = self._api.get("registered-models/search", _format_query(query))
        items = tuple(parse_registered_model(each) for each in wire.list_fields(found, "registered_models"))
        return Page(items=items, token=wire.find_text(found, "next_page_token") or None)

    def create_version(self, new: NewVersion) -> ModelVersion:
        """Make a version of a registered model."""
        fields = {
            "name": new.name, "source": new.source, "run_id": new.run_id, "run_link": new.run_link,
            "description": new.description, "model_id": new.model_id, "tags": wire.format_pairs(new.tags),
        }  # fmt: skip
        made = self._api.post("model-versions/create", _drop_empty(fields), repeatable=False)
        return parse_model_version(get_object(made, "model_version"))

    def get_version(self, name: str, number: int) -> ModelVersion:
        """Return a version."""
        found = self._api.get("model-versions/get", {"name": name, "version": number})
        return parse_model_version(get_object(found, "model_version"))

    def get_aliased_version(self, name: str, alias: str) -> ModelVersion:
        """Return the version that an alias names."""
        found = self._api.get("registered-models/alias", {"name": name, "alias": alias})
        return parse_model_version(get_object(found, "model_version"))

    def list_latest_versions(self, name: str, stages: tuple[str, ...] = ()) -> list[ModelVersion]:
        """Return the newest version of each stage, or of the stages given."""
        fields = _drop_empty({"name": name, "stages": list(stages)})
        found = self._api.post("registered-models/get-latest-versions", fields)
        return [parse_model_version(each) for each in wire.list_fields(found, "model_versions")]

    def search_versions(self, query: ModelQuery) -> Page[ModelVersion]:
        """Return versions, the last changed first where the query has no order."""
        found = self._api.get("model-versions/search", _format_query(query))
        items = tuple(parse_model_version(each) for each in wire.list_fields(found, "model_versions"))
        return Page(items=items, token=wire.find_text(found, "next_page_token") or None)

    def set_alias(self, name: str, alias: str, number: int) -> None:
        """Let an alias name a version."""
        self._api.post("registered-models/alias", {"name": name, "alias": alias, "version": str(number)})

    def delete_alias(self, name: str, alias: str) -> None:
        """Remove an alias."""
        self._api.delete("registered-models/alias", {"name": name, "alias": alias})

    def get_download_uri(self, name: str, number: int) -> str:
        """Return where the files of a version are."""
        found = self._api.get("model-versions/get-download-uri", {"name": name, "version": number})
        return wire.get_text(found, "artifact_uri")

    # what runs have logged

    def get_logged_model(self, model_id: str) -> LoggedModel:
        """Return a model that a run has logged. Raises TrackingNotFoundError also where the server knows of none."""
        try:
            found = self._api.get(f"logged-models/{quote(model_id, safe='')}", {})
        except UnexplainedError as error:
            raise TrackingNotFoundError(error.message, hint="logged models need MLflow 3 on the server") from error
        return parse_logged_model(get_object(found, "model"))

    def _iterate_run_models(self, experiment_id: str, run_id: str) -> Iterator[LoggedModel]:
        fields = {"experiment_ids": [experiment_id], "filter": f"source_run_id = '{run_id}'"}
        token = None
        while True:
            found = self._api.post("logged-models/search", _drop_empty({**fields, "page_token": token}))
            yield from (parse_logged_model(each) for each in wire.list_fields(found, "models"))
            before, token = token, wire.find_text(found, "next_page_token")
            if not token or token == before:
                return

    def list_run_models(self, run_id: str) -> list[LoggedModel]:
        """Return the models that a run has logged: those of the highest step first, of these the newest."""
        run_id = self._store.get_run(run_id).run_id
        run = get_object(self._api.get("runs/get", {"run_id": run_id}), "run")
        experiment_id = wire.get_text(get_object(run, "info"), "experiment_id")
        outputs = run.get("outputs")
        listed = wire.list_fields(outputs, "model_outputs") if isinstance(outputs, dict) else []
        steps = {wire.get_text(each, "model_id"): wire.find_whole(each, "step") or 0 for each in listed}
        found: list[LoggedModel] = []
        with suppress(*_NO_SUCH_CALL):
            found = [each for each in self._iterate_run_models(experiment_id, run_id) if each.source_run_id == run_id]
        return sorted(found, key=lambda each: (-steps.get(each.model_id, -1), -each.created_ms))

    # files

    def open_logged_model(self, model_id: str) -> Files:
        """Return where the files of a logged model are."""
        return self.open_location(self.get_logged_model(model_id).artifact_location)

    def find_run_files(self, run_id: str, path: str) -> Files | None:
        """Return where a file or directory among a run's artifacts is, None where there is none."""
        path = posixpath.normpath(path) if path else ""
        place = self._store.find_place(run_id)
        parent = posixpath.dirname(path)
        if path and not any(each.path == check_artifact_path(path) for each in place.list_directory(parent)):
            return None
        if isinstance(place, LocalPlace):
            return HeldFiles(path=place.locate(path))
        return ServedFiles(place=place, path=path, name=f"{place.name}/{path}".rstrip("/"))

    def open_location(self, uri: str) -> Files:
        """Return where the files of a place are: behind the server's proxy, or on a disk that this machine has too."""
        parts = urlsplit(uri)
        if parts.scheme == "mlflow-artifacts":
            transport = find_transport(self._api.transport, parts.netloc)
            directory = ProxyDirectory(transport, check_artifact_path(unquote(parts.path).strip("/")))
            return ServedFiles(place=directory, path="", name=directory.name)
        is_path = uri.startswith("/") if not parts.scheme else parts.scheme == "file"
        if not is_path or parts.netloc not in ("", "localhost"):
            raise make_elsewhere_error(uri)
        path = Path(unquote(parts.path) if parts.scheme else uri)
        if not path.exists():
            raise TrackingError(
                f"the files are in `{path}` of the server's machine, which this machine has not",
                hint="let the server hand them on: `mlflow server --serve-artifacts --artifacts-destination ...`",
            )
        return HeldFiles(path=path)
