"""The verbs of MLflow's client on registered models and logged ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from repro.tracking.entities import Page
from repro.tracking.model_store import ModelQuery, ModelStore, NewVersion

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.formats.model_meta import LoggedModel, ModelVersion, RegisteredModel


def _as_tuple(words: Sequence[str] | None) -> tuple[str, ...]:
    return (words,) if isinstance(words, str) else tuple(words or ())


def _as_texts(tags: Mapping[str, object] | None) -> dict[str, str]:
    return {str(key): str(value) for key, value in (tags or {}).items()}


def _as_number(version: int | str) -> int:
    """Return the number of a version. Raises TrackingError."""
    from repro.errors import TrackingError

    try:
        return int(version)
    except ValueError as error:
        raise TrackingError(f"`{version}` is no number of a version", hint="1, 2, ...") from error


class RegistryVerbs:
    """What a client does with models; `models` has what runs have logged, `registry` the names and their versions.

    Every deed raises what `repro.tracking.model_store.ModelStore` says.
    """

    @property
    def models(self) -> ModelStore:
        """The models beside the runs."""
        raise NotImplementedError

    @property
    def registry(self) -> ModelStore:
        """The registered models."""
        raise NotImplementedError

    @property
    def registry_uri(self) -> str:
        """The URI of the registry."""
        return self.registry.uri

    def create_registered_model(
        self, name: str, tags: Mapping[str, object] | None = None, description: str | None = None
    ) -> RegisteredModel:
        """Register a name. Raises TrackingExistsError."""
        return self.registry.create_model(name, description=description, tags=_as_texts(tags))

    def get_registered_model(self, name: str) -> RegisteredModel:
        """Return a registered model."""
        return self.registry.get_model(name)

    def search_registered_models(
        self,
        filter_string: str | None = None,
        max_results: int = 100,
        order_by: Sequence[str] | None = None,
        page_token: str | None = None,
    ) -> Page[RegisteredModel]:
        """Return a page of registered models (`page.token` asks for the next), by name where no order is given."""
        return self.registry.search_models(
            ModelQuery(
                filter=filter_string or "",
                max_results=max_results,
                order_by=_as_tuple(order_by),
                page_token=page_token,
            )
        )

    def create_model_version(
        self,
        name: str,
        source: str,
        run_id: str | None = None,
        tags: Mapping[str, object] | None = None,
        run_link: str | None = None,
        description: str | None = None,
        await_creation_for: int | None = None,
        local_model_path: str | None = None,
        model_id: str | None = None,
    ) -> ModelVersion:
        """Make the next version of a registered model of what `source` names: a URI that `repro.load_model` takes.

        It is ready at once: `await_creation_for` and `local_model_path` are MLflow's words and change nothing.
        """
        return self.registry.create_version(
            NewVersion(
                name=name,
                source=source,
                run_id=run_id,
                run_link=run_link,
                description=description,
                model_id=model_id,
                tags=_as_texts(tags),
            )
        )

    def get_model_version(self, name: str, version: int | str) -> ModelVersion:
        """Return a version of a registered model."""
        return self.registry.get_version(name, _as_number(version))

    def get_model_version_by_alias(self, name: str, alias: str) -> ModelVersion:
        """Return the version that an alias names."""
        return self.registry.get_aliased_version(name, alias)

    def get_latest_versions(self, name: str, stages: Sequence[str] | None = None) -> list[ModelVersion]:
        """Return the newest version of each stage, or of the stages given."""
        return self.registry.list_latest_versions(name, _as_tuple(stages))

    def search_model_versions(
        self,
        filter_string: str | None = None,
        max_results: int = 10_000,
        order_by: Sequence[str] | None = None,
        page_token: str | None = None,
    ) -> Page[ModelVersion]:
        """Return a page of versions (`page.token` asks for the next), the last changed first without an order."""
        return self.registry.search_versions(
            ModelQuery(
                filter=filter_string or "",
                max_results=max_results,
                order_by=_as_tuple(order_by),
                page_token=page_token,
            )
        )

    def get_model_version_download_uri(self, name: str, version: int | str) -> str:
        """Return where the files of a version are."""
        return self.registry.get_download_uri(name, _as_number(version))

    def set_registered_model_alias(self, name: str, alias: str, version: int | str) -> None:
        """Let an alias name a version."""
        self.registry.set_alias(name, alias, _as_number(version))

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        """Remove an alias; one that is not there is fine, as for MLflow."""
        self.registry.delete_alias(name, alias)

    def get_logged_model(self, model_id: str) -> LoggedModel:
        """Return a model that a run has logged."""
        return self.models.get_logged_model(model_id)
