"""Serve a model directory: read what it says, find its environment, and start the server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from repro import settings
from repro.environments.lookup import Environment
from repro.environments.machine import Machine
from repro.environments.restore import Request
from repro.environments.satisfy import restore_or_warn
from repro.errors import ModelError
from repro.formats.lockfile import FILE_NAME as LOCK_NAME
from repro.formats.mlmodel import FILE_NAME, MLModel, parse_mlmodel
from repro.models.serving.link import WorkerLink, WorkerPlan, start_worker
from repro.models.serving.served import Served
from repro.models.serving.server import ModelServer, Reporter, ServeOptions

_MOST_EXAMPLE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeRequest:
    """Which model, and in what it runs: `restore` its own environment, else that of `python` or of the caller."""

    model: Path
    restore: bool = False
    python: str | None = None
    offline: bool = False


def read_model(directory: Path) -> MLModel:
    """Return what a model directory says of itself. Raises ModelError."""
    try:
        text = (directory / FILE_NAME).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(
            f"`{directory}` is no model: it has no `{FILE_NAME}` that can be read",
            hint="name the directory that `save_model` or `log_model` has written",
        ) from error
    return parse_mlmodel(text, where=str(directory / FILE_NAME))


def _find_environment(machine: Machine, request: ServeRequest, model: MLModel) -> Environment | None:
    lock = request.model / (model.own.lock if model.own else LOCK_NAME)
    if not lock.is_file():
        if request.restore:
            raise ModelError(f"`{request.model}` has no `{LOCK_NAME}`: nothing says what its environment holds")
        return None
    command = f"repro serve {request.model} --restore"
    asked = Request(lock=lock, python=request.python, offline=request.offline)
    return restore_or_warn(machine, asked, restore=request.restore, command=command)


def find_example(directory: Path, model: MLModel) -> Mapping[str, object] | None:
    """Return a body that may be sent: the one that was saved, or the input example in a body."""
    example = model.example
    if example is None:
        return None
    path = directory / (example.serving_input_path or example.artifact_path)
    try:
        if path.stat().st_size > _MOST_EXAMPLE_BYTES:
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
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


def make_server(machine: Machine, request: ServeRequest, options: ServeOptions, report: Reporter) -> ModelServer:
    """Return a server that is ready to run; warns where the environment does not satisfy the model's lock.

    Raises UsageError, ModelError and what restoring raises.
    """
    options.check()
    model = read_model(request.model)
    environment = _find_environment(machine, request, model)
    python = environment.python if environment else settings.choose_python(request.python, machine.environ)
    header, facts = _describe_environment(environment)
    name = request.model.resolve().name
    plan = WorkerPlan(
        python=python,
        directory=request.model.resolve(),
        flavors=model.flavors,
        name=name,
        environ=machine.environ,
        prefix=environment.path if environment else None,
    )
    links: list[WorkerLink] = []

    async def start() -> WorkerLink:
        link = await start_worker(plan)
        links[:] = [link]
        return link

    def describe() -> Served:
        return Served(
            name=name,
            environment=header,
            signature=model.signature,
            wants_frame=links[0].wants_frame,
            example=find_example(request.model, model),
            facts={**facts, "python": links[0].ready["python"], "workers": options.workers},
        )

    return ModelServer(options, start, describe, report)
