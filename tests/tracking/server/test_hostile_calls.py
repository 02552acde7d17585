"""Calls with whatever values: each is answered, and none is the server's own fault."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from api_client import Api
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repro.tracking.server.routes import ROUTES

KEYS = (
    "run_id",
    "run_uuid",
    "experiment_id",
    "experiment_ids",
    "experiment_name",
    "name",
    "new_name",
    "key",
    "value",
    "timestamp",
    "step",
    "metrics",
    "params",
    "tags",
    "datasets",
    "models",
    "model_id",
    "model_json",
    "filter",
    "order_by",
    "max_results",
    "page_token",
    "view_type",
    "run_view_type",
    "status",
    "end_time",
    "start_time",
    "user_id",
    "run_name",
    "artifact_location",
    "path",
    "metric_key",
    "source",
    "version",
    "stage",
    "stages",
    "alias",
    "description",
    "archive_existing_versions",
    "source_run_id",
    "model_type",
    "dataset_name",
    "dataset_digest",
)
WORDS = st.sampled_from(
    [
        "",
        "0",
        "1",
        "m",
        "a/b",
        "..",
        "../..",
        "/etc",
        "\x00",
        "ü",
        "x" * 300,
        "latest",
        "mlflow.runName",
        "NaN",
        "1e999",
        "models:/m/1",
        "models:/x",
        "runs:/x/y",
        "s3://b",
        "mlflow-artifacts:/0/x/artifacts",
        "http://[",
        "name = 'm'",
        "metrics.m > 1",
        "metrics.`m` > 'x'",
        "name IN (",
        "name DESC",
        "%",
        "eyJvZmZzZXQiOiAzfQ==",
        "ACTIVE_ONLY",
        "FINISHED",
    ]
)
SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | WORDS | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS,
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.sampled_from(KEYS), each, max_size=4),
    max_leaves=6,
)
CALLS = sorted((method, path) for path, deeds in ROUTES.items() for method in deeds)


@pytest.mark.parametrize(("method", "route"), CALLS)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fields=st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6), place=WORDS)
def test_no_value_is_the_servers_fault(api: Api, method: str, route: str, fields: dict[str, Any], place: str) -> None:
    run_id = api.create_run()
    path = route.format(path=f"0/{run_id}/artifacts/{quote(place)}", model_id=quote(place, safe="") or "m", tag_key="t")
    fields = {"run_id": run_id, **fields}
    if method == "GET":
        texts = {key: value for key, value in fields.items() if isinstance(value, str | int | float)}
        path = f"{path}?{urlencode({key: str(value).encode('utf-8', 'replace') for key, value in texts.items()})}"
        answer = api.ask(method, path)
    else:
        answer = api.ask(method, path, body=json.dumps(fields).encode())
    assert answer.status < 500 or answer.error_code == "NOT_IMPLEMENTED", answer
