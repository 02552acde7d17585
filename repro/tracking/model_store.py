"""The one interface of the places that models are kept in: a registry of names and versions, and what runs have logged.

Two keep it: a directory in MLflow's FileStore layout (`local_models`), and an MLflow server over REST (`rest.models`).
Every deed raises TrackingNotFoundError for what does not exist, TrackingExistsError for a name that is taken,
TrackingError for what may not be, and a server's also ServerUnavailableError.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from repro.errors import TrackingError
from repro.tracking.entities import Page
from repro.tracking.store import Store
from repro.values import field, frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.formats.model_meta import LoggedModel, ModelVersion, RegisteredModel
    from repro.tracking.rest.artifacts import ReadablePlace

MOST_MODELS = 1000
MOST_VERSIONS = 200_000


@frozen
class ModelQuery:
    """A search of a registry, in MLflow's filter grammar; `page_token` is what the page before gave."""

    filter: str = ""
    order_by: tuple[str, ...] = ()
    max_results: int = 100
    page_token: str | None = None


@frozen
class NewVersion:
    """A version that is to be made of the files that `source` names."""

    name: str
    source: str
    run_id: str | None = None
    run_link: str | None = None
    description: str | None = None
    model_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@frozen
class HeldFiles:
    """Files on this machine, used where they lie."""

    path: Path


@frozen
class ServedFiles:
    """Files that a server hands out, below the directory `path` of a place; `name` tells them from any others."""

    place: ReadablePlace
    path: str
    name: str


Files = HeldFiles | ServedFiles


class ModelStore(Protocol):
    """A place that models are kept in."""

    @property
    def uri(self) -> str:
        """The URI that opens it, without credentials."""
        ...

    @property
    def is_server(self) -> bool:
        """Whether what it says was said by somebody else's program."""
        ...

    def create_model(self, name: str, *, description: str | None, tags: Mapping[str, str]) -> RegisteredModel:
        """Register a name."""
        ...

    def get_model(self, name: str) -> RegisteredModel:
        """Return a registered model."""
        ...

    def search_models(self, query: ModelQuery) -> Page[RegisteredModel]:
        """Return registered models, by name where the query has no order."""
        ...

    def create_version(self, new: NewVersion) -> ModelVersion:
        """Make a version of a registered model."""
        ...

    def get_version(self, name: str, number: int) -> ModelVersion:
        """Return a version."""
        ...

    def get_aliased_version(self, name: str, alias: str) -> ModelVersion:
        """Return the version that an alias names."""
        ...

    def list_latest_versions(self, name: str, stages: tuple[str, ...] = ()) -> list[ModelVersion]:
        """Return the newest version of each stage, or of the stages given."""
        ...

    def search_versions(self, query: ModelQuery) -> Page[ModelVersion]:
        """Return versions, the last changed first where the query has no order."""
        ...

    def set_alias(self, name: str, alias: str, number: int) -> None:
        """Let an alias name a version."""
        ...

    def delete_alias(self, name: str, alias: str) -> None:
        """Remove an alias."""
        ...

    def get_download_uri(self, name: str, number: int) -> str:
        """Return where the files of a version are."""
        ...

    def get_logged_model(self, model_id: str) -> LoggedModel:
        """Return a model that a run has logged."""
        ...

    def list_run_models(self, run_id: str) -> list[LoggedModel]:
        """Return the models that a run has logged: those of the highest step first, of these the newest."""
        ...

    def open_logged_model(self, model_id: str) -> Files:
        """Return where the files of a logged model are."""
        ...

    def find_run_files(self, run_id: str, path: str) -> Files | None:
        """Return where a file or directory among a run's artifacts is, None where there is none."""
        ...

    def open_location(self, uri: str) -> Files:
        """Return where the files of a place are: `mlflow-artifacts:`, `file:` or a path."""
        ...


def make_elsewhere_error(uri: str) -> TrackingError:
    """Return the error of files that are in a place which repro does not reach."""
    from repro.formats.direct_url import clean_url

    return TrackingError(
        f"the files are in `{clean_url(uri)}`, which repro does not reach",
        hint="let the server hand them on: `mlflow server --serve-artifacts --artifacts-destination ...`",
    )


def open_models(store: Store) -> ModelStore:
    """Return the models beside the runs of a store."""
    from repro.tracking.file_store import FileStore

    if isinstance(store, FileStore):
        from repro.tracking.local_models import LocalModels

        return LocalModels(store)
    from repro.tracking.rest.models import RestModels
    from repro.tracking.rest.store import RestStore

    if not isinstance(store, RestStore):
        raise TrackingError(f"`{store.uri}` keeps no models")
    return RestModels(store)
