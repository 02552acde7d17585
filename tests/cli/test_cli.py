"""The command line as a user meets it: real processes, exit codes, one sentence for each bad input."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from importlib import import_module
from pathlib import Path

import pytest
from conftest import Cli, LocalIndex, TestEnvironment

from repro.cli.main import COMMANDS


@pytest.fixture
def project(environment: TestEnvironment, cli: Cli, tmp_path: Path) -> Path:
    """A project with the lock of an environment."""
    path = tmp_path / "project"
    path.mkdir()
    cli("snapshot", str(path), "--python", environment.python)
    return path


def list_commands() -> list[tuple[str, ...]]:
    """Return the words of each command, those of a family with the deed."""
    found: list[tuple[str, ...]] = []
    for name in COMMANDS:
        deeds = getattr(import_module(f"repro.cli.commands.{name}"), "DEEDS", None)
        found += [(name, deed) for deed in deeds.deeds] if deeds else [(name,)]
    return found


def test_help_lists_every_command_and_each_has_examples(cli: Cli) -> None:
    text = cli("--help").stdout
    for command in COMMANDS:
        assert command in text
    for words in list_commands():
        assert "examples:" in cli(*words, "--help").stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_names_every_option_of_every_command(shell: str, cli: Cli) -> None:
    script = cli("completion", shell).stdout
    for words in list_commands():
        if words == ("completion",):
            continue
        assert set(words) <= set(re.findall(r"[\w-]+", script))
        lines = cli(*words, "--help").stdout.split("options:")[1].split("examples:")[0].splitlines()
        shown = {word.strip(",") for line in lines for word in line.split()[:4] if word.startswith("--")}
        for option in shown:
            assert option.lstrip("-") in script, (words, option)
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_a_snapshot_says_what_changed_and_check_only_answers(
    project: Path, environment: TestEnvironment, cli: Cli
) -> None:
    args = ("snapshot", str(project), "--python", environment.python)
    assert cli(*args, "--check").stdout.splitlines()[-1] == "  nothing changed since the last lock"
    environment.install("beta==2.1")
    before = (project / "requirements-lock.txt").read_bytes()
    assert "~ beta 2.0 -> 2.1" in cli(*args, "--check", code=1).stdout
    assert (project / "requirements-lock.txt").read_bytes() == before
    assert "~ beta 2.0 -> 2.1" in cli(*args).stdout
    assert json.loads(cli(*args, "--json").stdout)["would_change"] is False


def test_a_lock_may_go_to_standard_output(project: Path, environment: TestEnvironment, cli: Cli) -> None:
    lock = project / "requirements-lock.txt"
    content = lock.read_text()
    args = ("snapshot", str(project), "--python", environment.python, "-o")
    lock.unlink()
    for name in ("-", "/dev/stdout"):  # a pipe, which is not read for the lock that was there before
        assert cli(*args, name).stdout.startswith(content)
        assert not lock.exists()
    assert cli(*args, "-").stdout == content
    assert "leave one out" in cli(*args, "-", "--check", code=2).stderr


def test_a_lock_that_is_a_link_or_private_stays_so(project: Path, environment: TestEnvironment, cli: Cli) -> None:
    lock = project / "requirements-lock.txt"
    shared = project.parent / "shared.txt"
    lock.rename(shared)
    shared.chmod(0o600)
    lock.symlink_to(shared)
    environment.install("beta==2.1")
    cli("snapshot", str(project), "--python", environment.python)
    assert lock.is_symlink()
    assert (shared.stat().st_mode & 0o777, "beta==2.1" in shared.read_text()) == (0o600, True)


def test_restore_prints_where_the_environment_is_and_json_has_its_fields(project: Path, cli: Cli) -> None:
    first = json.loads(cli("restore", str(project), "--json").stdout)
    assert {"python", "path", "key", "digest", "reused", "seconds"} <= first.keys()
    assert (first["reused"], Path(first["python"]).exists()) == (False, True)
    assert json.loads(cli("restore", str(project), "--json").stdout)["reused"] is True
    assert "was ready" in cli("restore", str(project)).stdout


def test_a_command_runs_inside_and_its_exit_code_is_ours(project: Path, cli: Cli) -> None:
    script = "import alpha, sys, os; print(alpha.VERSION, os.environ.get('PYTHONPATH')); sys.exit(7)"
    done = cli("restore", str(project), "--", "python", "-c", script, code=7)
    assert done.stdout.splitlines() == ["1.0 None"]
    outcome = json.loads(cli("restore", str(project), "--json", "--", "sh", "-c", "kill -9 $$", code=137).stdout)
    assert (outcome["stage"], outcome["exit_code"]) == ("child", 137)


def test_status_and_diff_answer_with_exit_codes(project: Path, environment: TestEnvironment, cli: Cli) -> None:
    status = ("status", str(project), "--python", environment.python)
    assert "equals" in cli(*status).stdout
    other = project.parent / "other.txt"
    other.write_bytes((project / "requirements-lock.txt").read_bytes())
    assert cli("diff", str(project), str(other)).stdout == "no difference\n"
    environment.install("beta==2.1", "gamma-ray==0.5")
    rows = [line.split() for line in cli(*status, code=1).stdout.splitlines()]
    assert ["used", "beta", "2.0", "2.1", "changed"] in rows
    assert ["extra", "gamma-ray", "-", "0.5", "added"] in rows
    cli("snapshot", str(project), "--python", environment.python)
    content = json.loads(cli("diff", str(other), str(project), "--json", code=1).stdout)
    assert content["changed"][0]["name"] == "beta"
    assert content["added"] == [{"name": "gamma-ray", "class": "extra", "version": "0.5"}]


def test_verbose_echoes_each_command(project: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "+ " in cli("restore", str(project), "-v").stderr
    monkeypatch.setenv("MLFLOW_VERBOSE", "1")
    assert "probe.py" in cli("status", str(project), code=None).stderr


def test_mlflow_python_bin_names_the_interpreter(
    environment: TestEnvironment, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_PYTHON_BIN", environment.python)
    assert json.loads(cli("snapshot", "--json").stdout)["distributions"] == 2
    monkeypatch.setenv("MLFLOW_PYTHON_BIN", "/no/such/python")
    assert "`/no/such/python` cannot be run" in cli("snapshot", code=4).stderr


def test_the_active_environment_comes_before_path(
    environment: TestEnvironment, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRTUAL_ENV", str(environment.path))
    assert json.loads(cli("snapshot", "--json").stdout)["python"] == environment.python


def edit(project: Path, old: str, new: str) -> None:
    lock = project / "requirements-lock.txt"
    text = lock.read_text()
    assert old in text
    lock.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "code", "sentence"),
    [
        ("repro-lock: 1", "repro-lock: 2", 3, "has lock format `2`; this repro reads format 1"),
        ("alpha==1.0", "alpha>=1.0", 3, "`alpha>=1.0"),
        ("beta==2.0", "alpha==2.0", 3, "`alpha` stands twice"),
        ("--hash=sha256:", "--hash=sha256:z", 3, "is not a sha256 hash"),
        ('"version": "3.', '"version": "2.', 4, "no Python on this machine fits the lock"),
        ("alpha==1.0", "alpha==1.7", 4, "an index does not have a version of the lock"),
    ],
)
def test_each_bad_lock_gets_one_sentence_and_leaves_nothing(
    old: str, new: str, code: int, sentence: str, project: Path, cli: Cli
) -> None:
    edit(project, old, new)
    done = cli("restore", str(project), code=code)
    assert sentence in done.stderr
    assert "hint: " in done.stderr
    assert not list(cli.cache.glob("repro/v1/envs/*/*"))


def test_a_lock_that_comes_through_a_pipe_is_restored(project: Path, cli: Cli) -> None:
    lock = project / "requirements-lock.txt"
    for how in ("restored", "was ready"):
        pipe = Path("pipe")
        os.mkfifo(pipe)
        writer = threading.Thread(target=pipe.write_bytes, args=(lock.read_bytes(),))
        writer.start()
        assert how in cli("restore", "pipe").stdout
        writer.join()
        pipe.unlink()


@pytest.mark.parametrize("text", ["", "# nothing\n"])
def test_a_lock_without_a_line_is_no_empty_environment(text: str, cli: Cli) -> None:
    Path("requirements-lock.txt").write_text(text)
    for command in ("restore", "status"):
        assert "`requirements-lock.txt` names no distribution" in cli(command, code=3).stderr
    assert not list(cli.cache.glob("repro/v1/envs/*"))


def test_a_lock_edited_by_hand_is_said(project: Path, cli: Cli) -> None:
    lock = project / "requirements-lock.txt"
    text = lock.read_text()
    lock.write_text(text[: text.index("\nbeta==2.0")] + "\n")
    for _ in range(2):
        assert "was edited by hand" in cli("restore", str(project)).stderr


@pytest.mark.parametrize(
    ("args", "code", "sentence"),
    [
        (("restore", "nowhere"), 3, "there is no snapshot at `nowhere`"),
        (("restore", "--python", "/no/python"), 4, "cannot be run as a Python interpreter"),
        (("restore", "--cache", "/dev/null/x"), 4, "cannot be written"),
        (("restore", "--cache", "a:b"), 2, "has a `:`, a tab or a line break in its path"),
        (("restore", "--cache", "~no-such-user/x"), 2, "`~no-such-user/x` names a home directory, and there is none"),
        (("restore", "--"), 2, "there is no command behind `--`"),
        (("restore", "--nonsense"), 2, "unrecognized arguments: --nonsense"),
        (("restore", "--", "no-such-command"), 2, "`no-such-command` cannot be started"),
        (("snapshot", "nowhere"), 2, "`nowhere` is not a directory"),
        (("snapshot", "-o", "/dev/null/lock"), 5, "cannot be written"),
        (("diff", "nowhere", "."), 3, "there is no snapshot at `nowhere`"),
        (("run", "nowhere"), 2, "there is no project directory `nowhere`"),
        (("run", "."), 2, "has no entry point `main`"),
        (("run", ".", "-e", "train.py", "-P", "alpha"), 2, "`-P alpha` is not `NAME=VALUE`"),
        (("run", ".", "-e", "train.py", "-P", "a=1", "-P", "a=2"), 2, "the parameter `a` is given twice"),
        (("run", ".", "-e", "../train.py"), 2, "lies outside the project"),
        (("nonsense",), 2, "there is no command `nonsense`"),
    ],
)
def test_each_bad_input_gets_one_sentence_and_its_exit_code(
    args: tuple[str, ...],
    code: int,
    sentence: str,
    project: Path,
    environment: TestEnvironment,
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setenv("MLFLOW_PYTHON_BIN", environment.python)
    Path("train.py").write_text("")
    assert sentence in cli(*args, code=code).stderr
    assert not Path("mlruns").exists()


def test_an_error_is_json_too(cli: Cli) -> None:
    content = json.loads(cli("restore", "--json", code=3).stdout)
    assert content["stage"] == "prepare"
    assert content["exit_code"] == 3
    assert "repro snapshot" in content["error"]["hint"]


def test_a_look_up_imports_nothing_that_it_does_not_need(project: Path, cli: Cli) -> None:
    cli("restore", str(project))
    heavy = {
        "re",
        "enum",
        "json",
        "argparse",
        "signal",
        "shutil",
        "hashlib",
        "dataclasses",
        "typing",
        "subprocess",
        "yaml",
        "rich",
        "pathlib",
        "asyncio",
        "filelock",
    }
    script = (
        "import sys; from repro.cli.main import main; "
        f"main(['restore', {str(project)!r}, '--cache', {str(cli.cache)!r}]); "
        f"print(sorted({heavy!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_importing_repro_imports_nothing() -> None:
    script = "import sys; before = set(sys.modules); import repro; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['repro']"


def test_the_face_has_every_name_it_lists() -> None:
    import repro

    for name in repro.__all__:
        assert getattr(repro, name) is not None
    with pytest.raises(AttributeError):
        repro.nonsense  # noqa: B018


def test_the_api_does_what_the_commands_do(
    environment: TestEnvironment, cache: Path, tmp_path: Path, index: LocalIndex
) -> None:
    import repro

    project = tmp_path / "api"
    project.mkdir()
    snapshot = repro.snapshot(project, python=environment.python, cache=cache)
    assert [each.name for each in snapshot.distributions] == ["alpha", "beta"]
    made = repro.restore(project, cache)
    again = repro.restore_or_warn(True, project, cache=cache)
    assert again is not None
    assert again.path == made.path
    assert repro.restore_or_warn(False, project, cache=cache, python=made.python) is None
    environment.install("beta==2.1")
    with pytest.warns(repro.SnapshotNotRestoredWarning, match=r"beta \(locked 2.0, installed 2.1\)"):
        repro.restore_or_warn(False, project, cache=cache, python=environment.python)
