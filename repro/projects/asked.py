"""Read what a run does out of its request and its project's files, before any run exists."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from repro import settings
from repro.environments.machine import Machine
from repro.formats.mlproject import EntryPoint
from repro.projects.assignments import Values, parse_assignments, resolve_parameters
from repro.projects.env_manager import Choice, choose_environment, find_script
from repro.projects.environment import EnvironmentRequest, check_choice
from repro.projects.managers import choose_manager
from repro.projects.project import Project, open_project
from repro.projects.r_record import require_r
from repro.projects.request import RunRequest
from repro.projects.script import format_run_command
from repro.projects.source import Source
from repro.values import frozen, replace


@frozen
class Asked:
    """What a run does, once all that can be told before it exists is checked."""

    source: Source
    project: Project
    entry: EntryPoint
    values: Values
    choice: Choice
    environment: EnvironmentRequest


def merge_parameters(given: tuple[str, ...], source: Source) -> tuple[str, ...]:
    """Return what is given with what a run that is run again was given besides."""
    named = parse_assignments(given)
    return (*(f"{name}={value}" for name, value in source.parameters.items() if name not in named), *given)


def adapt(request: RunRequest, source: Source, say: Callable[[str], None]) -> RunRequest:
    """Return a request with what a run that is run again says; what the caller says wins."""
    if source.rerun_of is None:
        return request
    is_open = request.restore is None and request.env_manager is None
    if source.lock is None and is_open:
        say(f"warning: run {source.rerun_of} has no snapshot: it is run again in your environment")
    return replace(
        request,
        entry_point=request.entry_point or source.entry_point,
        parameters=merge_parameters(request.parameters, source),
        restore=(source.lock is not None or None) if is_open else request.restore,
    )


def read_values(machine: Machine, request: RunRequest, project: Project, entry: EntryPoint) -> Values:
    """Return the values of an entry point's parameters, checked. Raises UsageError."""
    return resolve_parameters(
        entry,
        parse_assignments(request.parameters),
        project_dir=project.root,
        cwd=Path.cwd(),
        lenient=request.lenient_types or settings.wants_lenient_types(machine.environ),
    )


def read_request(machine: Machine, request: RunRequest, source: Source) -> Asked:
    """Read the project and check all that the caller and its files say. Raises UsageError and ProjectError."""
    project = open_project(source.root)
    entry = project.get_entry_point(request.entry_point, shell=settings.get_shell(machine.environ))
    values = read_values(machine, request, project, entry)
    require_r(format_run_command(entry, values.passed, request.words), machine.environ)
    environment = EnvironmentRequest(
        root=project.root,
        script=find_script(project.root, entry),
        manager=choose_manager(request.env_manager, restore=request.restore, environ=machine.environ),
        offline=request.offline,
        python=request.python,
        as_of=request.as_of or settings.find_as_of(machine.environ),
        more=request.more,
        write_lock=request.write_lock,
    )
    choice = choose_environment(project, entry, environment.manager, lock=source.lock)
    check_choice(machine, choice, environment)
    return Asked(source=source, project=project, entry=entry, values=values, choice=choice, environment=environment)
