"""Models as a server's JSON: what we write and read is the same, and what MLflow's server has answered is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from repro.errors import TrackingError
from repro.formats.model_meta import LoggedModel, ModelStatus, ModelVersion, RegisteredModel
from repro.tracking.model_wire import (
    format_logged_model,
    format_model_version,
    format_registered_model,
    parse_logged_model,
    parse_model_version,
    parse_registered_model,
)

CALLS = Path(__file__).resolve().parents[2] / "fixtures" / "rest_calls"


def read_answer(name: str) -> Any:
    """Return what MLflow's server has answered to a recorded call."""
    return json.loads((CALLS / f"{name}.json").read_text())["response"]


def test_what_is_written_is_read_again() -> None:
    logged = LoggedModel(
        model_id="m-1", experiment_id="0", name="model", artifact_location="mlflow-artifacts:/0/models/m-1/artifacts",
        created_ms=1, updated_ms=2, status=ModelStatus.READY, model_type="tree", source_run_id="a",
        tags={"t": "1"}, params={"p": "2"},
    )  # fmt: skip
    assert parse_logged_model(format_logged_model(logged, artifact_uri=logged.artifact_location)) == logged
    version = ModelVersion(
        name="wine", version=3, created_ms=1, updated_ms=2, source="models:/m-1", storage_location="models:/m-1",
        description="d", stage="Staging", run_id="a", run_link="l", model_id="m-1", tags={"t": "1"}, aliases=("a", "b"),
    )  # fmt: skip
    assert parse_model_version(format_model_version(version, source=version.source)) == version
    model = RegisteredModel(
        name="wine", created_ms=1, updated_ms=2, description="d", tags={"t": "1"}, aliases={"champion": 3}
    )
    assert parse_registered_model(format_registered_model(model, [])) == model


def test_what_mlflows_server_has_answered_is_read() -> None:
    version = parse_model_version(read_answer("41-model-alias-get")["model_version"])
    assert (version.version, version.aliases, version.stage) == (1, ("champion",), "None")
    moved = parse_model_version(read_answer("43-model-latest-versions")["model_versions"][0])
    assert (moved.stage, moved.name) == ("Production", version.name)
    first, second = map(parse_registered_model, read_answer("44-registered-model-search")["registered_models"])
    assert (first.aliases, second.aliases, second.description) == ({}, {"champion": 1}, "d")
    logged = parse_logged_model(read_answer("31-logged-model-create")["model"])
    assert (logged.name, logged.status, logged.params) == ("model", ModelStatus.PENDING, {"p": "1"})
    assert logged.artifact_location == f"mlflow-artifacts:/2/models/{logged.model_id}/artifacts"


@pytest.mark.parametrize(
    ("source", "model_id"), [("models:/m-1", "m-1"), ("models:/a/1", None), ("models:/a@b", None), ("/m-1", None)]
)
def test_the_logged_model_of_a_version_is_read_from_its_source(source: str, model_id: str | None) -> None:
    assert parse_model_version({"name": "wine", "version": "1", "source": source}).model_id == model_id


@pytest.mark.parametrize("fields", [{}, {"name": "wine"}, {"name": "wine", "version": "x"}, {"name": 1, "version": 1}])
def test_an_answer_that_is_no_version_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(TrackingError):
        parse_model_version(fields)
