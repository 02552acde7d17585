"""Look over this machine: interpreters, tools, the store, and the indexes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from repro.environments.housekeeping import cache_checks
from repro.environments.housekeeping.checks import Check, Health
from repro.environments.housekeeping.index_checks import check_indexes
from repro.environments.housekeeping.tools import find_tools
from repro.environments.interpreters import Finder
from repro.environments.machine import Machine
from repro.environments.store import Store
from repro.errors import ReproError
from repro.values import frozen


@frozen
class Checkup:
    """What to look at: the environments by content (`deep`), no network (`offline`), the project that names indexes."""

    project: Path
    deep: bool = False
    offline: bool = False


def _check_interpreters(machine: Machine, store: Store) -> Iterator[Check]:
    found = Finder(store, runner=machine.runner, environ=machine.environ).list_all()
    for each in found:
        text = f"{each.interpreter.implementation} {each.interpreter.version} ({each.interpreter.abi})"
        yield Check(about="python", subject=each.path, health=Health.GOOD, text=text)
    if not found:
        hint = "install Python 3.10 or newer"
        yield Check(about="python", subject="this machine", health=Health.BAD, text="none found", hint=hint)


def _check_tools(machine: Machine) -> Iterator[Check]:
    missing = {
        "uv": "environments are made by virtualenv, which takes longer: pip install 'repro[uv]'",
        "git": "commits cannot be noted or restored: install git",
    }
    for name, version in find_tools(machine).items():
        if version:
            yield Check(about="tool", subject=name, health=Health.GOOD, text=version)
        else:
            hint = missing.get(name, "repro needs it: pip install repro")
            health = Health.DOUBTFUL if name in missing else Health.BAD
            yield Check(about="tool", subject=name, health=health, text="not found", hint=hint)


def _check_cache(store: Store, checkup: Checkup) -> Iterator[Check]:
    yield cache_checks.check_trust(store)
    yield cache_checks.check_links(store)
    yield cache_checks.check_space(store)
    if cache_checks.is_trusted(store):
        yield cache_checks.check_own_clock(store)
        yield from cache_checks.check_environments(store, deep=checkup.deep)


def _check_network(machine: Machine, checkup: Checkup) -> Iterator[Check]:
    try:
        yield from check_indexes(machine, machine.find_indexes(checkup.project), offline=checkup.offline)
    except ReproError as error:
        text = error.message
        yield Check(about="index", subject="configuration", health=Health.BAD, text=text, hint=error.hint)


def examine(machine: Machine, checkup: Checkup) -> Iterator[Check]:
    """Yield what a look over the machine finds. What a store says that is not ours to trust is not read."""
    store = machine.store
    known = store if cache_checks.is_trusted(store) and os.path.isdir(store.root) else Store(os.devnull)
    machine.report("looking for interpreters")
    yield from _check_interpreters(machine, known)
    yield from _check_tools(machine)
    machine.report("looking at the cache")
    yield from _check_cache(store, checkup)
    machine.report("asking the indexes")
    yield from _check_network(machine, checkup)
