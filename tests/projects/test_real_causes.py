"""Why real projects fail elsewhere, one tiny project each: they run with one command, or say why not in a sentence."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, Cli, LocalIndex
from readable_store import ReadableStore
from repositories import commit, make_work

from repro.formats.run_meta import RunStatus
from repro.process import Runner
from repro.snapshots.load import load_lock
from repro.snapshots.old_pip import find_old_pip

MINOR = "{}.{}".format(*sys.version_info[:2])


@pytest.fixture(autouse=True)
def python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run with our own interpreter."""
    monkeypatch.setenv("MLFLOW_PYTHON_BIN", sys.executable)


def take_project(name: str, directory: Path) -> Path:
    """Return a copy of a fixture, which a run may write into."""
    return Path(shutil.copytree(REPOSITORY / "fixtures" / "projects" / name, directory / name))


def get_only_run() -> tuple[ReadableStore, str]:
    store = ReadableStore(Path("mlruns"))
    (run,) = store.list_runs()
    return store, run.run_id


def test_the_pip_part_of_conda_is_installed_and_the_rest_taken_from_the_index_or_named(
    index: LocalIndex, cli: Cli, tmp_path: Path
) -> None:
    index.add("scikit-learn", "0.19.1", files={"sklearn.py": "VERSION = '0.19.1'\n"})
    index.add("scikit-learn", "1.9.0")
    project = take_project("conda_parts", tmp_path)
    done = cli("run", str(project), "--restore")
    assert done.stdout.split() == ["1.0", "0.19.1", "0.5"]
    assert "taken from the package index instead: scikit-learn=0.19.1" in done.stderr
    assert "left out: libgcc" in done.stderr
    store, run_id = get_only_run()
    tags = store.read_tags(run_id)
    assert (tags["repro.restored"], tags["repro.env.source"]) == ("true", "env/conda.yaml")
    kept = load_lock(Path("mlruns", "0", run_id, "artifacts")).snapshot
    assert [(each.name, each.version) for each in kept.distributions] == [
        ("alpha", "1.0"), ("beta", "2.1"), ("scikit-learn", "0.19.1"),
    ]  # fmt: skip


def test_loose_files_are_locked_once_and_looked_up_then(index: LocalIndex, cli: Cli, tmp_path: Path) -> None:
    project = take_project("script_header", tmp_path)
    args = ("run", str(project), "-e", "evaluate.py", "--restore", "--no-snapshot")
    first = cli(*args)
    assert "`requirements.txt` is locked: 1 distributions; `--write-lock`" in first.stderr
    assert not (project / "requirements-lock.txt").exists()
    index.add("beta", "2.0.post1")
    asked = index.requests
    (project / "requirements.txt").write_text("# a comment changes nothing\nbeta==2.0\n")
    again = cli(*args)
    assert (first.stdout, again.stdout, index.requests) == ("2.0\n", "2.0\n", asked)
    assert "is locked" not in again.stderr
    (project / "requirements.txt").write_text("beta==2.1\n")
    assert cli(*args).stdout == "2.1\n"


def test_the_lock_of_loose_files_becomes_the_projects_where_that_is_asked_for(
    index: LocalIndex, cli: Cli, tmp_path: Path
) -> None:
    project = take_project("script_header", tmp_path)
    args = ("run", str(project), "-e", "evaluate.py", "--restore", "--json")
    loose = json.loads(cli(*args, "--write-lock").stdout)
    assert [each.name for each in load_lock(project).snapshot.distributions] == ["beta"]
    exact = json.loads(cli(*args).stdout)
    assert exact["environment"]["key"] == loose["environment"]["key"]
    assert exact["environment"]["reused"]


def test_the_header_of_a_script_counts_before_the_files_beside_it(index: LocalIndex, cli: Cli, tmp_path: Path) -> None:
    project = take_project("script_header", tmp_path)
    assert cli("run", str(project), "-e", "train.py", "--env-manager", "uv").stdout == "1.0\n"
    assert cli("run", str(project), "-e", "evaluate.py", "--env-manager", "virtualenv").stdout == "2.0\n"


def test_another_patch_of_the_same_python_is_used_and_said(index: LocalIndex, cli: Cli, tmp_path: Path) -> None:
    project = take_project("patch_version", tmp_path)
    (project / "python_env.yaml").write_text((project / "python_env.yaml").read_text().replace("3.11", MINOR))
    for _ in range(2):
        done = cli("run", str(project), "-e", "train.py", "--restore", "--no-snapshot")
        assert done.stdout == "1.0\n"
        assert f"python_env.yaml, line 1 asks for Python {MINOR}.99" in done.stderr


def test_a_python_that_is_not_here_ends_the_run_as_failed(index: LocalIndex, cli: Cli, tmp_path: Path) -> None:
    project = take_project("patch_version", tmp_path)
    (project / "python_env.yaml").write_text('python: "3.4.9"\ndependencies: [alpha]\n')
    done = cli("run", str(project), "-e", "train.py", "--restore", code=4)
    assert "python_env.yaml, line 1: Python 3.4.9" in done.stderr
    store, run_id = get_only_run()
    assert store.get_info(run_id).status is RunStatus.FAILED


def test_setuptools_of_before_pkg_resources_went_is_added_where_something_imports_it(
    index: LocalIndex, cli: Cli, tmp_path: Path
) -> None:
    index.add("old-reader", "1.0", files={"old_reader/__init__.py": "import pkg_resources as p\nPLACE = p.PLACE\n"})
    index.add("setuptools", "80.9", files={"pkg_resources/__init__.py": "PLACE = 'setuptools 80.9'\n"})
    index.add("setuptools", "82.0")
    project = take_project("unpinned_setuptools", tmp_path)
    args = ("run", str(project), "-e", "train.py", "--restore", "--no-snapshot")
    done = cli(*args)
    assert done.stdout == "setuptools 80.9\n"
    assert "`old_reader` imports `pkg_resources`, which nothing asks for: `setuptools<81` is added" in done.stderr
    asked = index.requests
    assert cli(*args).stdout == "setuptools 80.9\n"
    assert index.requests == asked


def add_guessed(index: LocalIndex) -> None:
    """Publish what `only_imports` asks for, old and new."""
    index.json = True
    for version, day in (("0.19.1", "2018-01-01"), ("1.9.0", "2030-01-01")):
        wheel = index.add("scikit-learn", version, files={"sklearn.py": f"VERSION = '{version}'\n"})
        index.uploaded[wheel.name] = f"{day}T00:00:00Z"
    wheel = index.add("pyyaml", "5.0", files={"yaml.py": "VERSION = '5.0'\n"})
    index.uploaded[wheel.name] = "2018-01-01T00:00:00Z"


def test_what_no_file_declares_is_guessed_from_imports_and_locked_once(
    index: LocalIndex, cli: Cli, tmp_path: Path
) -> None:
    add_guessed(index)
    project = take_project("only_imports", tmp_path)
    args = ("run", str(project), "-e", "train.py", "--restore")
    first = cli(*args)
    assert json.loads(first.stdout) == ["1.9.0", "5.0", "2.1"]
    sentence = f"warning: `{project}` has no file that says what it needs: `beta`, `gamma-ray`, `pyyaml` (`yaml`), "
    assert f"{sentence}`scikit-learn` (`sklearn`) are guessed from what `train.py` imports\n" in first.stderr
    assert "may import `nobody_has_this` (train.py, line 10), and what has it is not known" in first.stderr
    assert "that is locked: 4 distributions; `--write-lock` makes that the project's" in first.stderr
    store, run_id = get_only_run()
    tags = store.read_tags(run_id)
    assert (tags["repro.restored"], tags["repro.env.source"]) == ("true", "imports")
    kept = load_lock(Path("mlruns", "0", run_id, "artifacts")).snapshot
    assert [each.name for each in kept.distributions] == ["beta", "gamma-ray", "pyyaml", "scikit-learn"]
    asked = index.requests
    again = cli(*args, "--write-lock")
    assert (again.stdout, index.requests) == (first.stdout, asked)
    assert sentence in again.stderr
    assert "is locked" not in again.stderr
    assert "guessed" not in cli(*args).stderr


def test_what_is_guessed_is_of_the_day_of_the_last_commit_where_the_index_knows_that_day(
    index: LocalIndex, cli: Cli, tmp_path: Path, git_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_guessed(index)
    for name in ("beta-2.0", "beta-2.1", "gamma_ray-0.5"):
        index.uploaded[f"{name}-py3-none-any.whl"] = "2017-05-05T00:00:00Z"
    project = take_project("only_imports", make_work(tmp_path / "repository"))
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2019-07-09T12:00:00Z")
    commit(project.parent, "one")
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2031-07-09T12:00:00Z")
    commit(project.parent, "elsewhere", other_py="")
    args = ("run", str(project), "-e", "train.py", "--restore", "--no-snapshot")
    done = cli(*args)
    assert json.loads(done.stdout) == ["0.19.1", "5.0", "2.1"]
    assert "are guessed from what `train.py` imports, as of 2019-07-09, the day of its last commit" in done.stderr
    assert json.loads(cli(*args, "--as-of", "2031-01-01").stdout)[0] == "1.9.0"
    index.uploaded["pyyaml-5.0-py3-none-any.whl"] = "2029-01-01T00:00:00Z"
    done = cli(*args, "--with", "beta==2.0")
    assert json.loads(done.stdout) == ["1.9.0", "5.0", "2.0"]
    assert "warning: nothing fits as of 2019-07-09 (no versions fit these requirements): what the ind" in done.stderr


def test_a_shell_script_gets_what_all_python_of_its_project_imports(
    index: LocalIndex, cli: Cli, tmp_path: Path
) -> None:
    add_guessed(index)
    done = cli("run", str(take_project("only_imports", tmp_path)), "-e", "report.sh", "--restore", "--no-snapshot")
    assert done.stdout == "2.1 0.5\n"
    assert "guessed from what its Python code imports" in done.stderr


def test_an_import_that_nobody_knows_ends_with_one_sentence(index: LocalIndex, cli: Cli, tmp_path: Path) -> None:
    project = take_project("no_environment", tmp_path)
    args = ("run", str(project), "--restore", "--no-snapshot")
    (project / "train.py").write_text("print('started')\nimport nobody_has_this, gamma_ray\nimport nor_this\n")
    done = cli(*args, code=5)
    named = "`train.py` imports `nobody_has_this` (train.py, line 2), `nor_this` (train.py, line 3), which no file"
    assert f"error: {named} declares and no index has anything named after\nhint: name what has it" in done.stderr
    assert "started" not in done.stdout
    store, run_id = get_only_run()
    assert store.get_info(run_id).status is RunStatus.FAILED
    (project / "train.py").write_text("import common, beta\nprint(beta.VERSION)\n")
    index.add("common", "6.6.6")
    said = cli(*args, code=5).stderr
    assert "imports `common` (train.py, line 1), most likely of the project's own, which has no such module" in said
    assert len(store.list_runs()) == 1
    index.add("parts", "1.0", files={"common.py": ""})
    assert cli(*args, "--with", "parts").stdout == "2.1\n"


def test_a_project_without_python_runs_in_your_own_environment_and_says_so(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "shell").mkdir()
    (tmp_path / "shell" / "hello.sh").write_text("echo hello\n")
    done = cli("run", str(tmp_path / "shell"), "-e", "hello.sh", "--restore", "--no-snapshot")
    assert done.stdout == "hello\n"
    assert "has no file that says what it needs, so it runs in your own environment; `repro snapshot" in done.stderr
    store, run_id = get_only_run()
    assert store.read_tags(run_id)["repro.restored"] == "false"


def test_a_malformed_requirement_is_told_with_file_and_line_before_a_run_exists(cli: Cli, tmp_path: Path) -> None:
    project = take_project("malformed_requirement", tmp_path)
    done = cli("run", str(project), "-e", "train.py", "--restore", code=5)
    assert f"{project / 'requirements.txt'}, line 2: `mlflow == 2..7.1` is not a requirement" in done.stderr
    assert not Path("mlruns").exists()


def test_an_environment_that_cannot_be_made_ends_the_run_as_failed(index: LocalIndex, cli: Cli, tmp_path: Path) -> None:
    project = take_project("impossible", tmp_path)
    done = cli("run", str(project), "-e", "train.py", "--restore", "-P", "a=1", code=5)
    assert "no versions fit these requirements" in done.stderr
    assert "failed ===" in done.stderr
    store, run_id = get_only_run()
    assert store.get_info(run_id).status is RunStatus.FAILED
    assert store.read_params(run_id) == {"a": "1"}
    assert store.read_tags(run_id)["repro.error"] == "no versions fit these requirements"


def test_metadata_that_only_an_old_pip_reads_is_read_by_one(index: LocalIndex, cli: Cli, tmp_path: Path) -> None:
    if find_old_pip(sys.executable, runner=Runner(), env=os.environ, caches_dir=str(tmp_path)) is None:
        pytest.skip("this Python brings no pip below 24.1")
    index.add("pytz", "2020.1")
    index.add("oldpandas", "0.22.0", requires=("pytz (>=2011k)",))
    done = cli("run", str(take_project("old_metadata", tmp_path)), "-e", "train.py", "--restore")
    assert done.stdout == "0.22.0 2020.1\n"
    assert "the metadata of an old distribution is malformed: pip 2" in done.stderr


def test_old_metadata_is_read_as_of_a_day(index: LocalIndex, cli: Cli, tmp_path: Path) -> None:
    if find_old_pip(sys.executable, runner=Runner(), env=os.environ, caches_dir=str(tmp_path)) is None:
        pytest.skip("this Python brings no pip below 24.1")
    index.json = True
    for version, day in (("2020.1", "2020-04-26"), ("2030.1", "2030-01-01")):
        index.uploaded[index.add("pytz", version).name] = f"{day}T00:00:00Z"
    wheel = index.add("oldpandas", "0.22.0", requires=("pytz (>=2011k)",))
    index.uploaded[wheel.name] = "2017-12-31T00:00:00Z"
    project = take_project("old_metadata", tmp_path)
    done = cli("run", str(project), "-e", "train.py", "--restore", "--no-snapshot", "--as-of", "2021-06-30")
    assert done.stdout == "0.22.0 2020.1\n"
    assert "the metadata of an old distribution is malformed: pip 2" in done.stderr


def test_why_a_script_failed_is_said_and_kept_with_the_run(cli: Cli, tmp_path: Path) -> None:
    project = take_project("no_environment", tmp_path)
    (project / "train.py").write_text(
        "try:\n    raise OSError('<urlopen error [Errno -2] Name or service not known>')\n"
        "except OSError as error:\n    print(error)\n"
        "raise SystemExit(\"NameError: name 'data' is not defined\")\n"
    )
    done = cli("run", str(project), "--no-snapshot", "--json", code=1)
    fault = "NameError: name 'data' is not defined"
    assert f"it ended with: {fault}\nhint: an address that it wants does not answer (`urlopen error" in done.stderr
    assert json.loads(done.stdout)["failure"] == fault
    store, run_id = get_only_run()
    assert store.read_tags(run_id)["repro.error"] == fault


def test_a_container_is_refused_and_your_own_environment_offered(cli: Cli, tmp_path: Path) -> None:
    project = take_project("container", tmp_path)
    for args in ((), ("--restore",)):
        done = cli("run", str(project), *args, code=2)
        assert "the project asks for the container image `example.org/wine:1` (`docker_env`)" in done.stderr
    assert not Path("mlruns").exists()
    done = cli("run", str(project), "--env-manager", "local", "--no-snapshot")
    assert done.stdout == "trained\n"
    assert "runs in your own environment" in done.stderr


def test_what_is_imported_and_not_declared_is_told_before_the_start(
    index: LocalIndex, cli: Cli, tmp_path: Path
) -> None:
    project = take_project("undeclared_import", tmp_path)
    args = ("run", str(project), "-e", "train.py", "--restore")
    done = cli(*args, code=5)
    sentence = "`train.py` imports `seaborn` (report.py, line 5), which neither the project nor the environment of"
    assert f"{sentence} `requirements.txt` has" in done.stderr
    mends = f"`repro run {project} -e train.py --restore --with seaborn`"
    assert mends in done.stderr
    store, run_id = get_only_run()
    assert store.get_info(run_id).status is RunStatus.FAILED
    index.add("seaborn", "0.13")
    done = cli(*args, "--with", "seaborn")
    assert done.stdout == "0.13\n"
    assert "warning: `train.py` imports `plotly` (report.py, line 11)" in done.stderr


def test_a_nested_run_chooses_its_environment_as_its_parent(index: LocalIndex, cli: Cli, tmp_path: Path) -> None:
    inner = take_project("script_header", tmp_path)
    outer = take_project("no_environment", tmp_path)
    (outer / "train.py").write_text(
        "import os, subprocess\n"
        "print(os.environ.get('REPRO_ENV_MANAGER'), os.environ.get('REPRO_AS_OF'))\n"
        "print(os.path.basename(os.environ['MLFLOW_TMP_DIR']), os.environ['REPRO_LENIENT_TYPES'])\n"
        f"subprocess.run([{sys.executable!r}, '-m', 'repro', 'run', {str(inner)!r}, '-e', 'evaluate.py'], check=True)\n"
    )
    done = cli(
        "run", str(outer), "--env-manager", "restore", "--no-snapshot", "--storage-dir", "kept", "--lenient-types"
    )
    assert sorted(done.stdout.split()) == ["1", "2.0", "None", "kept", "restore"]
    runs = ReadableStore(Path("mlruns")).list_runs()
    tags = {run.run_id: ReadableStore(Path("mlruns")).read_tags(run.run_id) for run in runs}
    parents = [each.get("mlflow.parentRunId") for each in tags.values()]
    assert sorted(map(bool, parents)) == [False, True]
    assert next(each for each in parents if each) in tags


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("--env-manager", "conda"), "`--env-manager` is `conda`, which makes no environments here"),
        (("--env-manager", "virtualnv"), "did you mean `virtualenv`?"),
        (("--env-manager", "local", "--restore"), "exclude each other"),
        (("--restore", "--as-of", "tomorrow"), "`tomorrow` is no date"),
        (("--with", "alpha"), "`--with` adds to what loose files ask for, and nothing is restored"),
    ],
)
def test_a_choice_that_is_none_is_told_before_a_run_exists(
    args: tuple[str, ...], sentence: str, cli: Cli, tmp_path: Path
) -> None:
    assert sentence in cli("run", str(take_project("impossible", tmp_path)), "-e", "train.py", *args, code=2).stderr
    assert not Path("mlruns").exists()


def test_a_file_that_mlproject_names_and_that_is_not_there_is_told(cli: Cli, tmp_path: Path) -> None:
    project = take_project("conda_parts", tmp_path)
    (project / "env" / "conda.yaml").unlink()
    assert "names `conda_env: env/conda.yaml`" in cli("run", str(project), "--restore", code=5).stderr
