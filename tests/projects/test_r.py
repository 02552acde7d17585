"""Run R scripts with a real R."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import REPOSITORY, Cli, TestEnvironment
from readable_store import ReadableStore

from repro.formats.run_meta import RunStatus
from repro.projects.r_record import R_PROFILE, keep_r_dependencies
from repro.tracking.file_store import FileStore

needs_r = pytest.mark.skipif(
    shutil.which("Rscript") is None, reason="Rscript is not on PATH (Debian: apt-get install r-base-core)"
)


def has_r_packages() -> bool:
    if shutil.which("Rscript") is None:
        return False
    code = 'quit(status = !all(nzchar(system.file(package = c("httr"))), nzchar(system.file(package = c("jsonlite")))))'
    return subprocess.run(["Rscript", "-e", code], capture_output=True, check=False).returncode == 0


@pytest.fixture(params=["served", "files"])
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How a script logs: through the tracking server, or into the run's files."""
    if request.param == "files":
        monkeypatch.setenv("REPRO_R_TRANSPORT", "files")
    elif not has_r_packages():
        pytest.skip("R has no httr and jsonlite (Debian: apt-get install r-cran-httr r-cran-jsonlite)")
    return str(request.param)


@pytest.fixture
def python(environment: TestEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_PYTHON_BIN", environment.python)


def run(cli: Cli, *args: str, code: int = 0) -> tuple[str, str]:
    """Return the id of a run and what it said."""
    done = cli("run", ".", "-e", "train.R", "--no-snapshot", "--json", *args, code=code)
    return json.loads(done.stdout)["run_id"], done.stderr


@pytest.mark.r
@needs_r
@pytest.mark.usefixtures("python")
def test_the_wine_project_in_r_is_run(cli: Cli, transport: str) -> None:
    shutil.copytree(REPOSITORY / "fixtures" / "projects" / "r_wine", ".", dirs_exist_ok=True)
    run_id, _ = run(cli, "-P", "alpha=0.25")
    store = ReadableStore(Path("mlruns"))
    assert store.get_info(run_id).status is RunStatus.FINISHED
    assert store.read_params(run_id) == {"alpha": "0.25"}
    metrics = store.read_metrics(run_id)
    predicted = [tuple(map(float, line.split(","))) for line in Path("predicted.csv").read_text().splitlines()[1:]]
    rmse = math.sqrt(sum((each[0] - each[1]) ** 2 for each in predicted) / len(predicted))
    assert metrics["rmse"] == pytest.approx(rmse, rel=1e-12)
    assert store.read_text(run_id, "predicted.csv") == Path("predicted.csv").read_text()
    kept = store.read_text(run_id, "r-dependencies.txt")
    assert kept == Path("r-dependencies.txt").read_text()
    assert ("Package: httr\n" in kept) == (transport == "served")


VALUES = """\
log_metric("pi", pi)
log_metric("third", 1 / 3, step = 7L)
log_metric("many", 1e300)
log_metric("nothing", NaN)
log_metric("all/of", -Inf)
log_param("big", 100000)
log_param("small", 1e-20)
log_param("whole", 3L)
log_param("text", param("text", type = "string"))
log_param("text", param("text", type = "string"))
log_param("sum", 0.1 + 0.2)
dir.create("made/deep", recursive = TRUE)
cat("a", file = "made/deep/a b.txt")
log_artifact("made", "into")
print(try(log_param("whole", 4L)))
print(try(log_param("../up", 1)))
print(try(log_metric("word", "many")))
print(try(log_artifact("gone.txt")))
repro$log_metric("again", 1)
"""


@pytest.mark.r
@needs_r
@pytest.mark.usefixtures("python")
def test_what_is_logged_arrives_as_it_was(cli: Cli, transport: str) -> None:
    Path("train.R").write_text(VALUES)
    text = "a b 'ä' \"$HOME\"\nnext"
    run_id, said = run(cli, "-P", f"text={text}")
    store = ReadableStore(Path("mlruns"))
    metrics = store.read_metrics(run_id)
    assert math.isnan(metrics.pop("nothing"))
    lowest = metrics.pop("all/of")
    assert lowest < -1e300
    assert metrics == {"pi": math.pi, "third": 1 / 3, "many": 1e300, "again": 1.0}
    assert [point.step for point in store.get_metric_history(run_id, "third")] == [7]
    assert store.read_params(run_id) == {
        "big": "100000", "small": "1e-20", "whole": "3", "text": text, "sum": "0.30000000000000004",
    }  # fmt: skip
    assert store.read_text(run_id, "into/deep/a b.txt") == "a"
    assert "`3` and cannot become `4`" in said
    assert "`../up` is no name of a parameter" in said
    assert "the metric `word` must be one number" in said
    assert "there is no file `gone.txt` to keep" in said
    assert not list(Path("mlruns").rglob("*.tmp"))


@pytest.mark.r
@needs_r
@pytest.mark.parametrize(
    ("call", "line", "said"),
    [
        ('"x", 12', "", "double 12"),
        ('"x", 12L', "", "integer 12"),
        ('"x", 0.5', "--x 1e3", "double 1000"),
        ('"my_x", 0.5', "--my-x=3", "double 3"),
        ('"x", "a"', "--x no", "character no"),
        ('"x", "a"', "--x=", "character "),
        ('"x", type = "string"', "--args --x 007", "character 007"),
        ('"x", TRUE', "--x no", "logical FALSE"),
        ('"x", type = "integer"', "--x -3 --x 4", "integer 4"),
        ('"x", 10, "integer"', "", "integer 10"),
        ('"x"', "", "the parameter `x` has neither a default nor a type"),
        ('"x", type = "colour"', "", "the parameter `x` has the unknown type `colour`"),
        ('"x", type = "numeric"', "", "the parameter `x` needs a value"),
        ('"x", "a", "numeric"', "", "the default of parameter `x` must be of type numeric, and `a` is not"),
        ('"x", 1.5, "integer"', "", "the default of parameter `x` must be of type integer, and `1.5` is not"),
        ('"x", NaN, "integer"', "", "the default of parameter `x` must be of type integer, and `NaN` is not"),
        ('"x", 1L', "--x 1.0", "the value of parameter `x` must be of type integer, and `1.0` is not"),
        ('"x", 1', "--x 0x1", "the value of parameter `x` must be of type numeric, and `0x1` is not"),
        ('"x", TRUE, "numeric"', "", "the default of parameter `x` must be of type numeric, and `TRUE` is not"),
        ('"x", 1', "--x", "the parameter `x` has no value behind `--x`"),
    ],
)
def test_a_parameter_is_read_as_in_python(call: str, line: str, said: str) -> None:
    Path("a.R").write_text(f"x <- param({call}); cat(typeof(x), as.character(x), '\\n')\n")
    environ = {**os.environ, "R_PROFILE_USER": R_PROFILE}
    done = subprocess.run(["Rscript", "a.R", *line.split()], env=environ, capture_output=True, text=True, check=False)
    assert said in (done.stdout + done.stderr).replace("\n  ", " ")


@pytest.mark.r
@needs_r
@pytest.mark.usefixtures("python")
def test_packages_are_recorded_where_the_script_fails_and_the_users_profile_is_run(cli: Cli) -> None:
    Path(".Rprofile").write_text("own <- 'from the profile'\n")
    Path("train.R").write_text("cat(own, '\\n'); library(tools); stop('broken')\n")
    run_id, said = run(cli, code=1)
    store = ReadableStore(Path("mlruns"))
    assert "from the profile" in said
    assert store.get_info(run_id).status is RunStatus.FAILED
    assert (store.read_text(run_id, "r-dependencies.txt") or "").startswith("RVersion: ")


@pytest.mark.r
@needs_r
@pytest.mark.usefixtures("python")
def test_what_differs_from_the_record_is_said(cli: Cli) -> None:
    Path("train.R").write_text("1\n")
    cli("run", ".", "-e", "train.R")
    assert "R equals r-dependencies.txt: 0 packages" in cli("status", "--no-code").stdout
    record = Path("r-dependencies.txt")
    recorded = record.read_text()
    record.write_text(recorded.replace("RVersion: ", "RVersion: 0.") + "\nPackage: nowhere\nVersion: 1.2\n")
    done = cli("status", "--no-code", code=1)
    assert ["nowhere", "1.2", "not", "installed"] in [line.split() for line in done.stdout.splitlines()]
    content = json.loads(cli("status", "--no-code", "--json", code=1).stdout)
    assert content["agrees"] is False
    assert [each["name"] for each in content["r"]["differences"]] == ["R", "nowhere"]
    before = record.read_text()
    assert "warning: R was" in cli("run", ".", "-e", "train.R").stderr
    assert record.read_text() == before


@pytest.mark.usefixtures("python")
def test_without_r_nothing_is_run(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("train.R").write_text("1\n")
    Path("bin").mkdir()
    for name in ("bash", "env"):
        os.symlink(str(shutil.which(name)), Path("bin", name))
    monkeypatch.setenv("PATH", str(Path("bin").resolve()))
    done = cli("run", ".", "-e", "train.R", code=2)
    assert "there is no `Rscript` on PATH" in done.stderr
    assert not Path("mlruns").exists()


def test_the_notes_of_a_run_are_not_trusted(tmp_path: Path) -> None:
    store = ReadableStore(tmp_path / "mlruns")
    run_id = store.start()
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "r-1.txt").write_text("nonsense")
    (notes / "r-2.txt").mkdir()
    (notes / "r-3.txt").symlink_to("/etc/passwd")
    assert keep_r_dependencies(store, run_id, str(notes), tmp_path) == []
    assert not (tmp_path / "r-dependencies.txt").exists()
    (notes / "r-4.txt").write_text("RVersion: 4.2.2\n\nPackage: a\nVersion: 1\n")
    assert keep_r_dependencies(store, run_id, str(notes), tmp_path) == []
    assert "Package: a\n" in (tmp_path / "r-dependencies.txt").read_text()
    (notes / "r-4.txt").write_text("RVersion: 4.2.2\n\nPackage: a\nVersion: 2\n")
    assert keep_r_dependencies(FileStore(store.root), store.start(), str(notes), tmp_path) == [
        "a was 2, and is 1 in r-dependencies.txt"
    ]
