"""Choose the MLflow to run: the one that is named, else one of repro's own, else the user's."""

from __future__ import annotations

import os

from repro import settings
from repro.environments.lookup import Environment
from repro.environments.machine import Machine
from repro.environments.own_mlflow import find_current, locate_program, restore_release
from repro.errors import UsageError
from repro.values import frozen


@frozen
class Mlflow:
    """An `mlflow` to run, and what found it; `environment` is that of repro's own one."""

    program: str
    found_by: str
    environment: Environment | None = None

    def make_environment(self, machine: Machine, *, tracking_uri: str) -> dict[str, str]:
        """Return the environment to run it in; nothing leaks into repro's own one."""
        environ = dict(machine.environ)
        if self.environment:
            bin_dir = os.path.dirname(self.program)
            environ = settings.make_sealed_environment(environ, bin_dir=bin_dir, prefix=self.environment.path)
            settings.let_write_bytecode(environ)
        python = settings.choose_python(None, machine.environ)
        return settings.make_mlflow_environment(environ, program=self.program, python=python, tracking_uri=tracking_uri)


def choose_mlflow(machine: Machine, *, offline: bool = False) -> Mlflow:
    """Return `MLFLOW_BIN`, else what `repro mlflow install` has kept, else the one beside the user's Python or on PATH.

    Raises UsageError where there is none, and what restoring repro's own one raises.
    """
    if named := settings.find_named_mlflow(machine.environ):
        return Mlflow(program=named, found_by="MLFLOW_BIN")
    if release := find_current(machine):
        environment = restore_release(machine, release, offline=offline)
        return Mlflow(program=locate_program(environment), found_by="repro mlflow install", environment=environment)
    python = settings.choose_python(None, machine.environ)
    if found := settings.find_mlflow(machine.environ, python=python):
        return Mlflow(program=found, found_by="beside your Python, or on PATH")
    raise UsageError(
        "there is no MLflow here", hint="`repro mlflow install` keeps one apart; MLFLOW_BIN names one of your own"
    )
