"""A process that holds a model: what crosses, what it may not do, and that it ends."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_models import is_alive, make_model, make_plan, wait_until

from repro.environments.lookup import Environment
from repro.errors import ModelError
from repro.models.remote import RestoredModel
from repro.models.worker import RemoteError, _read_error, start_worker
from repro.models.worker_process import WorkerLostError, WorkerPlan, begin

HERE = Environment(path="", key="", digest="", python_version="", reused=True, seconds=0.0)


def list_children() -> list[int]:
    return [int(pid) for each in Path("/proc/self/task").glob("*/children") for pid in each.read_text().split()]


def hold(plan: WorkerPlan) -> RestoredModel:
    return RestoredModel(start_worker(plan), name=plan.name, environment=HERE, signature=None)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("worker") / "tiny")


@pytest.fixture
def model(directory: Path) -> Iterator[RestoredModel]:
    with hold(make_plan(directory)) as model:
        yield model


def test_what_is_given_comes_back(model: RestoredModel, capfd: pytest.CaptureFixture[str]) -> None:
    value = {"a": [1, 2.5, None, True, "text", b"\x00\xff"], "b": (1, {2: float("inf")}), "c": 1 << 200}
    assert model.predict(value) == {"data": value, "params": None}
    assert model.predict([1], {"k": 2}) == {"data": [1], "params": {"k": 2}}
    large = os.urandom(3_000_000)
    assert model.predict(large)["data"] == large
    assert model.predict(large[1:])["data"] == large[1:]
    assert capfd.readouterr().out == ""


def test_other_methods_and_attributes_are_those_of_the_model(model: RestoredModel) -> None:
    assert (model.add(1), model.add(1, b=5), model.classes, model.sizes_) == (2, 6, ["low", "high"], (3, 4))
    assert model.fit([1]) is model
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        _ = model.absent
    with pytest.raises(AttributeError):
        _ = model._hidden
    assert repr(model).startswith("<RestoredModel `tiny` (loader_of_tiny.Tiny), Python 3.")


def test_an_exception_is_of_its_own_class_and_has_its_traceback(model: RestoredModel) -> None:
    with pytest.raises(ValueError, match="ValueError: what it raises") as caught:
        model.predict({"deed": ["fail"]})
    assert isinstance(caught.value, RemoteError)
    assert caught.value.kind == "ValueError"
    assert caught.value.traceback.splitlines()[1].endswith('loader_of_tiny.py", line 14, in predict')
    assert "model_worker" not in caught.value.traceback
    with pytest.raises(RemoteError, match="of its own") as odd:
        model.predict({"deed": ["odd"]})
    assert odd.value.kind == "loader_of_tiny.Odd"
    with pytest.raises(RemoteError, match="SystemExit"):
        model.predict({"deed": ["leave"]})
    assert model.add(1) == 2


@pytest.mark.parametrize("kind", ["UnicodeDecodeError", "ExceptionGroup", "ValueError"])
def test_an_exception_that_wants_more_than_a_text_is_one_all_the_same(kind: str) -> None:
    found = _read_error({"type": kind, "message": "of the model", "traceback": ""})
    assert isinstance(found, RemoteError)
    assert (found.kind, found.message) == (kind, f"{kind}: of the model")


def test_it_inherits_no_login(directory: Path) -> None:
    secrets = ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD", "PIP_INDEX_URL", "UV_INDEX_OWN_PASSWORD")
    environ = {**os.environ, **dict.fromkeys((*secrets, "REPRO_SERVE_TOKEN", "KEPT"), "here")}
    plan = make_plan(directory, environ=environ, variables={"PIP_INDEX_URL": "given"})
    with hold(plan) as model:
        found = model.environ()
    assert [found.get(name) for name in secrets] == [None, None, "given", None]
    assert ("REPRO_SERVE_TOKEN" in found, found["KEPT"]) == (False, "here")


def test_what_cannot_cross_is_named_with_its_method(model: RestoredModel) -> None:
    with pytest.raises(TypeError, match="the result of `predict`: a value of the type `object` cannot cross"):
        model.predict({"deed": ["give"]})
    with pytest.raises(TypeError, match="the arguments of `add`: a value of the type `set` cannot cross"):
        model.add({1})
    with pytest.raises(ModelError, match="cannot be pickled"):
        pickle.dumps(model)


def test_one_that_dies_says_so_and_is_closed(model: RestoredModel) -> None:
    with pytest.raises(WorkerLostError, match=r"has ended \(exit code 9"):
        model.predict({"deed": ["die"]})
    with pytest.raises(WorkerLostError, match="is closed"):
        model.add(1)


def test_many_threads_get_their_own_answers(model: RestoredModel) -> None:
    wrong: list[int] = []

    def ask(number: int) -> None:
        wrong.extend(each for each in range(30) if model.add(each, number * 1000) != number * 1000 + each)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert wrong == []


def test_one_started_in_a_thread_outlives_it(directory: Path) -> None:
    made: list[RestoredModel] = []
    thread = threading.Thread(target=lambda: made.append(hold(make_plan(directory))))
    thread.start()
    thread.join()
    with made[0] as model:
        assert model.add(1) == 2


def test_one_that_nobody_has_any_more_ends(directory: Path) -> None:
    model = hold(make_plan(directory))
    pid = model._worker.facts["pid"]
    assert is_alive(pid)
    del model
    gc.collect()
    assert not is_alive(pid)


def test_an_interrupted_question_ends_it(model: RestoredModel) -> None:
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    pid = model._worker.facts["pid"]
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            model.predict({"deed": ["sleep"]})
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not is_alive(pid)
    with pytest.raises(WorkerLostError, match="is closed"):
        model.add(1)


CALLER = """
import sys
sys.path[:0] = {paths!r}
from pathlib import Path
from tiny_models import make_plan
from repro.models.worker import start_worker
worker = start_worker(make_plan(Path({directory!r})))
{more}
"""


def run_caller(directory: Path, more: str) -> subprocess.Popen[str]:
    script = CALLER.format(paths=sys.path, directory=str(directory), more=more)
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)


def test_it_ends_with_its_parent_whatever_the_model_does(directory: Path) -> None:
    more = "print(worker.facts['pid'], flush=True)\nworker.ask('call', {'method': 'sleep', 'args': [], 'kwargs': {}})"
    with run_caller(directory, more) as caller:
        assert caller.stdout is not None
        pid = int(caller.stdout.readline())
        assert is_alive(pid)
        caller.kill()
    assert wait_until(lambda: not is_alive(pid))


def test_a_fork_is_refused_and_leaves_the_process_alone(directory: Path) -> None:
    more = """
import os
from repro.errors import ModelError
child = os.fork()
if child == 0:
    try:
        worker.ask('ping', {})
    except ModelError as error:
        print(error.message, flush=True)
    del worker
    os._exit(0)
os.waitpid(child, 0)
print(worker.ask('ping', {})[0]['id'], flush=True)
"""
    said, _ = run_caller(directory, more).communicate(timeout=60)
    assert "and this is a fork of it\n2\n" in said


BOMB = """
import json, os, pickle, socket, struct, sys
class Bomb:
    def __reduce__(self): return (open, ({target!r}, "w"))
content = pickle.dumps(Bomb())
channel = socket.socket(fileno=int(sys.argv[1]))
def send(header, *buffers):
    text = json.dumps(dict(header, buffers=[len(each) for each in buffers])).encode()
    channel.sendall(b"RPM1" + struct.pack("<I", len(text)) + text + b"".join(buffers))
send({{"op": "ready", "prefix": sys.prefix, "python": "3", "pid": os.getpid(), "lock_digest": None}})
channel.recv(1 << 20)
send({{"id": 1, "class": "x", "flavor": "x", "wants_frame": True}})
channel.recv(1 << 20)
{answer}
channel.recv(1)
"""


@pytest.mark.parametrize(
    "answer",
    [
        "channel.sendall(content)",
        "send({'id': 2, 'value': {'$': 'pickle', 'b': 0}}, content)",
        "send({'id': 2, 'value': {'$': 'array', 'dtype': 'O', 'shape': [1], 'b': 0}}, content)",
        "send({'id': 2, 'value': {'$': 'array', 'dtype': '|O8', 'shape': [1], 'b': 0}}, content)",
        "send({'id': 2, 'value': {'$': 'array', 'dtype': '<f8', 'shape': [1 << 60], 'b': 0}}, content)",
        "send({'id': 7, 'value': 1})",
        "send({'id': 2})",
        "channel.sendall(b'RPM1' + struct.pack('<I', 1 << 31))",
    ],
)
def test_a_process_that_answers_with_something_else_is_ended_and_nothing_is_run(
    directory: Path, tmp_path: Path, answer: str
) -> None:
    target = tmp_path / "ran"
    script = tmp_path / "bomb.py"
    script.write_text(BOMB.format(target=str(target), answer=answer))
    model = hold(make_plan(directory, script=str(script)))
    pid = model._worker.facts["pid"]
    with pytest.raises(WorkerLostError, match="has sent no answer"):
        model.predict([1])
    assert not target.exists()
    assert not is_alive(pid)


def test_one_in_another_place_than_asked_for_gets_no_model(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"it runs in `{sys.prefix}` instead of `{tmp_path}`"):
        start_worker(make_plan(directory, prefix=str(tmp_path)))
    with pytest.raises(ModelError, match="its environment is that of the lock `None` instead of `abc`"):
        start_worker(make_plan(directory, digest="abc"))
    with pytest.raises(ModelError, match="cannot be started"):
        start_worker(make_plan(directory, python=str(tmp_path / "absent")))


def test_what_goes_wrong_beside_its_start_leaves_no_process(directory: Path, tmp_path: Path) -> None:
    pids: list[int] = []

    def fail() -> None:
        pids.extend(list_children())
        raise ModelError("said by another")

    before = set(list_children())
    for python in (sys.executable, "/bin/true", str(tmp_path / "absent")):
        with pytest.raises(ModelError, match="said by another"):
            begin(make_plan(directory, python=python), fail)
    assert set(pids) > before, "it was done beside the process"
    assert set(list_children()) == before


def test_a_model_that_cannot_be_loaded_says_why_and_where(tmp_path: Path) -> None:
    broken = make_model(tmp_path / "broken", "import absent_library\n")
    with pytest.raises(ModelError, match=r"`broken` cannot be loaded in .*No module named 'absent_library'") as caught:
        start_worker(make_plan(broken))
    assert "restore=True" in (caught.value.hint or "")
