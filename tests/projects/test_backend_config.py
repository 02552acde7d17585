"""The configuration that a caller has for a backend."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from conftest import Cli

import repro
from repro.errors import UsageError
from repro.projects.backend_config import hash_backend_config, read_backend_config
from repro.projects.request import RunRequest


def test_a_text_a_file_and_a_mapping_say_the_same(tmp_path: Path) -> None:
    path = tmp_path / "{.json"
    path.write_text('{"b": [1, null],\n "a": {"é": true}}')
    wanted = {"a": {"é": True}, "b": [1, None]}
    given = [path, str(path), path.read_text(), {"b": (1, None), "a": {"é": True}}]
    assert [read_backend_config(each) for each in given] == [wanted] * 4  # type: ignore[arg-type]
    assert len({hash_backend_config(read_backend_config(each)) for each in given}) == 1  # type: ignore[arg-type]
    assert (read_backend_config(None), hash_backend_config({})) == ({}, None)
    secret = RunRequest(backend_config={"token": "s3cret"})
    assert pickle.loads(pickle.dumps(secret)) == secret
    assert "s3cret" not in repr(secret)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ('{"a": 1,\n "b" 2}', "line 2, column 6: Expecting ':' delimiter"),
        ("[1]", "`[1]` cannot be read: it is a list, and not an object"),
        ('"queue"', "it is a text, and not an object"),
        ('{"a": 1, "a": 2}', "`a` stands in it twice"),
        ('{"a": NaN}', "`NaN` is no value of JSON"),
        ('{"a":' * 100_000, "it is nested too deeply"),
        ("queue=night", "there is no file `queue=night`"),
        ("nothing.json", "there is no file `nothing.json`"),
        (".", "`.` cannot be read: Is a directory"),
        ("\0", "cannot be read: embedded null byte"),
        ({"a": {1}}, "`backend_config` is nothing that JSON has"),
        ({"a": float("nan")}, "`backend_config` is nothing that JSON has"),
    ],
)
def test_what_is_no_configuration_is_said_with_its_place(value: object, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_backend_config(value)  # type: ignore[arg-type]
    assert sentence in caught.value.message
    assert len(caught.value.message) < 300


def test_a_file_is_named_with_line_and_column_and_the_local_backend_takes_none(cli: Cli) -> None:
    Path("train.py").touch()
    Path("far.json").write_text('{"queue":\n  night}')
    said = cli("run", ".", "-e", "train.py", "--backend-config", "far.json", code=2).stderr
    assert "the backend's configuration `far.json` cannot be read: line 2, column 3: Expecting value" in said
    said = cli("sweep", ".", "-e", "train.py", "-P", "x=1,2", "--backend-config", '{"a": 1, "b": 2}', code=2).stderr
    assert "the backend `local` takes no configuration, and was given `a`, `b`" in said
    with pytest.raises(UsageError, match="`local` takes no configuration, and was given `a`"):
        repro.run(".", "train.py", backend_config={"a": 1}, cache="cache")
    assert not Path("mlruns").exists()
