"""Load a model: in this process where its environment is the one that is here, else in its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from repro import settings
from repro.environments.machine import Machine
from repro.errors import RestoreError
from repro.models.directory import ModelDirectory, check_files, check_flavors, describe, read_directory
from repro.models.environment import EnvironmentWish, find_drift, restore_for, warn_of_drift
from repro.models.policy import Policy
from repro.models.resolve import find_model
from repro.models.trust import refuse_code
from repro.models.worker_process import WorkerPlan
from repro.values import field, frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.environments.lookup import Environment
    from repro.models.local import LocalModel
    from repro.models.remote import RestoredModel


@frozen
class LoadRequest:
    """Which model is loaded, and how; `command` is what a warning advises, `variables` are for its process alone."""

    uri: str
    run_id: str | None = None
    flavor: str | None = None
    policy: Policy = Policy.WARN
    wish: EnvironmentWish = field(default_factory=EnvironmentWish)
    trust: bool = False
    is_silent: bool = False
    command: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)


@frozen
class CheckedModel:
    """A model that was found, and is whole; `is_foreign` tells whether a server has sent it."""

    directory: ModelDirectory
    is_foreign: bool


def open_model(machine: Machine, uri: str, *, flavor: str | None = None, run_id: str | None = None) -> CheckedModel:
    """Find a model and hold it against what it says of itself. Raises ModelError, UsageError and TrackingError."""
    found = find_model(uri, run_id=run_id, store=machine.store, report=machine.report)
    directory = read_directory(found.path, name=found.name)
    check_files(directory)
    check_flavors(directory, flavor)
    return CheckedModel(directory=directory, is_foreign=found.is_foreign)


def _plan_process(
    machine: Machine, directory: ModelDirectory, python: str, request: LoadRequest, environment: Environment | None
) -> WorkerPlan:
    """Return what the process of a model is: in a restored `environment`, whose it has to be, or that of `python`."""
    return WorkerPlan(
        python=environment.python if environment else python,
        environ=machine.environ,
        name=directory.name,
        directory=directory.path,
        description=describe(directory, request.flavor),
        prefix=environment.path if environment else None,
        digest=environment.digest if environment else None,
        variables=request.variables,
    )


def load_restored(
    machine: Machine, checked: CheckedModel, request: LoadRequest, say: Callable[[str], None]
) -> RestoredModel:
    """Load a model in its own environment. Raises ModelError and what restoring raises."""
    from repro.models.remote import RestoredModel
    from repro.models.worker import start_worker

    directory = checked.directory
    refuse_code(directory, request.flavor, environ=machine.environ)
    environment = restore_for(machine, directory, request.wish, say)
    plan = _plan_process(machine, directory, "", request, environment)
    return RestoredModel(
        start_worker(plan), name=directory.name, environment=environment, signature=directory.model.signature
    )


def mind_drift(machine: Machine, directory: ModelDirectory, request: LoadRequest, *, python: str | None = None) -> bool:
    """Tell whether a model has to be restored; else warn where the environment does not satisfy its snapshot.

    Raises RestoreError where the policy is that it is an error.
    """
    if request.policy is Policy.RESTORE:
        return True
    if request.policy is Policy.WARN and request.is_silent:
        return False
    found = find_drift(machine, directory, python)
    if not found or not found[1]:
        return False
    path, drift = found
    if request.policy is Policy.ERROR:
        from repro.environments.satisfy import format_warning

        raise RestoreError(format_warning(drift, path=str(path), command=request.command))
    warn_of_drift(path, drift, command=request.command, stacklevel=4)
    return False


@frozen
class PlannedModel:
    """A model that is to live in a process of its own, and its restored environment where it has one.

    `mind` warns where the one that it gets does not satisfy its snapshot. That takes a moment: the process can start
    meanwhile.
    """

    directory: ModelDirectory
    environment: Environment | None
    plan: WorkerPlan
    mind: Callable[[], object]


def plan_model(
    machine: Machine, request: LoadRequest, say: Callable[[str], None], *, here: str | None = None
) -> PlannedModel:
    """Return how a model is held in a process: of its restored environment, else of the interpreter that is wished for.

    Where none is, that is `here`, else the active one. Raises ModelError, UsageError, TrackingError and what restoring
    raises.
    """
    directory = open_model(machine, request.uri, flavor=request.flavor, run_id=request.run_id).directory
    refuse_code(directory, request.flavor, environ=machine.environ)
    python = settings.choose_python(request.wish.python or here, machine.environ)

    def mind() -> bool:
        return mind_drift(machine, directory, request, python=python)

    can_wait = request.policy is Policy.WARN  # no more than a warning comes of it
    environment = restore_for(machine, directory, request.wish, say) if not can_wait and mind() else None
    plan = _plan_process(machine, directory, python, request, environment)
    return PlannedModel(
        directory=directory, environment=environment, plan=plan, mind=mind if can_wait else lambda: None
    )


def load(machine: Machine, request: LoadRequest, say: Callable[[str], None]) -> LocalModel | RestoredModel:
    """Load a model. Raises ModelError, UsageError, TrackingError and what restoring raises."""
    checked = open_model(machine, request.uri, flavor=request.flavor, run_id=request.run_id)
    if request.policy is not Policy.RESTORE:  # before a warning of what then is not loaded
        is_foreign = checked.is_foreign and not request.trust
        refuse_code(checked.directory, request.flavor, is_foreign=is_foreign, environ=machine.environ)
    if mind_drift(machine, checked.directory, request):
        return load_restored(machine, checked, request, say)
    from repro.models.local import load_here

    return load_here(checked.directory, request.flavor)
