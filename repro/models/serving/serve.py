"""Serve a model: find it and its environment, and start the server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from repro.environments.lookup import Environment
from repro.environments.machine import Machine
from repro.formats.mlmodel import MLModel
from repro.models.directory import locate
from repro.models.load import LoadRequest, PlannedModel, plan_model
from repro.models.serving.options import Reporter, ServeOptions
from repro.models.worker_process import Beginning, begin

if TYPE_CHECKING:
    from repro.models.serving.link import WorkerLink
    from repro.models.serving.served import Served
    from repro.models.serving.server import ModelServer

_MOST_EXAMPLE_BYTES = 1 << 20


def find_example(directory: Path, model: MLModel) -> Mapping[str, object] | None:
    """Return a body that may be sent: the one that was saved, or the input example in a body."""
    example = model.example
    if example is None:
        return None
    path = locate(directory, example.serving_input_path or example.artifact_path)
    try:
        if path.stat().st_size > _MOST_EXAMPLE_BYTES:
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if example.serving_input_path:
        return content if isinstance(content, dict) else None
    if example.type == "dataframe":
        return {"dataframe_split" if isinstance(content, dict) else "dataframe_records": content}
    return {"inputs": content}


def _describe_environment(environment: Environment | None) -> tuple[str, dict[str, object]]:
    if environment is None:
        return "not-restored", {"restored": False}
    key = environment.key[:16]
    return key, {"restored": True, "environment_key": environment.key, "lock_digest": environment.digest}


def _make_around(begun: Beginning, planned: PlannedModel, options: ServeOptions, report: Reporter) -> ModelServer:
    """Return the server around a first worker, which loads the model while what speaks HTTP is imported here."""
    from repro.models.serving.link import WorkerLink, open_worker, start_worker
    from repro.models.serving.served import Served
    from repro.models.serving.server import ModelServer

    directory = planned.directory
    header, facts = _describe_environment(planned.environment)
    waiting, links = [begun], list[WorkerLink]()

    async def start() -> WorkerLink:
        link = await (open_worker(waiting.pop()) if waiting else start_worker(planned.plan))
        links[:] = [link]
        return link

    def describe() -> Served:
        return Served(
            name=directory.name,
            environment=header,
            signature=directory.model.signature,
            wants_frame=links[0].wants_frame,
            example=find_example(directory.path, directory.model),
            facts={**facts, "python": links[0].ready["python"], "workers": options.workers},
        )

    def end() -> None:
        for each in waiting:
            each.end()

    return ModelServer(options, start, describe, report, end)


def make_server(machine: Machine, request: LoadRequest, options: ServeOptions, report: Reporter) -> ModelServer:
    """Return a server that is ready to run; warns where the environment does not satisfy the model's snapshot.

    The model runs in its restored environment, else in that of the `python` wished for, else in the caller's. Raises
    UsageError, ModelError and what restoring raises.
    """
    options.check()
    planned = plan_model(machine, request, report.complain)
    begun = begin(planned.plan, planned.mind)
    try:
        return _make_around(begun, planned, options, report)
    except BaseException:
        begun.end()
        raise
