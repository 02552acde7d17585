"""`repro.load_model`: in this process, in the model's own environment, and what is said where that is not the same."""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path

import pytest
from conftest import Cli, LocalIndex
from tiny_models import make_model

import repro
from repro.errors import ModelError, RestoreError, SnapshotNotRestoredWarning, UsageError
from repro.models import environment
from repro.models.directory import read_directory
from repro.models.local import LocalModel
from repro.models.remote import RestoredModel

ASKS_ALPHA = """
import sys
try:
    import alpha
except ImportError:
    pass
class Asker:
    def predict(self, data):
        from importlib.metadata import version
        return [sys.prefix, version(alpha.__name__)] + list(data)
def _load_pyfunc(path):
    return Asker()
"""
COLUMNS = {"inputs": [{"type": "double", "name": "x"}, {"type": "long", "name": "n", "required": False}]}


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has been warned yet, and no variable says anything."""
    monkeypatch.setattr(environment, "_warned", set())
    for name in ("REPRO_RESTORE", "REPRO_SNAPSHOT_POLICY", "MLFLOW_ALLOW_MODEL_CODE_EXECUTION"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def loose(tmp_path: Path, index: LocalIndex) -> Path:
    """A model as MLflow writes it: what it needs stands in a python_env.yaml, and is not here."""
    path = make_model(tmp_path / "loose", ASKS_ALPHA)
    python = ".".join(map(str, sys.version_info[:2]))
    (path / "python_env.yaml").write_text(f'python: "{python}"\ndependencies: [-r requirements.txt]\n')
    (path / "requirements.txt").write_text("alpha==1.0\n")
    return path


@pytest.fixture
def locked(loose: Path, cache: Path) -> Path:
    """The same with a lock."""
    with repro.load_model(loose, restore=True, cache=cache) as model:
        made = model.environment
    lock = next((cache / "repro").rglob("locks/*"))
    (loose / "requirements-lock.txt").write_bytes(lock.read_bytes())
    assert made.digest in lock.read_text()
    return loose


def test_a_model_is_restored_from_what_mlflow_writes_and_from_a_lock(locked: Path, cache: Path) -> None:
    with repro.load_model(str(locked), restore=True, cache=cache) as model:
        assert isinstance(model, RestoredModel)
        prefix, version, *rest = model.predict([1, 2])
        assert (version, rest) == ("1.0", [1, 2])
        assert os.path.samefile(prefix, model.environment.path)
        assert model.flavor == "python_function"


def test_one_that_is_not_restored_is_warned_about_once_with_what_mends_it(locked: Path, cache: Path) -> None:
    with pytest.warns(SnapshotNotRestoredWarning) as caught:
        model = repro.load_model(locked, cache=cache)
    text = str(caught[0].message)
    assert f"the snapshot `{locked}/requirements-lock.txt` is not restored" in text
    assert "alpha (locked 1.0, not installed)" in text
    assert text.endswith(f"Restore it with `repro.load_model('{locked}', restore=True)`")
    assert caught[0].filename == __file__
    assert isinstance(model, LocalModel)
    with pytest.raises(NameError):
        model.predict([])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        repro.load_model(locked, cache=cache)


def test_loose_pins_are_held_against_what_is_here(loose: Path, cache: Path) -> None:
    with pytest.warns(SnapshotNotRestoredWarning, match=r"python_env.yaml` .* alpha \(locked 1.0, not installed\)"):
        repro.load_model(loose, cache=cache)
    (loose / "requirements.txt").write_text("packaging>=1\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        repro.load_model(loose, cache=cache)
    (loose / "python_env.yaml").write_text("python: 3.8.1\n")
    with pytest.warns(SnapshotNotRestoredWarning, match=r"breaks-loading: Python \(locked cpython 3\.8\.1"):
        repro.load_model(loose, cache=cache)


def test_the_policy_comes_from_the_argument_the_variable_or_the_project(
    locked: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    (project / "pyproject.toml").write_text('[tool.repro]\nsnapshot-policy = "error"\n')
    with pytest.raises(RestoreError, match=r"alpha \(locked 1.0, not installed\)"):
        repro.load_model(locked, cache=cache)
    monkeypatch.setenv("REPRO_SNAPSHOT_POLICY", "restore")
    with repro.load_model(locked, cache=cache) as model:
        assert isinstance(model, RestoredModel)
    with pytest.warns(SnapshotNotRestoredWarning):
        repro.load_model(locked, policy="warn", cache=cache)
    monkeypatch.setattr(environment, "_warned", set())
    with pytest.raises(UsageError, match="`policy` is `nothing`, which is no policy"):
        repro.load_model(locked, policy="nothing", cache=cache)
    with pytest.warns(SnapshotNotRestoredWarning):
        assert isinstance(repro.load_model(locked, restore=False, cache=cache), LocalModel)
    with pytest.raises(UsageError, match="`restore=False` and `policy='restore'` contradict each other"):
        repro.load_model(locked, restore=False, policy="restore", cache=cache)
    monkeypatch.setenv("REPRO_SNAPSHOT_POLICY", "never")
    with pytest.raises(UsageError, match="`REPRO_SNAPSHOT_POLICY` is `never`"):
        repro.load_model(locked, cache=cache)
    monkeypatch.delenv("REPRO_SNAPSHOT_POLICY")
    (project / "pyproject.toml").write_text('[tool.repro]\nsnapshot-policy = "perhaps"\n')
    with pytest.raises(UsageError, match=r"`snapshot-policy` of .* is `perhaps`"):
        repro.load_model(locked, cache=cache)
    monkeypatch.setenv("REPRO_RESTORE", "1")
    with repro.load_model(locked, cache=cache) as model:
        assert isinstance(model, RestoredModel)


def test_warnings_can_be_kept_away(locked: Path, cache: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        repro.load_model(locked, suppress_warnings=True, cache=cache)


def test_a_changed_file_is_an_error(tmp_path: Path, cache: Path) -> None:
    import hashlib

    path = make_model(tmp_path / "noted")
    name = "code/loader_of_noted.py"
    digest = f"sha256:{hashlib.sha256((path / name).read_bytes()).hexdigest()}"
    content = json.loads((path / "MLmodel").read_text())
    content["repro"] = {"lock": "requirements-lock.txt", "digest": "sha256:0", "files": {name: digest, "gone": digest}}
    (path / "MLmodel").write_text(json.dumps(content))
    with pytest.raises(ModelError, match="1 of its files differ") as caught:
        repro.load_model(path, cache=cache)
    assert caught.value.details == ("gone is not there",)
    (path / "gone").write_bytes((path / name).read_bytes())
    assert repro.load_model(path, cache=cache).add(1) == 2
    (path / name).write_text((path / name).read_text() + "\n")
    with pytest.raises(ModelError) as changed:
        repro.load_model(path, cache=cache)
    assert changed.value.details == (f"{name} has other bytes",)


def test_what_is_missing_is_said_in_one_sentence(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(ModelError, match="is no model: it has no `MLmodel`"):
        repro.load_model(tmp_path / "absent", cache=cache)
    bare = make_model(tmp_path / "bare")
    with pytest.raises(ModelError, match=r"`.*bare` names no environment: it has no `requirements-lock.txt`"):
        repro.load_model(bare, restore=True, cache=cache)
    assert repro.load_model(bare, cache=cache).add(1) == 2
    with pytest.raises(ModelError, match="has no flavor `sklearn`, only: python_function"):
        repro.load_model(bare, "sklearn", cache=cache)
    (bare / "MLmodel").write_text("flavors:\n  sklearn:\n    pickled_model: model.pkl\n")
    with pytest.raises(ModelError, match=r"is not whole: its `MLmodel` names `model.pkl`, which is not there"):
        repro.load_model(bare, cache=cache)
    (bare / "MLmodel").write_text("flavors:\n  crate:\n    model: crate.bin\n")
    with pytest.raises(ModelError, match=r"none of its flavors is one that Python can load here \(crate\)"):
        repro.load_model(bare, cache=cache)
    with pytest.raises(UsageError, match=r"`ftp://example.org/model` is no model that can be had"):
        repro.load_model("ftp://example.org/model", cache=cache)


def test_no_code_is_run_where_that_is_forbidden(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_MODEL_CODE_EXECUTION", "false")
    path = make_model(tmp_path / "coded", "raise SystemExit('it was run')\n")
    for restore in (False, True):
        with pytest.raises(ModelError, match="may run code, which MLFLOW_ALLOW_MODEL_CODE_EXECUTION forbids"):
            repro.load_model(path, restore=restore, cache=cache)


def test_a_model_in_this_process_has_the_same_interface(tmp_path: Path, cache: Path) -> None:
    path = make_model(tmp_path / "here", signature={"params": [{"name": "k", "type": "long", "default": 1}]})
    with repro.load_model(path, cache=cache) as model:
        assert model.predict([1]) == {"data": [1], "params": {"k": 1}}
        assert model.predict([1], {"k": 2}) == {"data": [1], "params": {"k": 2}}
        with pytest.raises(ModelError, match="the parameter `k` is `long`, and not `'x'`"):
            model.predict([1], {"k": "x"})
        assert (model.add(2, b=3), model.classes) == (5, ["low", "high"])
        with pytest.raises(AttributeError):
            _ = model.absent
        with pytest.raises(ValueError, match="what it raises"):
            model.predict({"deed": ["fail"]})
        assert repr(model) == f"<LocalModel `{path}` (loader_of_here.Tiny)>"


def test_a_model_never_gets_the_module_of_another(tmp_path: Path, cache: Path) -> None:
    loader = "import helper_of_models\nclass Helped:\n    def predict(self, data): return helper_of_models.VALUE\n"
    loader += "def _load_pyfunc(path): return Helped()\n"
    one, same, other = (make_model(tmp_path / name, loader) for name in ("one", "same", "other"))
    for path, value in ((one, 1), (same, 1), (other, 2)):
        (path / "code" / "helper_of_models.py").write_text(f"VALUE = {value}\n")
        (path / "code" / "__main__.py").touch()
    assert [repro.load_model(path, cache=cache).predict([]) for path in (one, one, same)] == [1, 1, 1]
    with pytest.raises(ModelError, match="has a module `helper_of_models`, and this process has another") as caught:
        repro.load_model(other, cache=cache)
    assert str(one) in str(caught.value)
    (tmp_path / "x.json").write_text("[1]")
    assert repro.predict(other, tmp_path / "x.json", cache=cache) == 2  # in a process of its own


def test_code_outside_of_the_model_is_not_taken(tmp_path: Path, cache: Path) -> None:
    flavors = {"python_function": {"loader_module": "far", "code": "../far"}}
    path = make_model(tmp_path / "coded", flavors=flavors)
    with pytest.raises(ModelError, match=r"names `../far`, which is not in the model's directory"):
        repro.load_model(path, cache=cache)


def test_an_environment_file_outside_of_the_model_is_not_taken(tmp_path: Path) -> None:
    path = make_model(tmp_path / "far", repro={"lock": "../other.txt", "digest": "sha256:0"})
    with pytest.raises(ModelError, match=r"names `../other.txt`, which is not in the model's directory"):
        _ = read_directory(path).lock


# repro predict, repro.predict


ADDS = """
class Adder:
    def predict(self, data, params=None):
        if not isinstance(data, dict):
            data = {name: data[name].tolist() for name in data} if hasattr(data, "columns") else {"x": data}
        return [x + (params or {}).get("k", 0) for x in data["x"]]
def _load_pyfunc(path):
    return Adder()
"""


@pytest.fixture
def adder(tmp_path: Path) -> Path:
    params = [{"name": "k", "type": "double", "default": 0.0}]
    return make_model(tmp_path / "adder", ADDS, signature={**COLUMNS, "params": params})


def test_predict_reads_and_writes_files(adder: Path, tmp_path: Path, cli: object) -> None:
    from conftest import Cli

    assert isinstance(cli, Cli)
    rows = tmp_path / "rows.csv"
    rows.write_text("x,n,other\n1.5,1,a\n-2,2,b\n")
    model, python = str(adder), ["--python", sys.executable]
    assert json.loads(cli("predict", model, str(rows), *python).stdout) == {"predictions": [1.5, -2.0]}
    body = {"dataframe_split": {"columns": ["x"], "data": [[0.1], [2]]}, "params": {"k": 1.0}}
    (tmp_path / "body.json").write_text(json.dumps(body))
    out = tmp_path / "out.csv"
    said = cli("predict", "-m", model, "-i", str(tmp_path / "body.json"), "-o", str(out), "--json", *python).stdout
    assert json.loads(said) == {"output": str(out), "bytes": 19}
    assert out.read_text() == "prediction\n1.1\n3.0\n"
    for text in ('[{"x": 1}]', '{"columns": ["x"], "data": [[1]]}', '{"x": [1]}', '{"inputs": {"x": [1]}}'):
        (tmp_path / "a.json").write_text(text)
        assert json.loads(cli("predict", model, str(tmp_path / "a.json"), *python).stdout) == {"predictions": [1.0]}
    assert repro.predict(adder, rows, cache=cli.cache) == [1.5, -2.0]
    assert repro.predict(adder, rows, tmp_path / "p.json", params={"k": 1.0}, cache=cli.cache) is None
    assert json.loads((tmp_path / "p.json").read_text()) == {"predictions": [2.5, -1.0]}
    assert repro.predict(adder, data={"x": [1.0]}, cache=cli.cache) == [1.0]
    with pytest.raises(UsageError, match="give either a file, `input_path`, or `data`"):
        repro.predict(adder, cache=cli.cache)


def test_a_file_is_answered_with_the_defaults_of_the_parameters(tmp_path: Path, cache: Path) -> None:
    params = [{"name": "k", "type": "double", "default": 2.0}]
    path = make_model(tmp_path / "adder", ADDS, signature={**COLUMNS, "params": params})
    (tmp_path / "x.json").write_text('{"x": [1.0]}')
    for more in ({"data": {"x": [1.0]}}, {"input_path": tmp_path / "x.json"}):
        assert repro.predict(path, cache=cache, **more) == [3.0]
        assert repro.predict(path, cache=cache, params={"k": 1.0}, **more) == [2.0]


def test_a_script_is_told_in_its_own_words(adder: Path, tmp_path: Path, cache: Path) -> None:
    (tmp_path / "rows.txt").write_text("x\n1\n")
    with pytest.raises(UsageError) as caught:
        repro.predict(adder, tmp_path / "rows.txt", cache=cache)
    assert caught.value.hint == "one of json, csv, parquet, by ending or `content_type`"
    assert repro.predict(adder, tmp_path / "rows.txt", content_type="csv", cache=cache) == [1.0]
    with pytest.raises(UsageError) as caught:
        repro.predict(adder, tmp_path / "rows.txt", "out.txt", content_type="csv", cache=cache)
    assert caught.value.hint == "one of json, csv, parquet, by ending"


def test_a_home_directory_is_found_where_a_model_is_saved_and_asked(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    make_model(tmp_path / "adder", ADDS, signature=COLUMNS)
    (tmp_path / "rows.csv").write_text("x\n1\n")
    repro.predict("~/adder", "~/rows.csv", "~/out.csv", cache=cache)
    assert (tmp_path / "out.csv").read_text() == "prediction\n1.0\n"
    with pytest.raises(ModelError, match=f"`{tmp_path}/adder` is there already"):
        repro.save_model(object(), "~/adder")


@pytest.mark.parametrize(
    ("words", "content", "code", "sentence"),
    [
        (["{model}", "rows.csv"], "y\n1\n", 5, "Model is missing inputs ['x']"),
        (["{model}", "rows.csv"], "x\nhigh\n", 5, "column `x` is `double`, and has `'high'` in row 0"),
        (["{model}", "rows.json"], "{", 5, "`rows.json` is no JSON"),
        (["{model}", "rows.txt"], "x\n1\n", 2, "`rows.txt` is of no type that is known"),
        (["{model}", "rows.csv", "-o", "out.xml"], "x\n1\n", 2, "`out.xml` is of no type that is known"),
        (["{model}", "absent.csv"], "", 2, "`absent.csv` cannot be read (No such file or directory)"),
        (["absent", "rows.csv"], "x\n1\n", 5, "`absent` is no model: it has no `MLmodel` that can be read"),
        (["{model}", "rows.csv", "more"], "x\n1\n", 2, "`more` is one word too many"),
        ([], "", 2, "no MODEL is named"),
        (["{model}", "rows.csv", "-o", "absent/out.csv"], "x\n1\n", 2, "`absent/out.csv` cannot be written"),
        (["{model}", "rows.csv", "-o", "{model}"], "x\n1\n", 2, "cannot be written (it is a directory)"),
        (["{model}", "rows.csv", "--env", "K"], "x\n1\n", 2, "`--env K` is no NAME=VALUE"),
    ],
)
def test_predict_says_what_is_wrong(
    adder: Path, tmp_path: Path, cache: Path, words: list[str], content: str, code: int, sentence: str
) -> None:
    import subprocess

    for name in ("rows.csv", "rows.json", "rows.txt"):
        (tmp_path / name).write_text(content)
    given = [each.format(model=adder) for each in words]
    command = [sys.executable, "-m", "repro", "predict", *given, "--python", sys.executable, "--cache", str(cache)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert (done.returncode, sentence in done.stderr, "Traceback" in done.stderr) == (code, True, False), done.stderr


def test_a_model_is_looked_at_without_loading_it(locked: Path, cli: Cli) -> None:
    (locked / "code" / "loader_of_loose.py").write_text("raise SystemExit('it was run')\n")
    said = json.loads(cli("model", "inspect", str(locked), "--python", sys.executable, "--json").stdout)
    assert (said["loadable"], said["runs_code"], said["satisfied"]) == (["python_function"], True, False)
    assert said["lock"] == str(locked / "requirements-lock.txt")
    text = cli("model", "inspect", str(locked), "--python", sys.executable).stdout
    assert "requirements-lock.txt, which the environment here does not satisfy: 2 differences" in text


def test_changed_files_are_shown_and_the_exit_code_tells(tmp_path: Path, cli: Cli) -> None:
    path = make_model(tmp_path / "noted", repro={"files": {"code/loader_of_noted.py": "sha256:0"}}, signature=COLUMNS)
    said = cli("model", "inspect", str(path), "--python", sys.executable, code=1)
    assert "changed since: code/loader_of_noted.py" in said.stdout
    assert [line.split() for line in said.stdout.splitlines() if line.startswith("inputs")] == [
        ["inputs", "x", "double"],
        ["inputs", "n", "long", "optional"],
    ]


def test_restore_makes_the_environment_of_a_model_without_a_lock(loose: Path, cli: Cli) -> None:
    made = json.loads(cli("restore", str(loose), "--json").stdout)
    with repro.load_model(loose, restore=True, cache=cli.cache) as model:
        assert model.environment.path == made["path"]
