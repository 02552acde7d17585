"""Journals and entries: what is kept for a server, in which pieces it is sent, and what a crash leaves of it."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.errors import TrackingError
from repro.formats.run_meta import MetricPoint, RunStatus
from repro.tracking import wire
from repro.tracking.entities import Batch, Metric, NewRun
from repro.tracking.rest import entries
from repro.tracking.rest.address import find_address
from repro.tracking.rest.journal import Journal
from repro.tracking.rest.local_runs import find_local_run, read_local_history
from repro.tracking.rest.outbox import Outbox, RunBox, open_outbox

PARTS = st.text("ab\u00e4 .:-", min_size=1, max_size=8).filter(lambda part: part not in (".", ".."))
KEYS = st.lists(PARTS, min_size=1, max_size=3).map("/".join)
POINTS = st.builds(
    MetricPoint,
    value=st.floats(),
    timestamp_ms=st.integers(0, 2**63 - 1),
    step=st.integers(-(2**63), 2**63 - 1),
)


def same(one: MetricPoint, other: MetricPoint) -> bool:
    values = one.value == other.value or (math.isnan(one.value) and math.isnan(other.value))
    return values and (one.timestamp_ms, one.step) == (other.timestamp_ms, other.step)


@given(key=KEYS, point=POINTS)
def test_a_point_is_the_same_after_its_line(key: str, point: MetricPoint) -> None:
    line = entries.format_point(key, point).encode()
    assert line.startswith(b"m ")
    assert line.count(b"\n") == 1
    metric = entries.parse_point(line)
    assert metric.key == key
    assert same(metric.point, point)


@given(key=KEYS, value=st.text(max_size=50))
def test_a_value_is_the_same_after_its_line(key: str, value: str) -> None:
    for line in (entries.format_param(key, value), entries.format_tag(key, value)):
        assert line.count("\n") == 1
        assert entries.parse_entry(line.encode()) == {"key": key, "value": value}


@given(
    count=st.integers(0, 2600), params=st.integers(0, 250), tags=st.integers(0, 250), others=st.integers(0, 3),
    seed=st.randoms(use_true_random=False),
)  # fmt: skip
def test_chunks_hold_every_line_once_in_order_and_within_the_servers_limits(
    count: int, params: int, tags: int, others: int, seed: object
) -> None:
    lines = [
        *(entries.format_point("m", MetricPoint(value=1.0, timestamp_ms=1, step=step)) for step in range(count)),
        *(entries.format_param(f"p{each}", "1") for each in range(params)),
        *(entries.format_tag(f"t{each}", "1") for each in range(tags)),
        *(entries.format_removed_tag(f"d{each}") for each in range(others)),
    ]
    seed.shuffle(lines)  # type: ignore[attr-defined]
    content = "".join(lines).encode()
    start, found = 0, []
    while chunk := entries.cut_chunk(content[start:], start):
        assert chunk.start == start
        assert len(chunk.metrics) <= 1000
        assert max(len(chunk.params), len(chunk.tags)) <= 100
        assert 0 < len(chunk) <= 1000
        body = json.loads(chunk.format_body("r"))
        assert len(body["metrics"]) + len(body["params"]) + len(body["tags"]) == len(chunk) - (chunk.other is not None)
        found += [*chunk.metrics, *chunk.params, *chunk.tags, *([chunk.other] if chunk.other else [])]
        start = chunk.end
    assert start == len(content)
    assert sorted(found) == sorted(line.rstrip("\n").encode() for line in lines)
    steps = [entries.parse_point(line).point.step for line in found if line[:1] == b"m"]
    logged = [entries.parse_point(line.encode()).point.step for line in lines if line[:1] == "m"]
    assert steps == logged


def test_a_body_stays_below_the_servers_limit() -> None:
    content = "".join(entries.format_param(f"p{each}", "\u20ac" * 6000) for each in range(100)).encode()
    start, sizes = 0, []
    while chunk := entries.cut_chunk(content[start:], start):
        sizes.append(len(chunk.format_body("r" * 32)))
        start = chunk.end
    assert start == len(content)
    assert max(sizes) < 1_000_000


def test_a_batch_has_a_parameter_once_and_of_a_tag_the_last_value() -> None:
    lines = [
        entries.format_param("a", "1"), entries.format_param("a", "1"), entries.format_tag("t", "1"),
        entries.format_tag("t", "2"), entries.format_param("a", "2"),
    ]  # fmt: skip
    content = "".join(lines).encode()
    first = entries.cut_chunk(content, 0)
    assert first is not None
    assert [json.loads(line[2:])["value"] for line in (*first.params, *first.tags)] == ["1", "2"]
    second = entries.cut_chunk(content[first.end :], first.end)
    assert second is not None
    assert [json.loads(line[2:])["value"] for line in second.params] == ["2"]


@pytest.mark.parametrize(
    "batch",
    [
        Batch(params={"a": "x" * 6001}),
        Batch(tags={"a": "x" * 8001}),
        Batch(params={"k" * 251: "x"}),
        Batch(metrics=[Metric(key="m", point=MetricPoint(value=1.0, timestamp_ms=-1))]),
        Batch(metrics=[Metric(key="m", point=MetricPoint(value=1.0, timestamp_ms=2**63))]),
        Batch(metrics=[Metric(key="m", point=MetricPoint(value=1.0, timestamp_ms=1, step=2**63))]),
    ],
)
def test_what_no_server_takes_is_refused_at_the_call(batch: Batch) -> None:
    with pytest.raises(TrackingError):
        entries.format_batch(batch)


def make_lines(first: int, last: int) -> str:
    points = (MetricPoint(value=step / 2, timestamp_ms=step, step=step) for step in range(first, last))
    return "".join(entries.format_point("m", each) for each in points)


def read_steps(journal: Journal) -> list[int]:
    """Send everything, to nowhere."""
    steps = []
    while chunk := journal.read_chunk():
        journal.note_try(chunk)
        steps += [entries.parse_point(line).point.step for line in chunk.metrics]
        journal.note_sent(chunk)
    return steps


@pytest.fixture
def box(tmp_path: Path) -> RunBox:
    return RunBox(tmp_path / "run")


def leave(journal: Journal) -> Path:
    """End as a killed process does."""
    journal.drop()
    return journal.path


def test_a_journal_is_read_on_where_it_was_sent(box: RunBox) -> None:
    journal = box.make_journal()
    journal.append(make_lines(0, 1500))
    chunk = journal.read_chunk()
    assert chunk is not None
    journal.note_try(chunk)
    journal.note_sent(chunk)
    left = Journal.find_left(leave(journal))
    assert left is not None
    following = left.read_chunk()
    assert following is not None
    assert not left.is_doubtful(following)
    assert read_steps(left) == list(range(1000, 1500))
    left.close()
    assert list(box.path.iterdir()) == []


def test_a_batch_that_was_on_its_way_is_doubtful_and_the_next_is_not(box: RunBox) -> None:
    journal = box.make_journal()
    journal.append(make_lines(0, 1500))
    chunk = journal.read_chunk()
    assert chunk is not None
    journal.note_try(chunk)
    left = Journal.find_left(leave(journal))
    assert left is not None
    again = left.read_chunk()
    assert again == chunk
    assert left.is_doubtful(again)
    left.note_sent(again)
    following = left.read_chunk()
    assert following is not None
    assert not left.is_doubtful(following)
    left.drop()


def test_after_another_start_of_the_machine_everything_that_is_not_known_to_be_sent_is_doubtful(box: RunBox) -> None:
    path = box.path / "0a0b0c0d.log"
    box.path.mkdir()
    path.write_text("# another-boot\n" + make_lines(0, 5))
    left = Journal.find_left(path)
    assert left is not None
    chunk = left.read_chunk()
    assert chunk is not None
    assert left.is_doubtful(chunk)
    left.drop()


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_a_last_line_that_was_cut_off_does_not_count(box: RunBox, cut: int) -> None:
    journal = box.make_journal()
    journal.append(make_lines(0, 10))
    path = leave(journal)
    os.truncate(path, path.stat().st_size - cut)
    left = Journal.find_left(path)
    assert left is not None
    assert read_steps(left) == list(range(9))
    left.close()


@pytest.mark.parametrize("content", ["", "# x", "#", "\n", "garbage\n", "m {\n"])
def test_a_damaged_journal_loses_nothing_silently(box: RunBox, content: str) -> None:
    box.path.mkdir()
    path = box.path / "0a0b0c0d.log"
    path.write_text(content)
    left = Journal.find_left(path)
    assert left is not None
    while chunk := left.read_chunk():
        assert chunk.other is not None or chunk.metrics
        left.note_sent(chunk)
    left.close()


def test_marks_that_were_cut_off_do_not_count(box: RunBox) -> None:
    journal = box.make_journal()
    journal.append(make_lines(0, 2500))
    for _ in range(2):
        chunk = journal.read_chunk()
        assert chunk is not None
        journal.note_try(chunk)
        journal.note_sent(chunk)
    path = leave(journal)
    marks = path.with_suffix(".sent")
    os.truncate(marks, marks.stat().st_size - 2)
    left = Journal.find_left(path)
    assert left is not None
    again = left.read_chunk()
    assert again is not None
    assert left.is_doubtful(again)
    assert read_steps(left) == list(range(1000, 2500))
    left.close()


def test_a_journal_that_is_being_written_is_left_alone(box: RunBox) -> None:
    journal = box.make_journal()
    journal.append(make_lines(0, 1))
    assert Journal.find_left(journal.path) is None
    assert box.count_waiting() == 1
    journal.drop()
    left = Journal.find_left(journal.path)
    assert left is not None
    left.drop()


def test_an_outbox_is_private_and_says_whose_it_is(tmp_path: Path) -> None:
    outbox = open_outbox(find_address("https://ada:s3cret@h.example.org", {}), {"REPRO_OUTBOX": "box"}, str(tmp_path))
    assert (outbox.root / "server").read_text() == "https://h.example.org\n"
    assert outbox.root.stat().st_mode & 0o077 == 0
    outbox.get_run("a" * 32).make_journal().close()
    assert outbox.get_run("a" * 32).path.stat().st_mode & 0o077 == 0


def test_an_outbox_is_in_the_working_directory_where_there_is_no_home(tmp_path: Path) -> None:
    address = find_address("https://h.example.org", {})
    outbox = open_outbox(address, {"XDG_STATE_HOME": "/dev/null/state"}, str(tmp_path))
    assert outbox.root == tmp_path / "mlruns" / ".repro" / "outbox" / address.digest
    with pytest.raises(TrackingError, match="REPRO_OUTBOX"):
        open_outbox(address, {"REPRO_OUTBOX": "/dev/null/x"}, str(tmp_path))


def test_ids_are_remembered_by_others(tmp_path: Path) -> None:
    outbox, other = Outbox(tmp_path), Outbox(tmp_path)
    assert other.find_id("local1") == "local1"
    outbox.add_id("local1", "server1")
    with open(tmp_path / "ids", "a") as file:
        file.write("local2 serv")  # cut off
    outbox.add_id("local3", "server3")
    assert (other.find_id("local1"), other.find_id("local2"), other.find_id("local3")) == (
        "server1",
        "local2",
        "server3",
    )
    assert other.list_names("server1") == ("server1", "local1")


@pytest.mark.parametrize("run_id", ["", "..", "a/b", ".", "x" * 200, "a\0"])
def test_an_id_that_is_no_name_of_a_directory_is_refused(tmp_path: Path, run_id: str) -> None:
    with pytest.raises(TrackingError):
        Outbox(tmp_path).get_run(run_id)


def test_a_run_that_is_to_be_made_is_known_with_all_that_was_logged(tmp_path: Path) -> None:
    box = Outbox(tmp_path).get_run("a" * 32)
    box.write_new(NewRun(experiment_id="7", user_id="ada", start_time_ms=5, run_name="n", tags={"k": "v", "gone": ""}))
    journal = box.make_journal()
    journal.append(make_lines(0, 3) + entries.format_param("p", "1") + entries.format_removed_tag("gone"))
    journal.append(entries.format_update(status=RunStatus.FAILED, end_time_ms=9, name="better"))
    run = find_local_run(box)
    assert run is not None
    assert (run.info.status, run.info.end_time_ms, run.info.run_name) == (RunStatus.FAILED, 9, "better")
    assert (run.data.metrics, dict(run.data.params)) == ({"m": 1.0}, {"p": "1"})
    assert dict(run.data.tags) == {"mlflow.runName": "better", "k": "v"}
    assert [point.step for point in read_local_history(box, "m")] == [0, 1, 2]
    journal.drop()


def test_a_batch_in_lines_is_what_the_api_takes() -> None:
    batch = Batch(
        metrics=[Metric(key="m", point=MetricPoint(value=math.inf, timestamp_ms=1, step=2))], params={"p": "1"},
        tags={"t": "2"},
    )  # fmt: skip
    chunk = entries.cut_chunk(entries.format_batch(batch).encode(), 0)
    assert chunk is not None
    assert json.loads(chunk.format_body("r")) == wire.format_batch("r", batch)
