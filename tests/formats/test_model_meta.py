"""The `meta.yaml` files of models, as MLflow 3.17.2 writes them, and round trips."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.errors import TrackingError
from repro.formats.model_meta import (
    LoggedModel,
    ModelMetric,
    ModelStatus,
    ModelVersion,
    RegisteredModel,
    format_logged_model_meta,
    format_model_metric_line,
    format_model_version_meta,
    format_registered_model_meta,
    parse_logged_model_meta,
    parse_model_metric_line,
    parse_model_version_meta,
    parse_registered_model_meta,
)
from repro.formats.run_meta import MetricPoint

LOGGED = """\
artifact_location: file:///data/mlruns/0/models/m-807e/artifacts
creation_timestamp: 1795572959583
experiment_id: '0'
last_updated_timestamp: 1795572971118
model_id: m-807e
model_type: null
name: model
source_run_id: 18b4180bebff4717b55e6af0c7ba36e4
status: 2
status_message: null
"""
VERSION = """\
creation_timestamp: 1795572971127
current_stage: Production
deployment_job_state: null
description: null
last_updated_timestamp: 1795572971169
model_id: m-807e
name: reg
run_id: 18b4180bebff4717b55e6af0c7ba36e4
run_link: null
source: models:/m-807e
status: READY
status_message: null
storage_location: file:///data/mlruns/0/models/m-807e/artifacts
user_id: null
version: 1
workspace: default
"""
REGISTERED = """\
aliases:
  champ: '1'
creation_timestamp: 1795572971125
deployment_job_id: null
deployment_job_state: null
description: descr
last_updated_timestamp: 1795572971169
name: reg
workspace: default
"""
TEXTS = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1)


def test_a_logged_model_of_mlflow_is_read() -> None:
    assert parse_logged_model_meta(LOGGED) == LoggedModel(
        model_id="m-807e",
        experiment_id="0",
        name="model",
        artifact_location="file:///data/mlruns/0/models/m-807e/artifacts",
        created_ms=1795572959583,
        updated_ms=1795572971118,
        status=ModelStatus.READY,
        source_run_id="18b4180bebff4717b55e6af0c7ba36e4",
    )


def test_a_version_of_mlflow_is_read_and_written_alike() -> None:
    version = parse_model_version_meta(VERSION)
    assert (version.name, version.version, version.stage, version.model_id) == ("reg", 1, "Production", "m-807e")
    assert format_model_version_meta(version) == VERSION


def test_a_registered_model_of_mlflow_is_read() -> None:
    model = parse_registered_model_meta(REGISTERED)
    assert (model.name, model.description, model.created_ms) == ("reg", "descr", 1795572971125)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name: x\n", "'model_id'"),
        (LOGGED.replace("status: 2", "status: 9"), "9 is no status"),
        (LOGGED.replace("1795572959583", "soon"), "invalid literal"),
        ("- a\n", "not a YAML mapping"),
        ("a: [\n", "not valid YAML"),
    ],
)
def test_a_damaged_file_is_named(text: str, reason: str) -> None:
    with pytest.raises(TrackingError, match="the/place") as caught:
        parse_logged_model_meta(text, where="the/place")
    assert reason in caught.value.message


@given(name=TEXTS, source=TEXTS, description=st.none() | TEXTS, number=st.integers(1, 10**9))
def test_versions_round_trip(name: str, source: str, description: str | None, number: int) -> None:
    version = ModelVersion(
        name=name,
        version=number,
        created_ms=1,
        updated_ms=2,
        source=source,
        storage_location=source,
        description=description,
    )
    assert parse_model_version_meta(format_model_version_meta(version)) == version


@given(name=TEXTS, description=st.none() | TEXTS)
def test_registered_models_round_trip(name: str, description: str | None) -> None:
    model = RegisteredModel(name=name, created_ms=1, updated_ms=2, description=description)
    assert parse_registered_model_meta(format_registered_model_meta(model)) == model


@given(name=TEXTS, kind=st.none() | TEXTS, status=st.sampled_from(ModelStatus))
def test_logged_models_round_trip(name: str, kind: str | None, status: ModelStatus) -> None:
    model = LoggedModel(
        model_id="m-1", experiment_id="0", name=name, artifact_location="file:///x", created_ms=1, updated_ms=2,
        status=status, model_type=kind, lifecycle_stage="deleted",
    )  # fmt: skip
    assert parse_logged_model_meta(format_logged_model_meta(model)) == model


@pytest.mark.parametrize("dataset", [(None, None), ("wine", "abc")])
@given(value=st.floats(allow_nan=False), step=st.integers(-(2**62), 2**62))
def test_metric_lines_round_trip(dataset: tuple[str | None, str | None], value: float, step: int) -> None:
    point = MetricPoint(value=value, timestamp_ms=5, step=step)
    metric = ModelMetric(key="k", point=point, run_id="r", dataset_name=dataset[0], dataset_digest=dataset[1])
    assert parse_model_metric_line("k", format_model_metric_line(metric)) == metric


def test_a_metric_line_of_mlflow_is_read() -> None:
    metric = parse_model_metric_line("m1", "1795572971136 nan 0 18b4\n")
    assert math.isnan(metric.point.value)
    assert metric.run_id == "18b4"


@pytest.mark.parametrize("name", ["two words", "tab\tbed", ""])
def test_a_datasets_name_that_no_line_can_hold_is_left_out(name: str) -> None:
    point = MetricPoint(value=1.0, timestamp_ms=5)
    metric = ModelMetric(key="k", point=point, run_id="r", dataset_name=name, dataset_digest="abc")
    assert format_model_metric_line(metric) == "5 1.0 0 r\n"


@pytest.mark.parametrize("line", ["", "1 2 3", "1 2 3 r d", "x 2 3 r", "1 x 3 r"])
def test_a_damaged_line_is_named(line: str) -> None:
    with pytest.raises(TrackingError, match="no metric line of a model"):
        parse_model_metric_line("k", line)
