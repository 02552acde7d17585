"""Which runs that say RUNNING are ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from readable_store import ReadableStore

from repro.formats.run_meta import RunStatus
from repro.tracking.entities import Page, Run, RunQuery
from repro.tracking.process_mark import TAG, Life, find_life, mark_process, parse_mark
from repro.tracking.reap import Verdict, reap_runs


def mark_ended_process() -> str:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    text = mark_process(process.pid)
    process.communicate(b"\n")
    return text


def find_text_life(text: str) -> Life:
    mark = parse_mark(text)
    assert mark
    return find_life(mark)


def test_a_process_is_alive_until_it_has_ended() -> None:
    assert find_text_life(mark_process()) is Life.ALIVE
    assert find_text_life(mark_ended_process()) is Life.GONE


@pytest.mark.parametrize(
    ("change", "life"),
    [
        ({"host": "elsewhere"}, Life.ELSEWHERE),
        ({"namespace": "pid:[1]"}, Life.ELSEWHERE),
        ({"boot": "earlier"}, Life.GONE),
        ({"started": 1}, Life.GONE),
        ({"pid": 2**40}, Life.GONE),
        ({"pid": -1}, Life.GONE),
        ({"pid": 0}, Life.GONE),
    ],
)
def test_another_process_is_not_taken_for_it(change: dict[str, object], life: Life) -> None:
    assert find_text_life(json.dumps(json.loads(mark_process()) | change)) is life


@pytest.mark.parametrize("text", ["", "x", "[]", "{}", '{"host": 1}', "[" * 100_000, "null"])
def test_what_is_no_mark_is_none(text: str) -> None:
    assert parse_mark(text) is None


class Slow(ReadableStore):
    """A store whose run ends, well, just after a search has read it."""

    def search_runs(self, query: RunQuery) -> Page[Run]:
        page = super().search_runs(query)
        for run in page:
            self.update_run(run.run_id, status=RunStatus.FINISHED, end_time_ms=2)
        return page


def test_a_run_that_ends_while_it_is_judged_stays_as_it_has_ended(tmp_path: Path) -> None:
    store = Slow(tmp_path / "mlruns")
    run_id = store.start(tags={TAG: mark_ended_process()})
    assert reap_runs(store, now_ms=3) == []
    assert store.get_info(run_id).status is RunStatus.FINISHED


def test_a_runner_that_was_killed_is_found(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "main.py").write_text("import os, signal; os.kill(os.getppid(), signal.SIGKILL); input()")
    store = ReadableStore(tmp_path / "mlruns")
    environ = {**os.environ, "MLFLOW_TRACKING_URI": store.uri, "MLFLOW_PYTHON_BIN": sys.executable}
    command = [sys.executable, "-m", "repro", "run", str(project), "-e", "main.py", "--no-snapshot"]
    subprocess.run(command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    (run,) = store.list_runs()
    assert run.status is RunStatus.RUNNING
    assert [each.verdict for each in reap_runs(store, now_ms=3)] == [Verdict.GONE]
    assert store.get_info(run.run_id).status is RunStatus.KILLED
