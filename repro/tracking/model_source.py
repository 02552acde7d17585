"""Find where the files are that a URI names: step by step, from a name of the registry to a directory.

models:/<name>/<version>  ->  where its files are, which may be any of these:
models:/<model id>        ->  the files of a logged model
runs:/<run id>/<path>     ->  an artifact of the run, else those of the model that it has logged as <path>
mlflow-artifacts:/...     ->  files that a server hands out
file:///...  /...         ->  files on this machine
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from repro.errors import ServerUnavailableError, TrackingError, TrackingNotFoundError, TrackingRefusedError
from repro.formats.direct_url import clean_url
from repro.formats.model_meta import STAGES
from repro.formats.model_uri import AliasWish, LoggedModelWish, ModelWish, StageWish, VersionWish, parse_model_uri
from repro.tracking.model_store import Files, ModelQuery, ModelStore
from repro.values import frozen

_RUNS = re.compile(r"runs:(?://)?/([0-9a-zA-Z]+)(?:/(.*))?", re.DOTALL)
_MOST_STEPS = 8
_MOST_NAMED = 10


@frozen
class FoundFiles:
    """Where files are; `is_foreign` tells whether a server has said so, or hands them out."""

    files: Files
    is_foreign: bool


def parse_run_uri(uri: str) -> tuple[str, str] | None:
    """Return run and path of a `runs:` URI, as it stands, as MLflow has it; None for any other."""
    match = _RUNS.fullmatch(uri)
    return (match[1], match[2] or "") if match else None


def _list_names(names: list[str], notes: Mapping[str, str] | None = None) -> str:
    """Return names in backticks, each with the note that there is on it; many are cut."""
    of = notes or {}
    shown = ", ".join(f"`{each}`" + (f" ({of[each]})" if each in of else "") for each in names[:_MOST_NAMED])
    return shown + (f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else "")


def _describe_registry(registry: ModelStore) -> str:
    names = [each.name for each in registry.search_models(ModelQuery(max_results=100))]
    return f"registered are {_list_names(names)}" if names else "nothing is registered there"


def _describe_model(registry: ModelStore, name: str) -> str:
    """Return which versions and aliases a model has."""
    aliases = registry.get_model(name).aliases
    query = ModelQuery(filter=f"name = '{name}'", order_by=("version_number DESC",), max_results=100)
    versions = list(registry.search_versions(query)) if "'" not in name else []
    numbers = [str(each.version) for each in versions]
    stages = {str(each.version): each.stage for each in versions if each.stage != "None"}
    what = f"it has the versions {_list_names(numbers, stages)}" if numbers else "it has no versions"
    meant = {alias: f"version {number}" for alias, number in aliases.items()}
    return what + (f", and the aliases {_list_names(sorted(aliases), meant)}" if aliases else "")


def _say_missing(wish: ModelWish) -> str:
    match wish:
        case VersionWish(name=name, number=number):
            return f"`{name}` has no version {number}"
        case AliasWish(name=name, alias=alias):
            return f"`{name}` has no alias `{alias}`"
        case StageWish(name=name, stage=None):
            return f"`{name}` has no versions"
        case StageWish(name=name, stage=stage):
            is_stage = str(stage).lower() in (each.lower() for each in STAGES)
            other = "" if is_stage else f", which is no stage either (an alias is `models:/{name}@{stage}`)"
            return f"`{name}` has no version in the stage `{stage}`{other}"
        case LoggedModelWish(model_id=model_id):
            return f"there is no logged model `{model_id}`"


def _explain(registry: ModelStore, name: str, wish: ModelWish, error: TrackingError) -> TrackingError:
    """Return the error of a name that leads to no version: with what there is instead."""
    try:
        return TrackingNotFoundError(f"{_say_missing(wish)} in `{registry.uri}`", hint=_describe_model(registry, name))
    except TrackingNotFoundError:
        pass
    except TrackingError:
        return error
    try:
        hint = _describe_registry(registry)
    except TrackingError:
        hint = "MLFLOW_REGISTRY_URI or MLFLOW_TRACKING_URI names the registry"
    return TrackingNotFoundError(f"there is no registered model `{name}` in `{registry.uri}`", hint=hint)


def _find_number(registry: ModelStore, wish: VersionWish | StageWish | AliasWish) -> int:
    if isinstance(wish, VersionWish):
        return wish.number
    if isinstance(wish, AliasWish):
        return registry.get_aliased_version(wish.name, wish.alias).version
    latest = registry.list_latest_versions(wish.name, (wish.stage,) if wish.stage else ())
    if not latest:
        raise TrackingNotFoundError(_say_missing(wish))
    return max(each.version for each in latest)


def find_number(registry: ModelStore, wish: VersionWish | StageWish | AliasWish) -> int:
    """Return which version is meant. Raises TrackingError, which says what there is instead."""
    try:
        return _find_number(registry, wish)
    except (ServerUnavailableError, TrackingRefusedError):
        raise
    except TrackingError as error:
        raise _explain(registry, wish.name, wish, error) from error


def _find_download_uri(registry: ModelStore, wish: VersionWish | StageWish | AliasWish) -> str:
    number = find_number(registry, wish)
    try:
        return registry.get_download_uri(wish.name, number)
    except TrackingNotFoundError as error:
        raise _explain(registry, wish.name, wish, error) from error


def find_run_model_id(models: ModelStore, run_id: str, name: str) -> str | None:
    """Return the id of the model that a run has logged under a name."""
    return next((each.model_id for each in models.list_run_models(run_id) if each.name == name), None)


def _open_run(models: ModelStore, run_id: str, path: str) -> Files:
    """Return an artifact of a run, else the model that it has logged under that name. Raises TrackingNotFoundError."""
    path = path.strip("/")
    try:
        files = models.find_run_files(run_id, path)
    except TrackingNotFoundError as error:
        hint = "MLFLOW_TRACKING_URI names where it was logged"
        raise TrackingNotFoundError(f"there is no run `{run_id}` in `{models.uri}`", hint=hint) from error
    if files:
        return files
    logged = models.list_run_models(run_id)
    for each in logged:
        if each.name == path:
            return models.open_logged_model(each.model_id)
    names = sorted({each.name for each in logged})
    raise TrackingNotFoundError(
        f"the run `{run_id}` has neither an artifact nor a logged model `{path}`",
        hint=f"it has logged the models {_list_names(names)}" if names else "`repro artifacts list` says what it has",
    )


def _open_logged(models: ModelStore, wish: LoggedModelWish) -> Files:
    try:
        return models.open_logged_model(wish.model_id)
    except TrackingNotFoundError as error:
        hint = f"a registered model is named with its version: `models:/{wish.model_id}/1`"
        raise TrackingNotFoundError(
            f"{_say_missing(wish)} in `{models.uri}`", hint=error.hint if wish.model_id.startswith("m-") else hint
        ) from error


def _step(models: ModelStore, registry: ModelStore, uri: str) -> tuple[Files | str, ModelStore]:
    """Return where a URI leads, to files or to another URI, and who says so."""
    scheme = urlsplit(uri).scheme
    if scheme == "models":
        wish = parse_model_uri(uri)
        if isinstance(wish, LoggedModelWish):
            return _open_logged(models, wish), models
        return _find_download_uri(registry, wish), registry
    if run := parse_run_uri(uri):
        return _open_run(models, *run), models
    if scheme == "runs":
        raise TrackingError(f"`{clean_url(uri)}` names no run", hint="write `runs:/RUN_ID/PATH`")
    return models.open_location(uri), models


def find_files(models: ModelStore, registry: ModelStore, uri: str) -> FoundFiles:
    """Return where the files are that a URI names; what a registry leads to is followed.

    `models` has the runs and what they have logged, `registry` the names. Raises TrackingError, and UsageError for what
    is no URI of a model.
    """
    way: list[str] = []
    is_foreign = False
    while uri not in way and len(way) < _MOST_STEPS:
        way.append(uri)
        if is_foreign and not urlsplit(uri).scheme and not uri.startswith("/"):
            raise TrackingError(f"the registry names `{clean_url(uri)}`, which is no place of its own")
        found, teller = _step(models, registry, uri)
        is_foreign = is_foreign or teller.is_server
        if not isinstance(found, str):
            return FoundFiles(files=found, is_foreign=is_foreign)
        uri = found
    raise TrackingError("the registry leads nowhere: " + " -> ".join(f"`{clean_url(each)}`" for each in (*way, uri)))
