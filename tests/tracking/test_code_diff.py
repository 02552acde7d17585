from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from repro.tracking import git_source
from repro.tracking.code_diff import MAX_FILE_BYTES, MAX_FILES, CodeDiff, make_code_diff
from repro.tracking.git_source import find_git_source, format_git_tags


def git(directory: Path, *args: str) -> str:
    names = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_COMMITTER_NAME": "a",
             "GIT_COMMITTER_EMAIL": "a@example.org", "GIT_CONFIG_GLOBAL": os.devnull}  # fmt: skip
    return subprocess.run(
        ["git", *args], cwd=directory, check=True, capture_output=True, text=True, env={**os.environ, **names}
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git_source._read_source.cache_clear()
    root = tmp_path / "a repo"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    (root / "train.py").write_text("a = 1\n")
    (root / "ü.py").write_text("u = 1\n")
    (root / "run.sh").write_text("echo\n")
    (root / ".gitignore").write_text("ignored/\n")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "first")
    return root


def diff(root: Path) -> CodeDiff:
    git_source._read_source.cache_clear()
    source = find_git_source(root)
    assert source
    return make_code_diff(source)


def names(made: CodeDiff) -> dict[str, str]:
    return {each.path: each.why for each in made.left_out}


def test_a_clean_repository_has_its_commit_branch_and_remote(repository: Path) -> None:
    git(repository, "remote", "add", "origin", "https://user:secret@example.org/r.git")
    source = find_git_source(repository)
    assert source
    assert format_git_tags(source) == {
        "mlflow.source.git.commit": git(repository, "rev-parse", "HEAD"),
        "mlflow.source.git.branch": "main",
        "mlflow.source.git.repoURL": "https://example.org/r.git",
        "mlflow.source.git.dirty": "false",
    }
    assert diff(repository).text == ""


def test_a_detached_head_has_no_branch_and_a_repository_without_commit_no_source(
    repository: Path, tmp_path: Path
) -> None:
    git(repository, "checkout", "-q", "--detach")
    source = find_git_source(repository)
    assert source
    assert source.branch is None
    (tmp_path / "empty").mkdir()
    git(tmp_path / "empty", "init", "-q")
    assert find_git_source(tmp_path / "empty") is None
    assert find_git_source(tmp_path) is None


def test_the_diff_applied_to_the_commit_gives_the_code(repository: Path, tmp_path: Path) -> None:
    (repository / "train.py").write_text("a = 2\nb = 'é'")
    (repository / "ü.py").rename(repository / "moved ü.py")
    (repository / "run.sh").unlink()
    (repository / "new").mkdir()
    (repository / "new" / "made.py").write_text("c = 3\n\nd = 4")
    (repository / "new" / "empty.py").write_text("")
    (repository / "tool").write_text("#!/bin/sh\n")
    (repository / "tool").chmod(0o755)
    (repository / "ignored").mkdir()
    (repository / "ignored" / "x.py").write_text("x\n")
    git(repository, "add", "new/made.py")
    made = diff(repository)
    assert names(made) == {}
    other = tmp_path / "other"
    git(tmp_path, "clone", "-q", str(repository), str(other))
    (tmp_path / "code.diff").write_text(made.text)
    git(other, "apply", str(tmp_path / "code.diff"))
    files = {path.relative_to(other).as_posix(): path for path in other.rglob("*") if ".git" not in path.parts}
    assert sorted(name for name, path in files.items() if path.is_file()) == [
        ".gitignore", "moved ü.py", "new/empty.py", "new/made.py", "tool", "train.py"
    ]  # fmt: skip
    assert (other / "train.py").read_text() == "a = 2\nb = 'é'"
    assert (other / "new" / "made.py").read_text() == "c = 3\n\nd = 4"
    assert (other / "tool").stat().st_mode & 0o100


@pytest.mark.parametrize(
    "name", [".env", "a/.env.local", "id_rsa", "server.pem", "credentials.json", "my_secrets.yaml"]
)
def test_a_file_whose_name_says_secret_is_left_out_and_named(repository: Path, name: str) -> None:
    (repository / name).parent.mkdir(exist_ok=True)
    (repository / name).write_text("harmless\n")
    made = diff(repository)
    assert names(made) == {name: "its name says that it holds secrets"}
    assert made.text == f"# left out: {name} (its name says that it holds secrets)\n"


@pytest.mark.parametrize(
    "line",
    [
        'password = "hunter22"',
        "API_KEY: 'abcdefgh'",
        "url = https://ada:lovelace@example.org/",
        "token = ghp_" + "a1" * 18,
        "-----BEGIN RSA PRIVATE KEY-----",
        "key = AKIA" + "ABCD1234" * 2,
    ],
)
@pytest.mark.parametrize("name", ["train.py", "new.py"])
def test_a_file_with_a_secret_is_left_out_and_named(repository: Path, name: str, line: str) -> None:
    (repository / name).write_text(f"a = 1\n{line}\n")
    made = diff(repository)
    assert list(names(made)) == [name]
    assert "looks as if it held a secret" in names(made)[name]
    assert line not in made.text


def test_code_about_secrets_is_no_secret(repository: Path) -> None:
    (repository / "train.py").write_text("token = os.environ['TOKEN']\npassword = getpass()\nkey = 'alpha'\n")
    assert names(diff(repository)) == {}


def test_what_is_large_or_no_text_is_left_out_and_named(repository: Path) -> None:
    (repository / "data.csv").write_text("1,2\n" * MAX_FILE_BYTES)
    (repository / "model.bin").write_bytes(b"\xff\x00\x01")
    (repository / "zero.txt").write_bytes(b"a\x00b")
    (repository / "link").symlink_to("/etc/passwd")
    (repository / "train.py").write_bytes(b"\xff\xfe\x00")
    made = diff(repository)
    assert names(made) == {
        "data.csv": "it has 1.0 MiB",
        "link": "it is no file of its own",
        "model.bin": "it is no text",
        "train.py": "it is no text",
        "zero.txt": "it is no text",
    }
    assert "data.csv (it has 1.0 MiB)" in made.text


def test_many_new_files_have_a_bound(repository: Path) -> None:
    (repository / "many").mkdir()
    for number in range(300):
        (repository / "many" / f"{number:03}.txt").write_text("x" * 8000)
    made = diff(repository)
    assert len(made.text) < 1200_000
    assert "more than 1.0 MiB" in names(made)["many/299.txt"]


def test_a_script_keeps_its_diff_once_for_each_run(repository: Path) -> None:
    (repository / "train.py").write_text("import repro\nrepro.start_run(); repro.end_run()\nrepro.start_run()\n")
    for uri in ("mlruns", "mlruns", "my runs", "my runs"):  # at the second time there is a directory of runs
        environ = {**os.environ, "REPRO_SNAPSHOT": "0", "MLFLOW_TRACKING_URI": uri}
        subprocess.run([sys.executable, "train.py"], cwd=repository, check=True, env=environ)
    for uri in ("mlruns", "my runs"):
        found = [path.read_text() for path in (repository / uri).rglob("code.diff")]
        assert len(found) == 4
        assert all("+import repro" in text and f"b/{uri}/" not in text for text in found)


@pytest.mark.parametrize(
    "name",
    ["prod.env", ".envrc", ".npmrc", "infra/prod.tfvars", ".aws/config", ".docker/config.json", ".ssh/known", "token",
     "api_key.txt", "passwords.csv", ".bash_history", "kaggle.json", "id_rsa.old"],
)  # fmt: skip
def test_more_names_that_say_secret(repository: Path, name: str) -> None:
    (repository / name).parent.mkdir(exist_ok=True, parents=True)
    (repository / name).write_text("x\n")
    assert names(diff(repository)) == {name: "its name says that it holds secrets"}


@pytest.mark.parametrize(
    "name", ["env.py", "tokens.py", "password.py", "environment.yaml", "token_map.json", "api_key.py"]
)
def test_names_of_code_are_no_secrets(repository: Path, name: str) -> None:
    (repository / name).write_text("x\n")
    assert names(diff(repository)) == {}


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("run.sh", "export AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENGbPxRfiCYEXAMPLEKEY"),
        ("run.sh", "export DB_PASSWORD=correcthorse"),
        ("conf.yaml", "  password: correcthorse"),
        ("conf.ini", "token = 1234567890"),
        ("a.py", "password=hunter22hunter"),
        ("a.py", "client = OpenAI('sk-proj-abcdefghijkl0123')"),
        ("a.py", "url = 'https://0123456789abcdef0123@example.org/x'"),
        ("a.py", "url = 'redis://:hunter2@example.org/0'"),
        ("a.py", "jwt('eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abc')"),
        (".git-token-free.txt", "//registry.example.org/:_authToken=abcdef123456"),
    ],
)
def test_a_secret_without_quotes_is_left_out(repository: Path, name: str, line: str) -> None:
    (repository / name).write_text(f"a\n{line}\nb\n")
    assert line not in diff(repository).text
    assert "looks as if it held a secret" in names(diff(repository))[name]


def test_names_that_cannot_stand_in_a_diff_are_left_out(repository: Path) -> None:
    (repository / "a\nb.py").write_text("x\n")
    (repository / 'a"b.py').write_text("x\n")
    Path(os.fsdecode(os.fsencode(repository) + b"/\xff.py")).write_text("x\n")
    (repository / "good.py").write_text("x\n")
    made = diff(repository)
    assert set(names(made).values()) == {"its name cannot stand in a diff"}
    assert len(made.left_out) == 3
    assert "+++ b/good.py\n" in made.text
    assert all(
        line.startswith(("# left out: ", "diff ", "new ", "--- ", "+++ ", "@@", "+")) for line in made.text.splitlines()
    )


def test_a_users_configuration_of_git_does_not_change_the_diff(repository: Path) -> None:
    git(repository, "config", "diff.noprefix", "true")
    git(repository, "config", "diff.upper.textconv", "tr a-z A-Z <")
    (repository / ".gitattributes").write_text("*.py diff=upper\n")
    (repository / "train.py").write_text("a = 2\n")
    (repository / ":(top)*").write_text("x\n")
    git(repository, "add", "-N", "./:(top)*")
    text = diff(repository).text
    assert "--- a/train.py\n+++ b/train.py\n" in text
    assert "+a = 2" in text


def test_of_very_many_files_most_are_named_only(repository: Path) -> None:
    for number in range(MAX_FILES + 5):
        (repository / f"{number}.py").touch()
    assert len(diff(repository).left_out) == 5
