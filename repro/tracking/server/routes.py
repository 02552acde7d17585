"""Which deed answers which method and path.

`/ajax-api/`, the prefix of MLflow's pages, is another word for `/api/`, and so is what clients of MLflow 1 have:
`/api/2.0/preview/mlflow/`, and `list` for `search`; today's MLflow server no longer knows these two.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias
from urllib.parse import unquote

from repro.tracking.server import artifacts, experiments, logged_models, registry, runs, status, values
from repro.tracking.server.calls import Call
from repro.tracking.server.refusal import Refusal
from repro.tracking.server.replies import Reply
from repro.tracking.server.site import Site
from repro.values import frozen

Deed: TypeAlias = Callable[[Site, Call], Reply]

_API = "/api/2.0/mlflow"
_PROXY = "/api/2.0/mlflow-artifacts"
_MODEL = f"{_API}/logged-models/{{model_id}}"

ROUTES: Mapping[str, Mapping[str, Deed]] = {
    "/": {"GET": status.say_hello},
    "/health": {"GET": status.say_healthy},
    "/version": {"GET": status.say_version},
    "/get-artifact": {"GET": artifacts.download_by_run},
    "/api/3.0/mlflow/server-info": {"GET": status.describe_server},
    f"{_API}/experiments/create": {"POST": experiments.create_experiment},
    f"{_API}/experiments/get": {"GET": experiments.get_experiment},
    f"{_API}/experiments/get-by-name": {"GET": experiments.find_experiment},
    f"{_API}/experiments/search": {"GET": experiments.search_experiments, "POST": experiments.search_experiments},
    f"{_API}/experiments/list": {"GET": experiments.search_experiments},
    f"{_API}/experiments/update": {"POST": experiments.rename_experiment},
    f"{_API}/experiments/delete": {"POST": experiments.delete_experiment},
    f"{_API}/experiments/restore": {"POST": experiments.restore_experiment},
    f"{_API}/experiments/set-experiment-tag": {"POST": experiments.set_experiment_tag},
    f"{_API}/experiments/delete-experiment-tag": {"POST": experiments.delete_experiment_tag},
    f"{_API}/runs/create": {"POST": runs.create_run},
    f"{_API}/runs/get": {"GET": runs.get_run},
    f"{_API}/runs/update": {"POST": runs.update_run},
    f"{_API}/runs/delete": {"POST": runs.delete_run},
    f"{_API}/runs/restore": {"POST": runs.restore_run},
    f"{_API}/runs/search": {"POST": runs.search_runs},
    f"{_API}/runs/log-metric": {"POST": values.log_metric},
    f"{_API}/runs/log-parameter": {"POST": values.log_parameter},
    f"{_API}/runs/log-batch": {"POST": values.log_batch},
    f"{_API}/runs/set-tag": {"POST": values.set_tag},
    f"{_API}/runs/delete-tag": {"POST": values.delete_tag},
    f"{_API}/runs/log-model": {"POST": values.log_model},
    f"{_API}/runs/log-inputs": {"POST": values.log_inputs},
    f"{_API}/runs/outputs": {"POST": values.log_outputs},
    f"{_API}/metrics/get-history": {"GET": values.get_history},
    f"{_API}/metrics/get-history-bulk": {"GET": values.get_histories},
    f"{_API}/artifacts/list": {"GET": artifacts.list_run_artifacts},
    f"{_PROXY}/artifacts": {"GET": artifacts.list_proxied},
    f"{_PROXY}/artifacts/{{path}}": {
        "GET": artifacts.download, "PUT": artifacts.upload, "DELETE": artifacts.delete,
    },
    f"{_PROXY}/mpu/{{path}}": {"POST": artifacts.refuse_parts},
    f"{_PROXY}/presigned/{{path}}": {"GET": artifacts.refuse_parts},
    f"{_API}/logged-models": {"POST": logged_models.create_model},
    f"{_API}/logged-models/search": {"POST": logged_models.search_models},
    _MODEL: {
        "GET": logged_models.get_model, "PATCH": logged_models.finalize_model, "DELETE": logged_models.delete_model,
    },
    f"{_MODEL}/tags": {"PATCH": logged_models.set_tags},
    f"{_MODEL}/tags/{{tag_key}}": {"DELETE": logged_models.delete_tag},
    f"{_MODEL}/params": {"POST": logged_models.log_params},
    f"{_MODEL}/artifacts/directories": {"GET": artifacts.list_model_artifacts},
    f"{_API}/registered-models/create": {"POST": registry.create_model},
    f"{_API}/registered-models/get": {"GET": registry.get_model},
    f"{_API}/registered-models/rename": {"POST": registry.rename_model},
    f"{_API}/registered-models/update": {"PATCH": registry.update_model},
    f"{_API}/registered-models/delete": {"DELETE": registry.delete_model},
    f"{_API}/registered-models/search": {"GET": registry.search_models},
    f"{_API}/registered-models/list": {"GET": registry.search_models},
    f"{_API}/registered-models/get-latest-versions": {
        "GET": registry.list_latest_versions, "POST": registry.list_latest_versions,
    },
    f"{_API}/registered-models/set-tag": {"POST": registry.set_model_tag},
    f"{_API}/registered-models/delete-tag": {"DELETE": registry.delete_model_tag},
    f"{_API}/registered-models/alias": {
        "GET": registry.get_aliased_version, "POST": registry.set_alias, "DELETE": registry.delete_alias,
    },
    f"{_API}/model-versions/create": {"POST": registry.create_version},
    f"{_API}/model-versions/get": {"GET": registry.get_version},
    f"{_API}/model-versions/update": {"PATCH": registry.update_version},
    f"{_API}/model-versions/transition-stage": {"POST": registry.move_version},
    f"{_API}/model-versions/delete": {"DELETE": registry.delete_version},
    f"{_API}/model-versions/search": {"GET": registry.search_versions},
    f"{_API}/model-versions/get-download-uri": {"GET": registry.get_download_uri},
    f"{_API}/model-versions/set-tag": {"POST": registry.set_version_tag},
    f"{_API}/model-versions/delete-tag": {"DELETE": registry.delete_version_tag},
}  # fmt: skip


def _compile(route: str) -> re.Pattern[str]:
    """Return a route's pattern: `{path}` is all that is left, any other word one part of the path."""
    parts = (
        "(?P<path>.+)" if part == "{path}" else f"(?P<{part[1:-1]}>[^/]+)" if part.startswith("{") else re.escape(part)
        for part in route.split("/")
    )
    return re.compile("/".join(parts), re.DOTALL)


_PATTERNS = [(_compile(route), deeds) for route, deeds in ROUTES.items() if "{" in route]


_PREFIXES = {"/ajax-api/": "/api/", "/api/2.0/preview/": "/api/2.0/", "/ajax-api/2.0/preview/": "/api/2.0/"}
_ALIASES = re.compile("^(?:" + "|".join(sorted(_PREFIXES, key=len, reverse=True)) + ")")


@frozen
class Match:
    """The deed of a request, and the parts of its path that vary, decoded."""

    deed: Deed
    places: Mapping[str, str]


def _find_deeds(path: str) -> tuple[Mapping[str, Deed], Mapping[str, str]]:
    if path in ROUTES:
        return ROUTES[path], {}
    for pattern, deeds in _PATTERNS:
        if match := pattern.fullmatch(path):
            return deeds, {name: unquote(value, errors="strict") for name, value in match.groupdict().items()}
    raise Refusal("ENDPOINT_NOT_FOUND", f"there is no `{path[:200]}` here")


def find_deed(method: str, path: str) -> Match:
    """Return what answers a request for a path, as it was sent. Raises Refusal."""
    known = _ALIASES.sub(lambda match: _PREFIXES[match[0]], path, count=1)
    try:
        deeds, places = _find_deeds(known.rstrip("/") or "/" if not known.startswith(_PROXY) else known)
    except UnicodeDecodeError as error:
        raise Refusal("BAD_REQUEST", "the request's path is not in UTF-8") from error
    deed = deeds.get("GET" if method == "HEAD" else method)
    if deed is None:
        raise Refusal("BAD_REQUEST", f"`{method}` is not for `{path[:200]}`: {', '.join(deeds)}", status=405)
    return Match(deed=deed, places=places)
