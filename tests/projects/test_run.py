"""Run real projects in real environments."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
from conftest import REPOSITORY, Cli, TestEnvironment
from readable_store import ReadableStore

from repro.formats.run_meta import RunStatus
from repro.snapshots.load import load_lock
from repro.snapshots.used import mark_used

SCRIPT = """\
import sys
import repro
import alpha
value = repro.param("rate", 0.5)
with repro.start_run():
    repro.log_param("seen", value)
    repro.log_metric("twice", value * 2)
    open("made.txt", "w").write("made")
    repro.log_artifact("made.txt")
print(alpha.VERSION, sys.prefix)
"""


@pytest.fixture
def project(tmp_path: Path, environment: TestEnvironment, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without MLproject and without a lock, run with the environment's Python."""
    path = tmp_path / "project"
    path.mkdir()
    (path / "train.py").write_text(SCRIPT)
    monkeypatch.setenv("MLFLOW_PYTHON_BIN", environment.python)
    return path


def get_store() -> ReadableStore:
    return ReadableStore(Path("mlruns"))


def run_json(cli: Cli, *args: str, code: int = 0) -> dict[str, str]:
    return dict(json.loads(cli("run", *args, "--json", code=code).stdout))


def test_a_run_keeps_parameters_metrics_artifacts_status_and_snapshot(
    project: Path, environment: TestEnvironment, cli: Cli
) -> None:
    done = cli("run", str(project), "-e", "train.py", "-P", "rate=1.5")
    assert done.stdout.split() == ["1.0", str(environment.path)]
    run_id = re.findall(r"Run \(ID '([0-9a-f]{32})'\) succeeded", done.stderr)[0]
    store = get_store()
    assert store.get_info(run_id).status is RunStatus.FINISHED
    assert store.read_params(run_id) == {"rate": "1.5", "seen": "1.5"}
    assert store.read_metrics(run_id) == {"twice": 3.0}
    assert store.list_files(run_id) == ["environment.json", "made.txt", "output.log", "requirements-lock.txt"]
    tags = store.read_tags(run_id)
    assert tags["repro.exit_code"] == "0"
    assert tags["repro.restored"] == "false"
    assert tags["mlflow.project.entryPoint"] == "train.py"
    kept, own = load_lock(Path("mlruns", "0", run_id, "artifacts")).snapshot, load_lock(project).snapshot
    assert [each.name for each in kept.distributions if each.used] == ["alpha"]
    assert mark_used(kept, frozenset()) == own


def test_messages_on_stderr_are_the_three_known_ones(project: Path, cli: Cli) -> None:
    lines = [line for line in cli("run", str(project), "-e", "train.py").stderr.splitlines() if line.startswith("===")]
    assert [line.split(" ")[1] for line in lines] == ["Created", "Running", "Run"]
    assert re.fullmatch(r"=== Run \(ID '[0-9a-f]{32}'\) succeeded ===", lines[-1])


def test_a_drifted_project_warns_at_every_run_and_keeps_its_lock(
    project: Path, environment: TestEnvironment, cli: Cli
) -> None:
    for _ in range(2):
        assert "not restored" not in cli("run", str(project), "-e", "train.py").stderr
    before = (project / "requirements-lock.txt").read_bytes()
    environment.install("beta==2.1")
    for _ in range(2):
        lines = cli("run", str(project), "-e", "train.py").stderr.splitlines()
        warnings = [line for line in lines if line.startswith("warning:")]
        assert len(warnings) == 1
        assert "beta (locked 2.0, installed 2.1)" in warnings[0]
        assert f"`repro run {project} -e train.py --restore`" in warnings[0]
    assert (project / "requirements-lock.txt").read_bytes() == before


def test_restored_the_script_runs_in_the_store_and_imports_repro(
    project: Path, environment: TestEnvironment, cli: Cli
) -> None:
    cli("run", str(project), "-e", "train.py")
    environment.install("beta==2.1")
    done = cli("run", str(project), "-e", "train.py", "--restore")
    assert done.stdout.split()[1].startswith(str(cli.cache / "repro"))
    assert "warning" not in done.stderr
    result = run_json(cli, str(project), "-e", "train.py", "--restore")
    assert get_store().read_tags(result["run_id"])["repro.restored"] == "true"
    assert get_store().read_metrics(result["run_id"]) == {"twice": 1.0}


def test_without_a_snapshot_nothing_is_kept_or_written(project: Path, cli: Cli) -> None:
    result = run_json(cli, str(project), "-e", "train.py", "--no-snapshot")
    assert result["digest"] is None
    assert not (project / "requirements-lock.txt").exists()


@pytest.mark.parametrize(
    ("code", "status", "script"),
    [
        (3, RunStatus.FAILED, "import sys; sys.exit(3)"),
        (1, RunStatus.FAILED, "raise ValueError('bad')"),
        (137, RunStatus.KILLED, "import os; os.kill(os.getpid(), 9)"),
        (0, RunStatus.FAILED, "import repro; repro.start_run(); repro.end_run('FAILED')"),
        (0, RunStatus.FINISHED, "pass"),
    ],
)
def test_the_exit_code_is_the_scripts_and_the_status_is_true(
    code: int, status: RunStatus, script: str, project: Path, cli: Cli
) -> None:
    (project / "train.py").write_text(script)
    process = cli.start("run", str(project), "-e", "train.py", "--json")
    stdout, _ = process.communicate(timeout=60)
    assert process.returncode == code
    result = json.loads(stdout)
    assert (result["stage"], result["status"]) == ("child", status.name)
    assert get_store().get_info(result["run_id"]).status is status
    assert (project / "requirements-lock.txt").exists()


def wait_for(path: Path) -> Path:
    """Return a file's path once it is there, at the latest after a minute."""
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return path


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.faults
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_is_killed_with_its_children(number: int, code: int, project: Path, cli: Cli) -> None:
    (project / "train.py").write_text(
        "import os, subprocess, time\n"
        "child = subprocess.Popen(['sleep', '100'])\n"
        "open('pid.new', 'w').write(str(child.pid))\n"
        "os.rename('pid.new', 'pid')\n"
        "time.sleep(100)\n"
    )
    process = cli.start("run", str(project), "-e", "train.py")
    pid_file = wait_for(project / "pid")
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == code
    assert get_store().list_runs()[0].status is RunStatus.KILLED
    pid = int(pid_file.read_text())
    deadline = time.monotonic() + 5
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(pid)


@pytest.mark.faults
def test_a_killed_runner_leaves_no_script_behind(project: Path, cli: Cli) -> None:
    (project / "train.py").write_text(
        "import os, time\nopen('pid.new', 'w').write(str(os.getpid()))\nos.rename('pid.new', 'pid')\ntime.sleep(100)\n"
    )
    process = cli.start("run", str(project), "-e", "train.py")
    pid_file = wait_for(project / "pid")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    deadline = time.monotonic() + 5
    while is_alive(int(pid_file.read_text())) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(int(pid_file.read_text()))


def test_a_script_gets_the_variables_of_its_run(
    project: Path, environment: TestEnvironment, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_PYTHON_BIN", "MLFLOW_TRACKING_URI", "MLFLOW_BIN")
    (project / "show.py").write_text(f"import os; print(*(os.environ.get(name) for name in {names!r}))")
    mlflow = environment.path / "bin" / "mlflow"
    mlflow.write_text("#!/bin/sh\n")
    mlflow.chmod(0o755)
    args = ("run", str(project), "-e", "show.py", "--no-snapshot")
    run_id, *rest = cli(*args).stdout.split()
    assert get_store().get_info(run_id).experiment_id == "0"
    assert rest[0:2] == ["0", environment.python]
    assert rest[2].startswith("http://127.0.0.1:")
    assert rest[3] == str(mlflow)
    monkeypatch.setenv("MLFLOW_BIN", "/named/mlflow")
    assert cli(*args).stdout.split()[-1] == "/named/mlflow"


VALUES = [
    "a b",
    "it's",
    'say "no"',
    "$HOME",
    "; rm -rf x",
    "two\nlines",
    "",
    "--alpha",
    "1e-05",
    "größe",
    "{x}",
    "a\\b",
    "\"$(id)\" '`id`'",
    "1E+5",
    "-0.0",
    "  padded  ",
    "~",
    "*",
    "a=b",
    "日本 🍷",
    "\ttab\r\n",
]


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("declared", [True, False])
def test_every_value_arrives_in_the_script_and_in_the_store_as_it_was_given(
    value: str, declared: bool, project: Path, cli: Cli
) -> None:
    (project / "show.py").write_text("import json, sys; json.dump(sys.argv[2::2], open('argv', 'w'))")
    (project / "MLproject").write_text(
        "entry_points:\n  main:\n    parameters: {text: string}\n"
        "    command: python show.py --text {text} --text '{text}' --text \"{text}\"\n"
    )
    args = ("-P", f"text={value}") if declared else ("-e", "show.py", "-P", f"text={value}")
    result = run_json(cli, str(project), "--no-snapshot", *args)
    assert json.loads((project / "argv").read_text()) == [value] * (3 if declared else 1)
    assert get_store().read_params(result["run_id"]) == {"text": value}


@pytest.mark.parametrize(
    ("mlproject", "sentence"),
    [
        ("entry_points: [", "is not valid YAML"),
        ("- a\n", "is not a YAML mapping"),
        ("name: a\nname: b\n", "the key `name` stands twice"),
        ("entry_points: {main: {command: 3}}", "no `command` in `entry_points.main`"),
        ("entry_points: {main: {command: x, parameters: {a: 3}}}", "`entry_points.main.parameters.a`, line 1"),
        ("python_env: a\nconda_env: b\n", "more than one environment is named"),
        ("entry_points: {main: {command: 'x {nope}'}}", "has a place that no parameter fills"),
    ],
)
def test_a_malformed_mlproject_is_named_with_its_place(mlproject: str, sentence: str, project: Path, cli: Cli) -> None:
    (project / "MLproject").write_text(mlproject)
    assert sentence in cli("run", str(project), code=5).stderr
    assert not Path("mlruns").exists()


@pytest.mark.parametrize(("value", "code"), [("0.5", 0), ("1e-3", 0), ("notafloat", 2), ("", 2)])
def test_a_typed_value_is_checked_before_any_run_exists(value: str, code: int, project: Path, cli: Cli) -> None:
    (project / "MLproject").write_text(
        "entry_points:\n  main:\n    parameters: {alpha: float}\n    command: 'true {alpha}'\n"
    )
    done = cli("run", str(project), "-P", f"alpha={value}", code=code)
    assert ("must be of type float" in done.stderr) == (code == 2)
    assert Path("mlruns").exists() == (code == 0)


def test_a_parameter_without_value_is_asked_for(project: Path, cli: Cli) -> None:
    (project / "MLproject").write_text(
        "entry_points: {main: {command: 'true {a} {b}', parameters: {a: string, b: int}}}\n"
    )
    assert "needs a value for `a`, `b`" in cli("run", str(project), code=2).stderr


def test_an_entry_point_that_is_misspelt_is_suggested(project: Path, cli: Cli) -> None:
    assert "did you mean `-e train.py`?" in cli("run", str(project), "-e", "trian.py", code=2).stderr


def test_a_shell_script_is_an_entry_point(project: Path, cli: Cli) -> None:
    (project / "go.sh").write_text('echo "$1 $2"; python -c "import alpha; print(alpha.VERSION)"')
    assert cli("run", str(project), "-e", "go.sh", "-P", "x=y").stdout.split("\n")[:2] == ["--x y", "1.0"]


def test_an_unsupported_tracking_uri_is_said_before_anything_runs(
    project: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    assert "is not supported by this version" in cli("run", str(project), "-e", "train.py", code=5).stderr


def test_the_parameter_example_of_the_seed_runs(cli: Cli, environment: TestEnvironment) -> None:
    args = ("-e", "params_example.py", "-P", "my_int=10", "-P", "my_num=20.0", "-P", "my_str=XYZ", "--no-snapshot")
    result = run_json(cli, str(REPOSITORY / "fixtures/projects/params"), *args, "--python", environment.python)
    params = get_store().read_params(result["run_id"])
    assert (params["param_int"], params["param_num"], params["param_str"]) == ("10", "20.0", "XYZ")


def test_what_a_run_writes_is_passed_on_and_kept(project: Path, cli: Cli) -> None:
    (project / "talk.py").write_text("import sys; print('hello'); print('beware', file=sys.stderr)")
    done = cli("run", str(project), "-e", "talk.py", "--no-snapshot")
    assert done.stdout == "hello\n"
    assert "\nbeware\n" in done.stderr
    (run,) = get_store().list_runs()
    text = get_store().read_text(run.run_id, "output.log")
    assert text is not None
    assert sorted(text) == sorted("hello\nbeware\n")  # two channels: in which order is the machine's affair


def test_a_run_that_writes_nothing_has_no_log(project: Path, cli: Cli) -> None:
    (project / "quiet.py").write_text("")
    result = run_json(cli, str(project), "-e", "quiet.py", "--no-snapshot")
    assert "output.log" not in get_store().list_files(result["run_id"])


def test_a_run_whose_time_has_passed_is_killed_with_all_its_processes(project: Path, cli: Cli, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    (project / "long.py").write_text(
        "import os, subprocess, sys, time\n"
        f"open({str(pid_file)!r}, 'w').write(str(subprocess.Popen(['sleep', '600']).pid))\n"
        "print('begun', flush=True)\n"
        "time.sleep(600)\n"
    )
    done = cli("run", str(project), "-e", "long.py", "--no-snapshot", "--timeout", "3s", "--json", code=124)
    result = json.loads(done.stdout)
    assert (result["status"], result["exit_code"]) == ("KILLED", 124)
    assert "the run was ended after 3 s" in done.stderr
    assert get_store().get_info(result["run_id"]).status is RunStatus.KILLED
    assert get_store().read_text(result["run_id"], "output.log") == "begun\n"
    assert not is_alive(int(pid_file.read_text()))


def test_a_period_that_is_none_is_refused(project: Path, cli: Cli) -> None:
    assert "`soon` is no period" in cli("run", str(project), "-e", "train.py", "--timeout", "soon", code=2).stderr


def test_an_experiment_that_variables_name_is_that_of_the_run_and_of_those_it_starts(
    project: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "wine")
    (project / "main.py").write_text(
        "import repro\nwith repro.start_run() as first: pass\nwith repro.start_run() as second: pass\n"
        "assert first.info.experiment_id == second.info.experiment_id\n"
    )
    result = run_json(cli, str(project), "-e", "main.py", "--no-snapshot")
    assert get_store().get_experiment(result["experiment_id"]).name == "wine"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
    assert "MLFLOW_EXPERIMENT_NAME `wine` is" in cli("run", str(project), "-e", "main.py", code=5).stderr
