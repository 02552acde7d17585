"""Calls that a real MLflow server has answered, asked again: status, error code and shape are the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from api_client import Answer, Api

from repro.tracking.file_store import FileStore

CALLS = Path(__file__).resolve().parents[3] / "fixtures" / "rest_calls"
OURS_ALONE = {
    "preview-prefix": 200,  # MLflow 1 calls the registry so, and MLflow's server no longer answers it
}
LEFT_OUT = {"sqlstate", "error_class", "workspace", "features_enabled"}
ADDED = {"aliases"}  # MLflow's SQL store leaves them out of searches
CONTENTS = {"<15 bytes text/plain>": b"hello artifact\n", "<100000 bytes application/octet-stream>": bytes(100_000)}


def shape(value: Any) -> Any:
    """Return what kinds of values there are; what is empty may be missing, and of a list its items are one."""
    if isinstance(value, dict):
        shapes = {key: shape(each) for key, each in value.items() if key not in LEFT_OUT}
        return {key: each for key, each in shapes.items() if each not in ({}, [], "empty")}
    if isinstance(value, list):
        merged: dict[str, Any] = {}
        others = set()
        for each in map(shape, value):
            if isinstance(each, dict):
                merged |= each
            else:
                others.add(each)
        return [merged, *sorted(others)] if merged or others else []
    if value in ("NaN", "Infinity", "-Infinity"):
        return "number"
    if value == "":
        return "empty"
    return {bool: "flag", str: "text", int: "number", float: "number", type(None): "empty"}[type(value)]


def find_lacks(recorded: Any, ours: Any, place: str = "") -> list[str]:
    """Return where two shapes differ."""
    if isinstance(recorded, dict) and isinstance(ours, dict):
        lacks = [f"{place}/{key} is missing" for key in recorded if key not in ours]
        lacks += [f"{place}/{key} is ours alone" for key in ours if key not in recorded and key not in ADDED]
        both = [key for key in recorded if key in ours]
        return lacks + [lack for key in both for lack in find_lacks(recorded[key], ours[key], f"{place}/{key}")]
    if isinstance(recorded, list) and isinstance(ours, list) and len(recorded) == len(ours):
        return [lack for a, b in zip(recorded, ours, strict=True) for lack in find_lacks(a, b, f"{place}[]")]
    return [] if recorded == ours else [f"{place}: {recorded} and {ours}"]


class Replay:
    """The recorded calls against one server; ids that MLflow gave are replaced by those that it gives."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.words: dict[str, str] = {}
        self.experiment = "2"

    def _translate(self, text: str) -> str:
        for theirs, ours in self.words.items():
            text = text.replace(theirs, ours)
        for before, after in (
            ('"2"', '"'),
            ("experiment_id=2", ""),
            ("artifacts/2/", "/"),
            ("path=2/", "/"),
            (":/2/", "/"),
        ):
            text = text.replace(before, before[: -1 - len(after)] + self.experiment + after)
        return text.replace("<6001 x>", "x" * 6001)

    def _learn(self, label: str, recorded: Any, ours: Any) -> None:
        if label == "experiment-create":
            self.experiment = ours["experiment_id"]
        if label == "run-create":
            self.words[recorded["run"]["info"]["run_id"]] = ours["run"]["info"]["run_id"]
        if label == "logged-model-create":
            self.words[recorded["model"]["info"]["model_id"]] = ours["model"]["info"]["model_id"]

    def ask(self, call: dict[str, Any]) -> Answer:
        """Ask one call again."""
        path = self._translate(call["path"] + (f"?{call['query']}" if call["query"] else ""))
        body: Any = None
        if isinstance(call["request"], str):
            body = CONTENTS[call["request"]]
        elif call["request"] is not None:
            body = json.loads(self._translate(json.dumps(call["request"])))
        answer = self.api.ask(call["method"], path, body=body)
        if answer.headers["content-type"] == "application/json" and answer.status == 200:
            self._learn(call["label"], call["response"], answer.json)
        return answer


def find_difference(call: dict[str, Any], answer: Answer) -> list[str]:
    """Return how an answer differs from the recorded one."""
    label = call["label"]
    if answer.status != OURS_ALONE.get(label, call["status"]):
        return [f"{label}: {call['status']} and {answer.status} {answer.body[:300]!r}"]
    if call["content_type"] != "application/json" or label in OURS_ALONE:
        same = call["status"] != 200 or call["response"] is None or answer.body or label == "version"
        return [] if same else [f"{label}: no body"]
    if call["response"].get("error_code") != answer.json.get("error_code"):
        return [f"{label}: {call['response']} and {answer.json}"]
    return [f"{label}{lack}" for lack in find_lacks(shape(call["response"]), shape(answer.json))]


def test_the_server_answers_as_mlflow_does(api: Api, store: FileStore) -> None:
    replay = Replay(api)
    differences = []
    for path in sorted(CALLS.glob("*.json")):
        call = json.loads(path.read_text())
        differences += find_difference(call, replay.ask(call))
    assert differences == []
