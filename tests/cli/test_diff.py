"""`repro diff`: each kind of operand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import Cli, TestEnvironment

PYLOCK = """\
lock-version = "1.0"
created-by = "test"
[[packages]]
name = "alpha"
version = "1.0"
wheels = [{url = "https://example.org/alpha-1.0-py3-none-any.whl", hashes = {sha256 = "HASH"}}]
[[packages]]
name = "beta"
version = "2.1"
wheels = [{url = "https://example.org/beta-2.1-py3-none-any.whl", hashes = {sha256 = "HASH"}}]
""".replace("HASH", "a" * 64)
RUN_ID = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def lock(environment: TestEnvironment, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The lock of the environment, in the working directory; the environment has another beta since."""
    monkeypatch.setenv("MLFLOW_PYTHON_BIN", environment.python)
    cli("snapshot")
    environment.install("beta==2.1")
    return Path("requirements-lock.txt")


def make_run(lock: Path | None, run_id: str = RUN_ID) -> Path:
    run = Path("mlruns", "0", run_id)
    (run / "artifacts").mkdir(parents=True)
    (run / "meta.yaml").write_text("")
    if lock:
        shutil.copy(lock, run / "artifacts")
    return run


def diff(cli: Cli, before: str, after: str, *, code: int) -> dict[str, object]:
    return dict(json.loads(cli("diff", before, after, "--json", code=code).stdout))


def test_a_dot_is_this_environment_and_a_path_is_the_lock_there(environment: TestEnvironment, cli: Cli) -> None:
    content = diff(cli, "./", ".", code=1)
    assert content["before"] == "requirements-lock.txt"
    assert content["after"] == f"the environment of {environment.python}"
    assert content["command"] == f"pip --python {environment.python} install --no-deps beta==2.0"
    assert cli("diff", "./", str(Path.cwd())).stdout == "no difference\n"
    assert "both sides are it" in cli("diff", ".", ".", code=2).stderr


def test_two_locks_are_mended_by_restoring_the_first(lock: Path, cli: Cli) -> None:
    other = Path("other.txt")
    shutil.copy(lock, other)
    cli("snapshot")
    done = cli("diff", str(other), str(lock), code=1)
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["used", "beta", "2.0", "2.1", "changed"] in rows
    assert done.stdout.endswith("\nmend it: repro restore other.txt\n")


@pytest.mark.parametrize("word", [RUN_ID, f"runs:/{RUN_ID}", f"mlruns/0/{RUN_ID}"])
def test_a_run_is_named_by_its_id_its_uri_or_its_directory(word: str, lock: Path, cli: Cli) -> None:
    make_run(lock)
    assert diff(cli, word, "./", code=0)["before"] == f"run {RUN_ID}"
    assert diff(cli, word, ".", code=1)["worst"] == "used"


def test_the_runs_are_those_of_the_tracking_directory(
    lock: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(lock)
    shutil.move("mlruns", tmp_path / "elsewhere")
    assert f"there is no run `{RUN_ID}`" in cli("diff", RUN_ID, ".", code=3).stderr
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(tmp_path / "elsewhere"))
    cli("diff", RUN_ID, "./")


def test_a_run_that_repro_run_kept_is_found(cli: Cli) -> None:
    Path("train.py").write_text("")
    run_id = json.loads(cli("run", ".", "-e", "train.py", "--json").stdout)["run_id"]
    assert diff(cli, run_id, ".", code=0)["equal"] is True
    assert diff(cli, "./", run_id, code=1)["worst"] == "used"


def test_a_model_is_its_lock_else_its_pins_with_fewer_guarantees(lock: Path, cli: Cli) -> None:
    model = Path("model")
    model.mkdir()
    (model / "MLmodel").write_text("")
    assert "neither `requirements-lock.txt` nor `requirements.txt`" in cli("diff", "model", ".", code=3).stderr
    (model / "requirements.txt").write_text("alpha==1.0\nbeta==2.1\n")
    done = cli("diff", "model", ".")
    assert "`model/requirements.txt` is a plain requirements file" in done.stderr
    shutil.copy(lock, model)
    for word in ("model", "model/MLmodel"):
        assert diff(cli, word, "./", code=0)["before"] == "model/requirements-lock.txt"


def test_a_model_of_a_run_is_named_by_its_uri(lock: Path, cli: Cli) -> None:
    model = make_run(None) / "artifacts" / "some" / "model"
    model.mkdir(parents=True)
    (model / "MLmodel").write_text("")
    shutil.copy(lock, model)
    assert diff(cli, f"runs:/{RUN_ID}/some/model", "./", code=0)["equal"] is True
    for artifact in ("nope", "../../x", "../../meta.yaml"):
        assert "has no artifact" in cli("diff", f"runs:/{RUN_ID}/{artifact}", ".", code=3).stderr


@pytest.mark.parametrize("name", ["pylock.toml", "pylock.dev.toml", "sub/pylock.toml"])
def test_a_pylock_is_compared_by_names_and_versions(name: str, cli: Cli) -> None:
    Path("sub").mkdir()
    Path(name).write_text(PYLOCK)
    done = cli("diff", name, ".")
    assert "is a pylock.toml: names and versions are compared" in done.stderr
    content = diff(cli, "sub" if name.startswith("sub") else name, "./", code=1)
    assert content["command"] == "repro restore ."


@pytest.mark.parametrize(
    ("word", "code", "sentence"),
    [
        ("nowhere", 3, "there is no snapshot at `nowhere`"),
        ("f" * 32, 3, f"there is no run `{'f' * 32}`"),
        ("runs:/nope", 3, "there is no run `nope`"),
        ("runs:/..", 3, "there is no run `..`"),
        ("runs:/*", 3, "there is no run `*`"),
        (RUN_ID, 3, "has no artifact `requirements-lock.txt`"),
        ("a" * 32, 2, "is a path here and looks like the id of a run"),
        ("poetry.toml", 2, "is no lock: of TOML files only `pylock.toml`"),
        ("pylock.bad.toml", 3, "is not a pylock.toml"),
        ("pylock.latin.toml", 3, "is not text"),
        ("loose.txt", 3, "is neither a lock of repro nor fully pinned"),
        ("", 2, "empty"),
    ],
)
def test_a_bad_operand_gets_one_sentence(word: str, code: int, sentence: str, cli: Cli) -> None:
    make_run(None)
    Path("a" * 32).mkdir()
    Path("poetry.toml").touch()
    Path("pylock.bad.toml").write_text("x = ")
    Path("pylock.latin.toml").write_bytes(b"\xff")
    Path("loose.txt").write_text("alpha>=1\n")
    assert sentence in cli("diff", word, ".", code=code).stderr


def test_runs_of_a_server_are_refused_and_other_operands_do_not_care(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://example.org")
    refused = cli("diff", RUN_ID, ".", code=3).stderr
    assert f"the run `{RUN_ID}` is on a server" in refused
    assert f"repro artifacts download {RUN_ID} requirements-lock.txt" in refused
    cli("diff", "./", ".", code=1)
