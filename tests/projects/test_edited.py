"""Run scripts as their own text says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Cli, TestEnvironment
from readable_store import ReadableStore

from repro.errors import ReproError, UsageError
from repro.projects.edited import Signature, make_edited_request, sign, wait_for_save, watch
from repro.projects.request import RunRequest


def test_the_request_is_the_files_and_what_is_asked_for_wins(tmp_path: Path) -> None:
    Path("train.py").write_text("# !source repro.run(restore=True, python='p', alpha=0.5, beta=1)\n")
    plain = make_edited_request(RunRequest(), "train.py", [], cwd=Path.cwd())
    assert (plain.entry_point, plain.restore, plain.python) == ("train.py", True, "p")
    assert plain.parameters == ("alpha=0.5", "beta=1")
    asked = make_edited_request(RunRequest(python="q", snapshot=False), "train.py", ["alpha=2"], cwd=Path.cwd())
    assert (asked.python, asked.snapshot, asked.parameters) == ("q", False, ("alpha=2", "beta=1"))


def test_a_file_that_does_not_ask_for_it_is_not_run() -> None:
    Path("train.py").write_text("print(1)\n")
    with pytest.raises(UsageError, match=r"`train\.py` does not say that repro runs it"):
        make_edited_request(RunRequest(), "train.py", [], cwd=Path.cwd())


def test_a_byte_order_mark_hides_nothing() -> None:
    Path("train.py").write_text("\ufeff# !source repro.run\n", encoding="utf-8")
    assert make_edited_request(RunRequest(), "train.py", [], cwd=Path.cwd()).entry_point == "train.py"


def test_a_file_is_run_as_it_says(cli: Cli, environment: TestEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_PYTHON_BIN", environment.python)
    Path("train.py").write_text(
        "# !source repro.run(snapshot=False, rate=1e-3)\nimport repro\nprint(repro.param('rate', 0.5))\n"
    )
    done = cli("exec", "train.py", "--json")
    assert "0.001" in done.stderr
    run_id = json.loads(done.stdout)["run_id"]
    assert ReadableStore(Path("mlruns")).read_params(run_id) == {"rate": "1e-3"}
    assert cli("exec", "train.py", "-P", "rate=2").stdout == "2.0\n"
    assert not Path("requirements-lock.txt").exists()


def test_a_save_is_waited_for_until_the_file_stands_still() -> None:
    looks: list[Signature] = [(1, 1, 1), (1, 1, 1), None, (2, 0, 2), (2, 5, 2), (2, 9, 2), (2, 9, 2), (3, 3, 3)]
    naps: list[float] = []
    wait_for_save(Path("x"), (1, 1, 1), sleep=naps.append, look=lambda _: looks.pop(0))
    assert looks == [(3, 3, 3)]
    assert len(naps) == 6


def test_a_save_during_a_run_is_run_afterwards_and_ctrl_c_ends() -> None:
    path = Path("train.py")
    path.write_text("1")
    seen: list[Signature] = []
    codes = [0, 1, 130]

    def run() -> int:
        path.write_text("saved while it runs" + "!" * len(codes))
        return codes.pop(0)

    def wait(_: Path, before: Signature) -> None:
        seen.append(before)
        assert sign(path) != before, "it would wait for another save"

    assert watch(path, run, show=pytest.fail, wait=wait) == 130
    assert len(seen) == 2


def test_a_mistake_is_shown_and_the_next_save_is_waited_for() -> None:
    shown: list[ReproError] = []
    outcomes = [UsageError("a mistake"), 130]

    def run() -> int:
        outcome = outcomes.pop(0)
        if isinstance(outcome, ReproError):
            raise outcome
        return outcome

    assert watch(Path("train.py"), run, show=shown.append, wait=lambda *_: None) == 130
    assert [str(each) for each in shown] == ["a mistake"]


def wait_for_runs(messages: Path, count: int) -> None:
    for _ in range(600):
        if messages.read_text().count("waiting for the next save") >= count:
            return
        time.sleep(0.1)
    pytest.fail(f"{count} runs never ended")


def test_a_file_is_run_again_at_each_save_until_ctrl_c(
    environment: TestEnvironment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_PYTHON_BIN", environment.python)
    script = "# !source repro.run(snapshot=False, observe=False)\nprint('value', {})\n"
    Path("train.py").write_text(script.format(1))
    said, messages = tmp_path / "said", tmp_path / "messages"
    with said.open("w") as stdout, messages.open("w") as stderr:
        command = [sys.executable, "-m", "repro", "watch", "train.py", "--cache", str(tmp_path / "cache")]
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr)
        try:
            wait_for_runs(messages, 1)
            Path("new.py").write_text(script.format(2))
            os.replace("new.py", "train.py")
            wait_for_runs(messages, 2)
        finally:
            process.send_signal(signal.SIGINT)
            code = process.wait(30)
    assert code == 130
    assert said.read_text().splitlines() == ["value 1", "value 2"]
    assert [info.status.name for info in ReadableStore(Path("mlruns")).list_runs()] == ["FINISHED", "FINISHED"]
