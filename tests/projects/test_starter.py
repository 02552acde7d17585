"""Make directories projects."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Cli, TestEnvironment

from repro.projects.starter import TASKS, add_tasks, ignore_runs


@pytest.fixture(autouse=True)
def project(environment: TestEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_PYTHON_BIN", environment.python)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)


def read_all() -> dict[str, tuple[bytes, int]]:
    files = [path for path in Path().rglob("*") if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_mode) for path in files}


def init(cli: Cli, *args: str) -> dict[str, str]:
    return {each["path"]: each["deed"] for each in json.loads(cli("init", *args, "--json").stdout)["files"]}


def test_a_starter_is_written_once(cli: Cli) -> None:
    planned = init(cli, "--vscode", "--dry-run")
    assert read_all() == {}
    assert init(cli, "--vscode") == planned
    assert planned == {"requirements-lock.txt": "new", ".gitignore": "new", ".vscode/tasks.json": "new"}
    before = read_all()
    assert "alpha==1.0" in before["requirements-lock.txt"][0].decode()
    assert before[".gitignore"][0] == b"mlruns/\n"
    assert set(init(cli, "--vscode").values()) == {"unchanged"}
    assert read_all() == before
    assert cli("init").stdout == "requirements-lock.txt: unchanged\n.gitignore: unchanged\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "mlruns/\n"),
        ("", "mlruns/\n"),
        ("a\n", "a\nmlruns/\n"),
        ("a", "a\nmlruns/\n"),
        ("a\r\n", "a\r\nmlruns/\r\n"),
        ("/mlruns\nb", "/mlruns\nb"),
        ("#mlruns/\n", "#mlruns/\nmlruns/\n"),
    ],
)
def test_runs_are_ignored_once(before: str | None, after: str) -> None:
    assert ignore_runs(before) == after
    assert ignore_runs(after) == after


def test_a_task_of_the_same_label_is_left_alone() -> None:
    own = {"label": TASKS[0]["label"], "command": "mine"}
    text = f'{{"tasks": [{json.dumps(own)}] /* kept */}}'
    added = add_tasks(text, where="x")
    assert json.loads(added.replace("/* kept */", ""))["tasks"] == [own, *TASKS[1:]]
    assert add_tasks(added, where="x") == added


def test_nothing_is_written_where_a_file_is_wrong(cli: Cli) -> None:
    Path(".vscode").mkdir()
    Path(".vscode", "tasks.json").write_text("{")
    before = read_all()
    assert "`.vscode/tasks.json` is not JSON" in cli("init", "--vscode", code=5).stderr
    assert "is in no git repository" in cli("init", "--pre-commit", code=2).stderr
    assert "`gone` is not a directory" in cli("init", "gone", code=2).stderr
    assert read_all() == before


def commit(environment: TestEnvironment, cli: Cli) -> subprocess.CompletedProcess[str]:
    bin_dir = Path("bin")
    bin_dir.mkdir(exist_ok=True)
    shutil.copy(Path(sys.executable).parent / "repro", bin_dir)
    return subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--allow-empty", "-m", "x"],
        env={
            **os.environ,
            "PATH": f"{bin_dir.resolve()}:{os.environ['PATH']}",
            "MLFLOW_SNAPSHOT_CACHE": str(cli.cache),
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_commit_is_refused_where_the_lock_is_not_that_of_the_environment(
    cli: Cli, environment: TestEnvironment
) -> None:
    subprocess.run(["git", "init", "--quiet", "."], check=True)
    Path("sub dir").mkdir()
    assert init(cli, "sub dir", "--pre-commit")[str(Path(".git/hooks/pre-commit").resolve())] == "new"
    assert commit(environment, cli).returncode == 0
    environment.install("beta==2.1")
    refused = commit(environment, cli)
    assert refused.returncode == 1
    assert "beta" in refused.stdout + refused.stderr
    assert set(init(cli, "sub dir", "--pre-commit").values()) == {"unchanged"}


def test_a_hook_that_is_there_is_not_touched(cli: Cli) -> None:
    subprocess.run(["git", "init", "--quiet", "."], check=True)
    hook = Path(".git", "hooks", "pre-commit")
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 0\n")
    done = cli("init", "--pre-commit", code=2)
    assert "there is a hook already" in done.stderr
    assert "add the line `repro snapshot --check || exit 1` to it" in done.stderr
    assert hook.read_text() == "#!/bin/sh\nexit 0\n"
    assert not Path("requirements-lock.txt").exists()


def test_the_hook_is_added_to_the_configuration_of_pre_commit(cli: Cli) -> None:
    subprocess.run(["git", "init", "--quiet", "."], check=True)
    Path(".pre-commit-config.yaml").write_text("repos:\n- repo: https://example.org/hooks\n  rev: v1\n  hooks: []\n")
    assert list(init(cli, "--pre-commit").values()) == ["new", "new", "changed"]
    assert 'entry: "repro snapshot --check"' in Path(".pre-commit-config.yaml").read_text()
    assert not Path(".git", "hooks", "pre-commit").exists()
