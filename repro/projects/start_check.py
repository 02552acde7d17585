"""Look, before a script is started, whether the environment made for it has what it imports."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from repro.environments.lookup import Environment
from repro.environments.machine import Machine
from repro.errors import ProjectError
from repro.projects.env_manager import GuessedEnvironment, LockedEnvironment, LooseEnvironment, Restored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.projects.undeclared import Undeclared


def _list_modules(prefix: str) -> frozenset[str]:
    """Return the names that lie in an environment, and of our own standard library: most scripts need no more."""
    from repro.environments.pkg_resources import find_site_dir

    site = find_site_dir(prefix)
    here = os.listdir(site) if site else []
    return frozenset(name.partition(".")[0] for name in here) | sys.stdlib_module_names


def _find_missing(machine: Machine, prefix: str, python: str, root: Path, script: Path) -> tuple[Undeclared, ...]:
    from repro.projects.undeclared import find_undeclared

    missing = find_undeclared(root, script, has=_list_modules(prefix).__contains__)
    if not missing:
        return ()
    from repro.snapshots.probe import probe
    from repro.snapshots.provides import read_provided
    from repro.snapshots.stdlib import list_stdlib

    report = probe(python, runner=machine.runner, environ=machine.environ)
    stdlib = list_stdlib(python, interpreter=report.interpreter, runner=machine.runner, environ=machine.environ)
    provided = read_provided(report.found)
    return tuple(each for each in missing if each.module not in stdlib and not provided.find(each.module))


def _name_modules(missing: Sequence[Undeclared]) -> str:
    return ", ".join(f"`{each.module}` ({each.file}, line {each.line})" for each in missing)


def _name_distributions(missing: Sequence[Undeclared]) -> list[str]:
    """Return what has the modules, where that is well known."""
    return [each.distribution or f"DISTRIBUTION-WITH-{each.module}" for each in missing]


def _advise(
    missing: Sequence[Undeclared],
    choice: Restored,
    *,
    root: Path,
    again: str,
) -> str:
    """Return the command that mends it."""
    names = _name_distributions(missing)
    if not isinstance(choice, LockedEnvironment):
        return f"`{again} {shlex.join(word for name in names for word in ('--with', name))}`"
    return f"`pip install {shlex.join(names)} && {shlex.join(['repro', 'snapshot', str(root)])}`"


def _name_environment(choice: Restored) -> str:
    if isinstance(choice, GuessedEnvironment):
        return "what was guessed from its imports"
    return f"the environment of `{(choice.file if isinstance(choice, LooseEnvironment) else choice.lock).name}`"


def check_start(
    machine: Machine,
    environment: Environment,
    choice: Restored,
    *,
    root: Path,
    script: Path,
    again: str,
    say: Callable[[str], None],
) -> None:
    """Refuse to start a script that would stop at its imports; what it may import later is a warning.

    `again` is the command that runs the same. Raises ProjectError.
    """
    missing = _find_missing(machine, environment.path, environment.python, root, script)
    certain = [each for each in missing if each.certain]
    shown = certain or missing
    if not shown:
        return
    modules = _name_modules(shown)
    sentence = f"`{script}` imports {modules}, which neither the project nor {_name_environment(choice)} has"
    hint = _advise(shown, choice, root=root, again=again)
    if certain:
        raise ProjectError(sentence, hint=hint)
    say(f"warning: {sentence}; where that is needed: {hint}")
