from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.errors import ReproError, TrackingError
from repro.formats.run_meta import (
    Experiment,
    MetricPoint,
    RunInfo,
    RunStatus,
    check_key,
    format_experiment_meta,
    format_metric_line,
    format_run_meta,
    parse_experiment_meta,
    parse_metric_line,
    parse_run_meta,
)

WORDS = st.text(st.characters(exclude_categories=("C",)), min_size=1)
TIMES_MS = st.integers(0, 2**53)
RUN_META = """\
artifact_uri: file:///runs/0/0af/artifacts
end_time: null
entry_point_name: ''
experiment_id: '0'
lifecycle_stage: active
run_id: '0af'
run_name: first
run_uuid: '0af'
source_name: ''
source_type: 4
source_version: ''
start_time: 1700000000000
status: 1
tags: []
user_id: ada
"""


def test_a_run_is_written_as_mlflow_writes_it() -> None:
    run = RunInfo(
        run_id="0af",
        experiment_id="0",
        run_name="first",
        user_id="ada",
        status=RunStatus.RUNNING,
        start_time_ms=1700000000000,
        end_time_ms=None,
        artifact_uri="file:///runs/0/0af/artifacts",
    )
    assert format_run_meta(run) == RUN_META
    assert parse_run_meta(RUN_META) == run


@given(
    st.builds(
        RunInfo,
        run_id=st.from_regex(r"[0-9a-f]{32}", fullmatch=True),
        experiment_id=st.from_regex(r"[1-9][0-9]{17}", fullmatch=True),
        run_name=WORDS,
        user_id=WORDS,
        status=st.sampled_from(RunStatus),
        start_time_ms=TIMES_MS,
        end_time_ms=st.none() | TIMES_MS,
        artifact_uri=WORDS,
        lifecycle_stage=st.sampled_from(["active", "deleted"]),
    )
)
def test_a_written_run_reads_back(run: RunInfo) -> None:
    assert parse_run_meta(format_run_meta(run)) == run


@given(st.builds(Experiment, experiment_id=WORDS, name=WORDS, artifact_location=WORDS, creation_time_ms=TIMES_MS,
                 last_update_time_ms=TIMES_MS, lifecycle_stage=st.sampled_from(["active", "deleted"])))  # fmt: skip
def test_a_written_experiment_reads_back(experiment: Experiment) -> None:
    assert parse_experiment_meta(format_experiment_meta(experiment)) == experiment


@pytest.mark.parametrize("text", ["{}", "run_id: a\n", "- a\n", RUN_META.replace("status: 1", "status: 9")])
def test_another_file_is_no_run(text: str) -> None:
    with pytest.raises(ReproError):
        parse_run_meta(text)


@given(st.builds(MetricPoint, value=st.floats(allow_nan=False), timestamp_ms=TIMES_MS, step=st.integers()))
def test_a_written_point_reads_back(point: MetricPoint) -> None:
    line = format_metric_line(point)
    assert line.endswith("\n")
    assert parse_metric_line(line) == point


@pytest.mark.parametrize(
    ("line", "point"),
    [
        ("5 0.5", MetricPoint(value=0.5, timestamp_ms=5)),
        ("5 0.5 -2\n", MetricPoint(value=0.5, timestamp_ms=5, step=-2)),
        ("5 inf 1 data 0af", MetricPoint(value=math.inf, timestamp_ms=5, step=1)),
    ],
)
def test_a_point_has_two_three_or_five_fields(line: str, point: MetricPoint) -> None:
    assert parse_metric_line(line) == point


def test_a_point_may_be_no_number() -> None:
    assert math.isnan(parse_metric_line(format_metric_line(MetricPoint(value=math.nan, timestamp_ms=1))).value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("5", "`5` is no metric line (1 fields)"),
        ("1 2 3 4", "`1 2 3 4` is no metric line (4 fields)"),
        ("x 0.5 1", "`x 0.5 1` is no metric line (invalid literal for int() with base 10: 'x')"),
    ],
)
def test_another_line_is_no_point(line: str, message: str) -> None:
    with pytest.raises(TrackingError) as caught:
        parse_metric_line(line)
    assert caught.value.message == message


@pytest.mark.parametrize("key", ["a", "loss/train", "a b", "x:1", "..a", "ü", "a" * 250])
def test_a_key_may_be_a_path_of_names(key: str) -> None:
    check_key("metric", key)


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a\n", "a\\b", "a" * 251])
def test_a_key_stays_in_its_directory(key: str) -> None:
    with pytest.raises(TrackingError) as caught:
        check_key("metric", key)
    assert caught.value.message == f"`{key}` is no name for a metric"
