from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Cli, LocalIndex, TestEnvironment
from readable_store import ReadableStore

from repro.cli.run_table import draw_sparkline, format_duration, format_number, make_run_table
from repro.formats.run_meta import MetricPoint, RunStatus
from repro.tracking.entities import Batch, Metric
from repro.tracking.process_mark import TAG, mark_process
from repro.tracking.reap import REAPED_TAG


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReadableStore:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return ReadableStore(tmp_path / "mlruns")


def make_run(store: ReadableStore, name: str, *, alpha: str = "0.5", rmse: float = 1.0) -> str:
    run_id = store.start(name=name)
    points = [
        Metric(key="rmse", point=MetricPoint(value=rmse + 9 - step, timestamp_ms=5, step=step)) for step in range(10)
    ]
    store.log_batch(run_id, Batch(params={"alpha": alpha, "same": "x"}, metrics=points))
    store.write_artifact(run_id, "plots/a.txt", b"a")
    store.update_run(run_id, status=RunStatus.FINISHED, end_time_ms=1501)
    return run_id


def points(*values: float) -> list[MetricPoint]:
    return [MetricPoint(value=value, timestamp_ms=0, step=step) for step, value in enumerate(values)]


@pytest.mark.parametrize(
    ("values", "line"),
    [((), ""), ((1.0,), "▁"), ((0.0, 1.0), "▁█"), ((3.0, 3.0), "▁▁"), ((0.0, float("nan"), 7.0), "▁ █"),
     ((float("nan"),), " "), ((0.0, float("inf"), 1.0), "▁ █"), ((-1.7e308, 0.0, 1.7e308), "▁▅█"), ((0, 5e-324), "▁▁")],
)  # fmt: skip
def test_a_metrics_course_is_drawn_in_a_line(values: tuple[float, ...], line: str) -> None:
    assert draw_sparkline(points(*values)) == line


def test_a_long_course_is_drawn_by_means() -> None:
    assert draw_sparkline(points(*range(1000)), width=8) == "▁▂▃▄▅▆▇█"


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [(0, "0 ms"), (999, "999 ms"), (1501, "1.5 s"), (90_000, "1.5 min"), (3_600_000, "1 h"), (86_400_000 * 2, "2 d")],
)
def test_a_duration_is_said_in_its_unit(duration_ms: int, text: str) -> None:
    assert format_duration(duration_ms) == text


def test_a_number_has_the_digits_that_people_compare() -> None:
    assert [format_number(value) for value in (0.1 + 0.2, 1e-9, 123456789.0)] == ["0.3", "1e-09", "1.23457e+08"]


def test_what_differs_gets_the_columns_there_are(store: ReadableStore) -> None:
    runs = [store.get_run(make_run(store, f"r{alpha}", alpha=alpha)) for alpha in ("0.1", "0.2")]
    columns, rows = make_run_table(runs, width=90)
    assert columns == ["run", "name", "status", "started", "took", "rmse", "alpha"]
    assert rows[0][5:] == ["1", "0.1"]


def test_runs_are_listed_searched_and_shown(store: ReadableStore, cli: Cli) -> None:
    first, second = make_run(store, "first", rmse=0.7), make_run(store, "second", rmse=0.9)
    assert {first[:8], second[:8]} <= set(cli("runs", "list").stdout.split())
    found = json.loads(cli("runs", "list", "-n", "1", "--json").stdout)
    assert len(found["runs"]) == 1
    shown = cli("runs", "show", first[:8]).stdout
    for word in (first, "FINISHED", "1.5 s", "alpha", "▁", "plots/a.txt"):
        assert word in shown
    assert json.loads(cli("runs", "show", "second", "--json").stdout)["info"]["run_id"] == second


def test_an_empty_store_is_no_error(store: ReadableStore, cli: Cli) -> None:
    listed = cli("runs", "list")
    assert listed.stdout == ""
    assert "no runs in" in listed.stderr
    assert json.loads(cli("runs", "list", "--json").stdout)["runs"] == []


def test_a_run_is_deleted_and_brought_back(store: ReadableStore, cli: Cli) -> None:
    run_id = make_run(store, "first")
    assert cli("runs", "delete", run_id).stdout == f"deleted first ({run_id})\n"
    assert json.loads(cli("runs", "list", "--json").stdout)["runs"] == []
    assert len(json.loads(cli("runs", "list", "--deleted", "--json").stdout)["runs"]) == 1
    assert json.loads(cli("runs", "restore", run_id, "--json").stdout) == {"restored": [run_id]}
    assert len(json.loads(cli("runs", "list", "--json").stdout)["runs"]) == 1


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("runs", "show", "nothing"), 5, "there is no run `nothing`"),
        (("runs", "show", "0" * 32), 5, f"there is no run `{'0' * 32}`"),
        (("runs", "list", "-x", "wine"), 5, "there is no experiment `wine`"),
        (("runs", "compare", "a"), 2, "one run cannot be compared"),
        (("runs", "list", "-n", "-1"), 2, "`-1` is no number of runs"),
        (("runs", "lst"), 2, "did you mean `repro runs list`?"),
        (("runs", "reap", "--older-than", "soon"), 2, "`soon` is no period"),
        (("experiments", "delete", "0"), 5, "the default experiment cannot be deleted"),
        (("experiments", "create", " "), 5, "an experiment needs a name"),
        (("experiments", "tag", "Default", "team"), 2, "`team` is no tag"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said_in_a_sentence(
    store: ReadableStore, cli: Cli, args: tuple[str, ...], code: int, message: str
) -> None:
    make_run(store, "first")
    assert message in cli(*args, code=code).stderr


def test_a_word_that_two_runs_have_is_refused(store: ReadableStore, cli: Cli) -> None:
    make_run(store, "same")
    make_run(store, "same")
    assert "`same` may be 2 runs" in cli("runs", "show", "same", code=2).stderr


def test_experiments_are_made_named_tagged_deleted_and_brought_back(store: ReadableStore, cli: Cli) -> None:
    experiment_id = cli("experiments", "create", "wine").stdout.strip()
    cli("experiments", "rename", "wine", "red")
    cli("experiments", "tag", "red", "team=x", "kind=y")
    cli("experiments", "tag", experiment_id, "kind=")
    (_, red) = sorted(
        json.loads(cli("experiments", "list", "--json").stdout)["experiments"], key=lambda each: each["name"]
    )
    assert (red["name"], red["tags"]) == ("red", [{"key": "team", "value": "x"}])
    cli("experiments", "delete", "red")
    assert "red" not in cli("experiments", "list").stdout
    assert "red" in cli("experiments", "list", "--deleted").stdout
    assert "there is an experiment `red` already, deleted" in cli("experiments", "create", "red", code=5).stderr
    cli("experiments", "restore", experiment_id)
    assert "red" in cli("experiments", "list").stdout


def test_artifacts_are_kept_listed_and_copied(store: ReadableStore, cli: Cli, tmp_path: Path) -> None:
    run_id = make_run(store, "first")
    Path("made").mkdir()
    Path("made", "b.txt").write_text("b")
    cli("artifacts", "log", run_id, "made", "--to", "more")
    assert "plots/" in cli("artifacts", "list", run_id).stdout
    files = json.loads(cli("artifacts", "list", run_id, "more/made", "--json").stdout)["files"]
    assert files == [{"path": "more/made/b.txt", "is_dir": False, "file_size": 1}]
    place = Path(cli("artifacts", "download", run_id, "more", "--to", "out").stdout.strip())
    assert (place / "made" / "b.txt").read_text() == "b"
    assert "there is no artifact `gone`" in cli("artifacts", "download", run_id, "gone", code=5).stderr
    assert "leads out of the run" in cli("artifacts", "download", run_id, "../meta.yaml", code=5).stderr


def test_runs_are_compared_with_their_environments(
    store: ReadableStore, cli: Cli, environment: TestEnvironment, index: LocalIndex
) -> None:
    def train(value: int) -> str:
        Path("t.py").write_text(f"import repro; repro.log_param('p', {value})")
        result = json.loads(cli("run", ".", "-e", "t.py", "--python", environment.python, "--json").stdout)
        return str(result["run_id"])

    first = train(1)
    index.add("alpha", "1.1")
    environment.install("alpha==1.1")
    second = train(2)
    shown = cli("runs", "compare", first, second).stdout
    assert "*  p" in shown
    assert "alpha" in shown
    compared = json.loads(cli("runs", "compare", first, second, "--json").stdout)
    assert [change["name"] for change in compared["environments"][0]["changed"]] == ["alpha"]
    third = make_run(store, "third")
    assert "not known, a run has no snapshot" in cli("runs", "compare", first, third).stdout


def test_runs_whose_process_is_gone_are_ended(store: ReadableStore, cli: Cli) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        gone = store.start(name="gone", tags={TAG: mark_process(process.pid)})
        assert process.stdin
    alive = store.start(name="alive", tags={TAG: mark_process(os.getpid())})
    other = mark_process().replace(os.uname().nodename, "elsewhere")
    elsewhere, unknown = store.start(name="far", tags={TAG: other}), store.start(name="mlflow's")
    looked = json.loads(cli("runs", "reap", "--dry-run", "--json").stdout)["runs"]
    assert {each["run_name"]: each["ended"] for each in looked} == {
        "gone": True, "alive": False, "far": False, "mlflow's": False
    }  # fmt: skip
    assert store.get_info(gone).status is RunStatus.RUNNING
    cli("runs", "reap")
    assert store.get_info(gone).status is RunStatus.KILLED
    assert store.read_tags(gone)[REAPED_TAG] == "its process is gone"
    cli("runs", "reap", "--older-than", "1d")
    stands = [store.get_info(run_id).status.name for run_id in (alive, elsewhere, unknown)]
    assert stands == ["RUNNING", "KILLED", "KILLED"]


def run_on_a_terminal(*args: str) -> str:
    """Run the command with its output on a terminal, and return what that is sent."""
    ours, its = os.openpty()
    with subprocess.Popen([sys.executable, "-m", "repro", *args], stdout=its, stderr=its, stdin=its) as process:
        os.close(its)
        shown = b""
        try:
            while block := os.read(ours, 1 << 16):
                shown += block
        except OSError:  # Linux says so that nobody has the other end any more
            pass
    os.close(ours)
    assert process.returncode == 0, shown.decode()
    return shown.decode()


@pytest.mark.parametrize("deed", [("runs", "list"), ("runs", "show"), ("runs", "compare"), ("experiments", "list")])
def test_no_value_is_obeyed_by_the_terminal(store: ReadableStore, deed: tuple[str, ...]) -> None:
    hostile = "[/red]\x1b[2J\x07 a\nb"
    store.create_experiment(hostile)
    first, second = (store.start(name=hostile, tags={"t": hostile}) for _ in range(2))
    store.log_param(first, "p", hostile)
    words = {"show": (first,), "compare": (first, second)}.get(deed[1], ())
    shown = run_on_a_terminal(*deed, *words)
    assert "[/red]" in shown
    assert "\x1b[2J" not in shown
    assert "\x07" not in shown
    assert (
        "\x1b[2J"
        not in subprocess.run(
            [sys.executable, "-m", "repro", *deed, *words], capture_output=True, text=True, check=True
        ).stdout
    )
