"""The models of a directory in MLflow's FileStore layout; see `repro.tracking.model_store.ModelStore`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from repro.errors import ReproError, TrackingError, TrackingNotFoundError
from repro.formats.model_meta import LoggedModel, ModelVersion, RegisteredModel
from repro.tracking.artifact_files import ArtifactFiles
from repro.tracking.entities import Page
from repro.tracking.file_store import FileStore
from repro.tracking.logged_models import LoggedModels
from repro.tracking.model_store import (
    MOST_MODELS,
    MOST_VERSIONS,
    HeldFiles,
    ModelQuery,
    NewVersion,
    make_elsewhere_error,
)
from repro.tracking.pages import cut_page
from repro.tracking.registration import find_storage, make_version, note_version
from repro.tracking.registry import Registry

_OWN = re.compile(
    r"(?:.*/)?(?!models/)[\w\-]+/(?:models/(?P<model>[\w\-]+)|(?P<run>[\w\-]+))/artifacts(?:/(?P<path>.*))?", re.ASCII
)


class LocalModels:
    """The registry and the logged models beside the runs of a directory."""

    is_server = False

    def __init__(self, store: FileStore) -> None:
        self._store = store
        self._registry = Registry(store.root)
        self._logged = LoggedModels(store.root)

    @property
    def uri(self) -> str:
        """The directory's URI."""
        return self._store.uri

    # the registry

    def create_model(self, name: str, *, description: str | None, tags: Mapping[str, str]) -> RegisteredModel:
        """Register a name."""
        return self._registry.create_model(name, description=description, tags=dict(tags))

    def get_model(self, name: str) -> RegisteredModel:
        """Return a registered model."""
        return self._registry.get_model(name)

    def search_models(self, query: ModelQuery) -> Page[RegisteredModel]:
        """Return registered models, by name where the query has no order."""
        from repro.tracking.model_search import find_registered_models

        found = find_registered_models(self._registry.list_models(), query.filter, query.order_by)
        return cut_page(found, max_results=query.max_results, page_token=query.page_token, most=MOST_MODELS)

    def create_version(self, new: NewVersion) -> ModelVersion:
        """Make a version of a registered model. Raises TrackingNotFoundError where its files are not there."""
        storage, run_id = find_storage(self._store, self._registry, self._logged, new.source)
        location = storage if storage is not None else self._keep_path(new.source)
        made = self._registry.create_version(make_version(new, self._logged, location, run_id))
        note_version(self._logged, made)
        return made

    def _keep_path(self, source: str) -> str:
        """Return a path as a `file:` URI, and any other URI as it is. Raises TrackingNotFoundError for no directory."""
        if urlsplit(source).scheme not in ("", "file"):
            return source
        files = self.open_location(source)
        if not files.path.is_dir():
            raise TrackingNotFoundError(f"there is no directory `{files.path}` to register")
        return files.path.absolute().as_uri()

    def get_version(self, name: str, number: int) -> ModelVersion:
        """Return a version."""
        return self._registry.get_version(name, number)

    def get_aliased_version(self, name: str, alias: str) -> ModelVersion:
        """Return the version that an alias names."""
        return self._registry.get_aliased_version(name, alias)

    def list_latest_versions(self, name: str, stages: tuple[str, ...] = ()) -> list[ModelVersion]:
        """Return the newest version of each stage, or of the stages given."""
        return self._registry.list_latest_versions(name, stages)

    def search_versions(self, query: ModelQuery) -> Page[ModelVersion]:
        """Return versions, the last changed first where the query has no order."""
        from repro.tracking.model_search import find_versions

        found = find_versions(self._registry.list_versions(), query.filter, query.order_by)
        return cut_page(found, max_results=query.max_results, page_token=query.page_token, most=MOST_VERSIONS)

    def set_alias(self, name: str, alias: str, number: int) -> None:
        """Let an alias name a version."""
        self._registry.set_alias(name, alias, number)

    def delete_alias(self, name: str, alias: str) -> None:
        """Remove an alias."""
        self._registry.delete_alias(name, alias)

    def get_download_uri(self, name: str, number: int) -> str:
        """Return where the files of a version are."""
        return self._registry.get_version(name, number).storage_location

    # what runs have logged

    def get_logged_model(self, model_id: str) -> LoggedModel:
        """Return a model that a run has logged."""
        return self._logged.get(model_id)

    def list_run_models(self, run_id: str) -> list[LoggedModel]:
        """Return the models that a run has logged: those of the highest step first, of these the newest."""
        from repro.tracking.run_models import read_model_outputs

        run_dir = self._store.find_run_dir(run_id)
        steps = {output.model_id: output.step for output in read_model_outputs(run_dir)}
        found = list(self._read_models(steps))
        if not found:  # made for the run, and not noted with it
            found = [each for each in self._logged.list_models((run_dir.parent.name,)) if each.source_run_id == run_id]
        return sorted(found, key=lambda each: (-steps.get(each.model_id, -1), -each.created_ms))

    def _read_models(self, model_ids: Mapping[str, int]) -> Iterator[LoggedModel]:
        for model_id in model_ids:
            with suppress(OSError, ReproError):  # deleted, or damaged
                yield self._logged.get(model_id)

    # files

    def open_logged_model(self, model_id: str) -> HeldFiles:
        """Return where the files of a logged model are."""
        self._logged.get(model_id)  # not a deleted one
        return HeldFiles(path=self._logged.open_artifacts(model_id).root)

    def find_run_files(self, run_id: str, path: str) -> HeldFiles | None:
        """Return where a file or directory among a run's artifacts is, None where there is none."""
        place = self._store.open_artifacts(run_id).locate(path)
        return HeldFiles(path=place) if place.exists() else None

    def _find_own(self, path: str) -> Path | None:
        """Return where the artifacts of a run or a model of this directory are, which may have been moved here."""
        if not (match := _OWN.fullmatch(path)):
            return None
        files: ArtifactFiles
        try:
            files = (
                self._logged.open_artifacts(match["model"])
                if match["model"]
                else self._store.open_artifacts(match["run"])
            )
        except TrackingNotFoundError:
            return None
        return files.locate(match["path"] or "")

    def open_location(self, uri: str) -> HeldFiles:
        """Return where the files of a place are: `mlflow-artifacts:`, `file:` or a path."""
        parts = urlsplit(uri)
        if parts.scheme == "mlflow-artifacts":
            path = None if parts.netloc else self._find_own(unquote(parts.path).strip("/"))
            if path is None:
                raise TrackingError(
                    f"`{uri}` is handed out by a server", hint="MLFLOW_TRACKING_URI names the server that has it"
                )
            return HeldFiles(path=path)
        if parts.scheme not in ("", "file") or parts.netloc not in ("", "localhost"):
            raise make_elsewhere_error(uri)
        path = Path(unquote(parts.path) if parts.scheme else uri).expanduser()
        moved = None if path.exists() else self._find_own(path.as_posix())
        return HeldFiles(path=moved or path)
