"""Saving a model's directory: what is in it, that it is replaced whole or not at all, and what is refused.

The models here need no library; those that do are saved in `test_with_mlflow.py`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
import threading
from pathlib import Path

import pytest
from conftest import REPOSITORY, LocalIndex, TestEnvironment
from lending import lend

import repro
from repro.files import replace_directory
from repro.formats.lockfile import parse_snapshot
from repro.formats.mlmodel import parse_mlmodel, parse_python_function
from repro.formats.signature import Column, Signature
from repro.models.digests import find_altered


class Doubler:
    """A model."""

    factor = 2

    def predict(self, data: list[float]) -> list[float]:
        """Double what is asked."""
        return [self.factor * each for each in data]


class Unpicklable(Doubler):
    """A model that cannot be saved."""

    def __reduce__(self) -> str:
        raise RuntimeError("never")


class Changing(Doubler):
    """A model that changes what it is asked, and never answers."""

    def predict(self, data: list[float]) -> list[float]:
        """Empty the list."""
        data.clear()
        raise KeyError("nothing left")


def save(model: object = None, path: str = "model", **options: object) -> Path:
    options.setdefault("snapshot", False)
    with pytest.warns(UserWarning, match="code_paths=") as caught:  # this module is of no distribution
        saved = repro.save_model(model or Doubler(), path, **options)  # type: ignore[arg-type]
    assert [each.filename for each in caught] == [__file__]
    return saved


def read(path: Path) -> str:
    return path.read_text()


def list_hidden() -> list[str]:
    return [name for name in os.listdir(".") if name.startswith(".")]


def test_a_model_is_described_signed_and_digested() -> None:
    path = save(input_example=[1.0, 2.0], metadata={"team": "wine"})
    model = parse_mlmodel(read(path / "MLmodel"))
    function = parse_python_function(model)
    assert function is not None
    assert function.env == {"conda": "conda.yaml", "virtualenv": "python_env.yaml"}
    assert (path / "code" / f"{function.loader_module}.py").is_file()
    assert model.signature == Signature(inputs=(Column(type="double"),), outputs=(Column(type="double"),))
    assert model.metadata == {"team": "wine"}
    assert json.loads(read(path / "serving_input_example.json")) == {"inputs": [1.0, 2.0]}
    assert model.own is not None
    assert (model.own.lock, model.own.digest) == (None, None)
    assert sorted(model.own.files) == sorted(
        each.relative_to(path).as_posix() for each in path.rglob("*") if each.is_file() and each.name != "MLmodel"
    )
    assert not find_altered(path, model.own.files)
    assert model.model_size_bytes == sum((path / name).stat().st_size for name in model.own.files)
    assert not list_hidden()


def test_what_is_there_is_replaced_on_request_only_and_whole() -> None:
    path = save()
    (path / "old").write_text("")
    before = sorted(os.listdir(path))
    with pytest.raises(repro.ModelError, match=r"`.*model` is there already"):
        repro.save_model(Doubler(), path)
    assert sorted(os.listdir(path)) == before
    save(overwrite=True)
    assert "old" not in os.listdir(path)
    assert not list_hidden()


def test_a_link_to_a_model_leads_to_the_new_one() -> None:
    Path("link").symlink_to(save(path="first").name)
    save(path="link", overwrite=True)
    assert Path("link").is_symlink()
    assert (Path("first") / "MLmodel").is_file()


@pytest.mark.parametrize("name", ["file", "directory"])
def test_what_is_no_model_is_never_replaced(name: str) -> None:
    Path("file").write_text("mine")
    Path("directory").mkdir()
    Path("directory", "mine").write_text("mine")
    with pytest.raises(repro.ModelError, match="is there and is no"):
        repro.save_model(Doubler(), name, overwrite=True)
    assert read(Path("file")) == read(Path("directory", "mine")) == "mine"


def test_an_empty_directory_and_missing_ones_above_are_fine() -> None:
    Path("empty").mkdir()
    assert (save(path="empty") / "MLmodel").is_file()
    assert (save(path="a/b/c") / "MLmodel").is_file()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_failure_leaves_nothing_and_keeps_what_was_there(overwrite: bool) -> None:
    path = save() if overwrite else Path("model")
    before = read(path / "MLmodel") if overwrite else None
    with pytest.raises(repro.ModelError, match=r"a `test_save\.Unpicklable` cannot be pickled: never"):
        repro.save_model(Unpicklable(), path, overwrite=overwrite)
    assert os.listdir(".") == (["model"] if overwrite else [])
    assert not overwrite or read(path / "MLmodel") == before


def test_metadata_that_is_no_yaml_is_refused() -> None:
    with pytest.raises(repro.ModelError, match="the model cannot be described"):
        repro.save_model(Doubler(), snapshot=False, metadata={"a": object()})
    assert os.listdir(".") == []


def test_what_cannot_predict_is_no_model() -> None:
    for thing in (5, Doubler, len):
        with pytest.raises(repro.ModelError, match="is no model: it has no `predict`") as caught:
            repro.save_model(thing)
        assert "repro.crate" in str(caught.value.hint)


def test_a_flavor_that_there_is_not_is_named_with_those_there_are() -> None:
    with pytest.raises(repro.ModelError) as caught:
        repro.save_model(Doubler(), flavor="sklaern")
    assert caught.value.message == "there is no flavor `sklaern`"
    assert "sklearn, python_object" in str(caught.value.hint)


def test_a_flavor_that_cannot_be_imported_is_named_and_may_be_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "site" / "broken-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[repro.flavors]\nbroken = no_such_module_at_all\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(repro.ModelError, match=r"the flavor `broken` \(no_such_module_at_all\) cannot be imported"):
        repro.save_model(Doubler())
    assert (save(flavor="python_object") / "MLmodel").is_file()


def test_a_flavor_that_does_not_fit_the_model_says_so() -> None:
    with pytest.raises(repro.ModelError, match=r"the flavor `xgboost` cannot save a `test_save\.Doubler`"):
        repro.save_model(Doubler(), flavor="xgboost")


def test_a_model_that_cannot_answer_its_example_is_saved_with_what_is_known() -> None:
    example = [1.0]
    with pytest.warns(UserWarning, match=r"cannot predict its own input example \(KeyError: 'nothing left'\)"):
        path = repro.save_model(Changing(), snapshot=False, input_example=example, code_paths=[__file__])
    model = parse_mlmodel(read(path / "MLmodel"))
    assert model.signature == Signature(inputs=(Column(type="double"),))
    assert example == json.loads(read(path / "input_example.json")) == [1.0]


def test_a_signature_is_taken_as_given_and_none_with_false() -> None:
    given = repro.infer_signature([1], ["x"])
    path = save(signature=given, input_example=[1.0])
    assert parse_mlmodel(read(path / "MLmodel")).signature == given
    path = save(signature={"inputs": '[{"type": "long"}]', "outputs": None, "params": None}, overwrite=True)
    assert parse_mlmodel(read(path / "MLmodel")).signature == Signature(inputs=(Column(type="long"),))
    path = save(signature=False, input_example=[1.0], overwrite=True)
    assert parse_mlmodel(read(path / "MLmodel")).signature is None
    with pytest.raises(repro.ModelError, match="a signature is not a `int`"):
        repro.save_model(Doubler(), "other", signature=5)


def test_code_paths_make_the_warning_go_and_the_module_come_along() -> None:
    path = repro.save_model(Doubler(), snapshot=False, code_paths=[__file__])
    assert read(path / "code" / "test_save.py") == read(Path(__file__))


def test_a_dependency_that_is_not_installed_is_refused() -> None:
    with pytest.raises(repro.ReproError, match="the model's dependencies are not installed: `no-such-thing`"):
        repro.save_model(Doubler(), snapshot=False, dependencies=["pytest", "no_such.thing"])


def test_dependencies_take_the_place_of_what_was_imported() -> None:
    lines = read(save(dependencies=["PyYAML"]) / "requirements.txt").splitlines()
    assert [line.partition("==")[0] for line in lines if line[0] != "-"] == ["pyyaml"]


def test_a_directory_takes_the_place_of_another_whole(tmp_path: Path) -> None:
    for name in ("new", "old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text(name)
    replace_directory(tmp_path / "new", tmp_path / "old")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["new"]
    assert not (tmp_path / "new").exists()


def test_a_directory_that_is_replaced_is_there_at_every_moment(tmp_path: Path) -> None:
    target = tmp_path / "old"
    target.mkdir()
    (target / "file").write_text("")
    gone, done = [], threading.Event()

    def watch() -> None:
        while not done.is_set():
            if not target.is_dir():
                gone.append(1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for number in range(200):
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "file").write_text(str(number))
        replace_directory(tmp_path / "new", target)
    done.set()
    watcher.join()
    assert not gone
    assert (target / "file").read_text() == "199"


MODEL = """
class Model:
    def predict(self, data, params=None):
        return [each + 1 for each in data]
"""
SCRIPT = """
import alpha, sys
import repro

repro.save_model(Model(), "saved", input_example=[1, 2], code_paths=["model.py"])
print(sorted({"packaging", "rich", "filelock", "virtualenv"} & set(sys.modules)))
"""

LOADER = """
import json, os

class _Model:
    def __init__(self, text):
        self.text = text

    def predict(self, data, params=None):
        return [self.text] * len(data)

def _load_pyfunc(directory):
    with open(os.path.join(directory, "flavor.json")) as file:
        return _Model(json.load(file)["text"])
"""
FLAVOR = """
from pathlib import Path
from repro.models.flavors import Saved

class Box:
    text = "in a box"

def recognizes(model):
    return isinstance(model, Box)

def save(model, directory, example):
    return Saved(keys={"text": model.text}, needs=("boxes",), loader=Path(__file__).with_name("boxes_loader.py"))
"""


@pytest.fixture
def boxes(environment: TestEnvironment, index: LocalIndex) -> TestEnvironment:
    """An environment with a distribution that brings a flavor."""
    points = "[repro.flavors]\nbox = boxes\n"
    files = {"boxes.py": FLAVOR, "boxes_loader.py": LOADER, "boxes-1.0.dist-info/entry_points.txt": points}
    index.add("boxes", "1.0", files=files, requires=("beta",))
    return environment.install("boxes==1.0")


def run(environment: TestEnvironment, script: str, *args: str, **variables: str) -> subprocess.CompletedProcess[str]:
    Path("train.py").write_text(script)
    return subprocess.run(
        [environment.python, "train.py", *args],
        env={**os.environ, **lend(environment), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_distribution_brings_a_flavor_and_its_loader_goes_along(boxes: TestEnvironment, cache: Path) -> None:
    script = "import boxes, repro\nrepro.save_model(boxes.Box(), 'saved', input_example=['x'])\n"
    done = run(boxes, script, MLFLOW_SNAPSHOT_CACHE=str(cache), PIP_INDEX_URL="http://ada:hunter2@127.0.0.1:9/simple/")
    assert (done.returncode, done.stderr) == (0, "")
    saved = Path("saved")
    model = parse_mlmodel(read(saved / "MLmodel"))
    assert model.flavors["box"] == {"text": "in a box", "code": "code", "input": "list"}
    loader_module = model.flavors["python_function"]["loader_module"]
    assert read(saved / "code" / f"{loader_module}.py") == LOADER
    assert model.signature == Signature(inputs=(Column(type="string"),), outputs=(Column(type="string"),))
    lock = parse_snapshot(read(saved / "requirements-lock.txt"), where="lock")
    assert [each.name for each in lock.distributions] == ["alpha", "beta", "boxes"]
    assert model.own is not None
    assert model.own.digest == lock.compute_digest()
    assert [line for line in read(saved / "requirements.txt").splitlines() if line[0] != "-"] == [
        "beta==2.0",
        "boxes==1.0",
    ]
    assert "build_dependencies:\n- pip\ndependencies:\n- -r requirements.txt\n" in read(saved / "python_env.yaml")
    assert "  - boxes==1.0\n" in read(saved / "conda.yaml")
    assert not any("hunter2" in read(path) for path in saved.rglob("*") if path.is_file())


def test_saving_needs_nothing_but_repro_and_yaml(environment: TestEnvironment, cache: Path) -> None:
    Path("model.py").write_text(MODEL)
    done = run(
        environment, "from model import Model\n" + SCRIPT, MLFLOW_SNAPSHOT_CACHE=str(cache), SECRET_TOKEN="hunter2"
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
    saved = Path("saved")
    assert [line for line in read(saved / "requirements.txt").splitlines() if line[0] != "-"] == [
        "alpha==1.0",
        "beta==2.0",
    ]
    assert read(saved / "code" / "model.py") == MODEL
    assert not any(b"hunter2" in path.read_bytes() for path in saved.rglob("*") if path.is_file())


def test_where_all_of_repro_is_there_the_lock_is_that_of_a_snapshot(environment: TestEnvironment, cache: Path) -> None:
    Path("model.py").write_text(MODEL)
    more = f"import sys\nsys.path += {[str(REPOSITORY), sysconfig.get_path('purelib')]!r}\nfrom model import Model\n"
    done = run(environment, more + SCRIPT + "repro.snapshot('lock')\n", MLFLOW_SNAPSHOT_CACHE=str(cache), PYTHONPATH="")
    assert done.stderr == ""
    assert read(Path("saved", "requirements-lock.txt")) == read(Path("lock"))
    lock = parse_snapshot(read(Path("lock")), where="lock")
    assert [(each.name, bool(each.hashes)) for each in lock.distributions] == [("alpha", True), ("beta", True)]


def test_without_cloudpickle_a_class_of_the_script_is_refused_with_what_mends_it(
    environment: TestEnvironment, cache: Path
) -> None:
    done = run(environment, MODEL + SCRIPT, MLFLOW_SNAPSHOT_CACHE=str(cache))
    assert "`Model` is defined in the script: to save it needs cloudpickle, which is not installed" in done.stderr
    assert "hint: pip install cloudpickle" in done.stderr
    assert not Path("saved").exists()
