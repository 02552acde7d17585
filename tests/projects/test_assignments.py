from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import LocalIndex

from repro.errors import ReproError, TrackingError, UsageError
from repro.formats.mlproject import EntryPoint, Parameter, ParameterType
from repro.projects.assignments import fetch_remote, parse_assignments, resolve_parameters
from repro.projects.remote_data import fetch
from repro.tracking.client import Client
from repro.tracking.entities import NewRun
from repro.tracking.file_store import FileStore


def test_an_assignment_may_hold_anything_behind_its_name() -> None:
    assert parse_assignments(["a=1", "b=", "c=x=y"]) == {"a": "1", "b": "", "c": "x=y"}


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["a"], "`-P a` is not `NAME=VALUE`"),
        (["=1"], "`-P =1` is not `NAME=VALUE`"),
        (["a=1", "a=2"], "the parameter `a` is given twice: `1` and `2`"),
    ],
)
def test_what_is_no_assignment_is_said(pairs: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_assignments(pairs)
    assert caught.value.message == message


def resolve(parameter: Parameter, given: dict[str, str], here: Path) -> dict[str, str]:
    entry = EntryPoint(name="main", command="train", parameters=(parameter,))
    return dict(resolve_parameters(entry, given, project_dir=here / "project", cwd=here).passed)


def test_defaults_fill_in_and_the_undeclared_follow(tmp_path: Path) -> None:
    values = resolve(Parameter(name="a", default="1"), {"z": "2", "b": "3"}, tmp_path)
    assert list(values.items()) == [("a", "1"), ("z", "2"), ("b", "3")]


def test_declared_parameters_come_in_declared_order(tmp_path: Path) -> None:
    entry = EntryPoint(name="main", command="t", parameters=(Parameter(name="b"), Parameter(name="a", default="1")))
    values = resolve_parameters(entry, {"z": "3", "a": "2", "b": ""}, project_dir=tmp_path, cwd=tmp_path)
    assert list(values.passed.items()) == [("b", ""), ("a", "2"), ("z", "3")]


def test_a_default_is_checked_by_type_too(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(Parameter(name="a", type=ParameterType.INT, default="x"), {}, tmp_path)
    assert caught.value.message == "the parameter `a` must be of type int, and `x` is not"


def test_all_missing_parameters_are_named_at_once(tmp_path: Path) -> None:
    entry = EntryPoint(name="main", command="t", parameters=(Parameter(name="a"), Parameter(name="b")))
    with pytest.raises(UsageError) as caught:
        resolve_parameters(entry, {}, project_dir=tmp_path, cwd=tmp_path)
    assert caught.value.message == "the entry point `main` needs a value for `a`, `b`"
    assert caught.value.hint == "-P a=VALUE -P b=VALUE"


@pytest.mark.parametrize(
    ("type_", "good", "bad"),
    [
        (ParameterType.FLOAT, "1e-3", "notafloat"),
        (ParameterType.FLOAT, "-nan", "1_0"),
        (ParameterType.INT, "10", "1_0"),
        (ParameterType.INT, "007", "1.0"),
        (ParameterType.INT, "-3", "1e3"),
        (ParameterType.BOOL, "Yes", "2"),
        (ParameterType.URI, "s3://bucket/x", "bucket/x"),
        (ParameterType.URI, "file:///x", "http://["),
    ],
)
def test_a_value_is_checked_by_type_and_kept_as_its_text(
    type_: ParameterType, good: str, bad: str, tmp_path: Path
) -> None:
    parameter = Parameter(name="a", type=type_)
    assert resolve(parameter, {"a": good}, tmp_path) == {"a": good}
    with pytest.raises(UsageError) as caught:
        resolve(parameter, {"a": bad}, tmp_path)
    assert caught.value.message == f"the parameter `a` must be of type {type_.value}, and `{bad}` is not"


def test_a_given_path_is_the_callers_and_a_default_the_projects(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "project"):
        directory.mkdir(exist_ok=True)
        (directory / "d.csv").touch()
    parameter = Parameter(name="data", type=ParameterType.PATH, default="d.csv")
    assert resolve(parameter, {}, tmp_path) == {"data": str(tmp_path / "project" / "d.csv")}
    assert resolve(parameter, {"data": "d.csv"}, tmp_path) == {"data": str(tmp_path / "d.csv")}
    with pytest.raises(UsageError) as caught:
        resolve(parameter, {"data": "gone"}, tmp_path)
    assert caught.value.message == f"the parameter `data` is a path, and there is no `{tmp_path / 'gone'}`"


def test_a_path_keeps_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "0a1b").touch()
    (tmp_path / "d.csv").symlink_to("0a1b")
    (tmp_path / "a:b c").touch()
    parameter = Parameter(name="data", type=ParameterType.PATH)
    for value in ("d.csv", "a:b c", "x/../d.csv"):
        assert resolve(parameter, {"data": value}, tmp_path) == {"data": str(tmp_path / Path(value).name)}
    assert resolve(parameter, {"data": (tmp_path / "a:b c").as_uri()}, tmp_path) == {"data": str(tmp_path / "a:b c")}


@pytest.mark.parametrize("value", ["s3://bucket/d.csv", "dbfs:/d", "file://host/d.csv"])
def test_what_cannot_be_fetched_is_told_before_anything_is(value: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(Parameter(name="data", type=ParameterType.PATH), {"data": value}, tmp_path)
    scheme = value.partition(":")[0]
    assert caught.value.message == (
        f"the parameter `data` is a path, and `{value}` cannot be fetched: `{scheme}:` is not known"
    )
    assert (
        caught.value.hint
        == "one of `http:`, `https:`, `runs:`, `models:`, `mlflow-artifacts:`; or download it, and give its path"
    )


def test_a_path_is_kept_as_it_was_given_and_passed_as_it_is_found(tmp_path: Path) -> None:
    (tmp_path / "d.csv").touch()
    entry = EntryPoint(name="main", command="t", parameters=(Parameter(name="data", type=ParameterType.PATH),))
    values = resolve_parameters(entry, {"data": "d.csv"}, project_dir=tmp_path / "project", cwd=tmp_path)
    assert (values.given, values.passed, values.remote) == ({"data": "d.csv"}, {"data": str(tmp_path / "d.csv")}, ())


def test_what_lies_elsewhere_is_fetched_into_a_directory_of_its_own(index: LocalIndex, tmp_path: Path) -> None:
    (index.root / "d 1.csv").write_text("a,b")
    url = f"http://{index.host}/d%201.csv?x=1"
    names = ("first", "data")
    entry = EntryPoint(
        name="main", command="t", parameters=tuple(Parameter(name=each, type=ParameterType.PATH) for each in names)
    )
    values = resolve_parameters(entry, {"first": ".", "data": url}, project_dir=tmp_path, cwd=tmp_path)
    assert values.remote == ("data",)
    fetched = fetch_remote(values, tmp_path / "kept", environ=os.environ)
    assert fetched.given == {"first": ".", "data": url}
    assert fetched.passed["data"] == str(tmp_path / "kept" / "param_1" / "d 1.csv")
    assert Path(fetched.passed["data"]).read_text() == "a,b"
    assert fetched.passed["first"] == str(tmp_path)


@pytest.mark.parametrize(("name", "kept"), [("", "download"), ("%2e%2e", "download"), ("a%2Fb", "a_b")])
def test_a_download_never_leaves_its_directory(name: str, kept: str, index: LocalIndex, tmp_path: Path) -> None:
    (index.root / "a").mkdir()
    (index.root / "a" / "b").touch()
    assert fetch(f"http://{index.host}/{name}", tmp_path / "x", environ=os.environ) == tmp_path / "x" / kept


def test_what_is_not_there_is_told(index: LocalIndex, tmp_path: Path) -> None:
    with pytest.raises(ReproError, match=r"/gone` cannot be read \(HTTP 404\)"):
        fetch(f"http://user:secret@{index.host}/gone", tmp_path / "x", environ=os.environ)


def test_an_artifact_of_a_run_is_a_path(store: FileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = store.create_run(NewRun(experiment_id="0", user_id="u", start_time_ms=1)).run_id
    store.write_artifact(run_id, "data/d.csv", b"a,b")
    environ = {"MLFLOW_TRACKING_URI": store.uri}
    assert fetch(f"runs:/{run_id}/data/d.csv", tmp_path / "x", environ=environ).read_bytes() == b"a,b"
    assert sorted(os.listdir(fetch(f"runs:/{run_id}/data", tmp_path / "y", environ=environ))) == ["d.csv"]
    with pytest.raises(UsageError, match="names no artifact of a run"):
        fetch(f"runs:/{run_id}", tmp_path / "z", environ=environ)


def test_a_registered_model_is_a_path(store: FileStore, tmp_path: Path) -> None:
    run_id = store.create_run(NewRun(experiment_id="0", user_id="u", start_time_ms=1)).run_id
    store.write_artifact(run_id, "model/MLmodel", b"flavors: {}")
    client = Client(store=store)
    client.create_registered_model("wine")
    client.create_model_version("wine", f"runs:/{run_id}/model", run_id=run_id)
    environ = {"MLFLOW_TRACKING_URI": store.uri}
    found = fetch("models:/wine/1", tmp_path / "x", environ=environ)
    assert found.is_relative_to(tmp_path / "x")
    assert (found / "MLmodel").read_bytes() == b"flavors: {}"
    with pytest.raises(TrackingError, match="wine"):
        fetch("models:/wine/2", tmp_path / "y", environ=environ)


def test_lenient_types_take_any_text_for_a_number(tmp_path: Path) -> None:
    entry = EntryPoint(name="main", command="t", parameters=(Parameter(name="a", type=ParameterType.INT),))
    values = resolve_parameters(entry, {"a": "None"}, project_dir=tmp_path, cwd=tmp_path, lenient=True)
    assert values.passed == {"a": "None"}


def test_nothing_is_no_path(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(Parameter(name="data", type=ParameterType.PATH), {"data": ""}, tmp_path)
    assert caught.value.message == "the parameter `data` is a path, and there is no ``"
