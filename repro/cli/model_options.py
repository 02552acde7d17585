"""Options that the commands share which load a model: which one, and in what environment."""

from __future__ import annotations

import argparse
from pathlib import Path

from repro.cli.options import add_python
from repro.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.environments.machine import Machine
    from repro.models.load import LoadRequest


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add MODEL."""
    known = "a directory, runs:/ID/PATH, models:/NAME/VERSION, models:/NAME@ALIAS or models:/m-ID"
    parser.add_argument("model", metavar="MODEL", help=known)


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add what says how the model's environment is chosen."""
    parser.add_argument("--restore", action="store_true", help="in the model's own environment (REPRO_RESTORE)")
    parser.add_argument(
        "--policy", choices=("warn", "error", "restore"),
        help="where its snapshot is not restored (REPRO_SNAPSHOT_POLICY, else `snapshot-policy` of [tool.repro])",
    )  # fmt: skip
    parser.add_argument("--run-id", metavar="ID", help="MODEL is a path of this run's artifacts")
    parser.add_argument("--flavor", metavar="NAME", help="load it as this (default: the safest that is known)")
    parser.add_argument("--offline", action="store_true", help="restore from the cache alone")
    parser.add_argument("--as-of", metavar="DATE", help="the day whose index is asked where the model has no lock")
    parser.add_argument(
        "--env", action="append", default=[], metavar="NAME=VALUE", help="a variable for the model (repeatable)"
    )
    add_python(parser, "the interpreter that has the model's packages; with --restore the base to restore on")


def read_pairs(pairs: list[str], option: str) -> dict[str, str]:
    """Return what an option, given any number of times, has as NAME=VALUE. Raises UsageError."""
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals or "\0" in pair:
            raise UsageError(f"`{option} {pair}` is no NAME=VALUE")
        found[name] = value
    return found


def make_load_request(options: argparse.Namespace, machine: Machine, *, command: str) -> LoadRequest:
    """Return what the options ask for; `command` is what a warning advises. Raises UsageError."""
    from repro.models.environment import EnvironmentWish
    from repro.models.load import LoadRequest
    from repro.models.policy import choose_policy

    return LoadRequest(
        uri=options.model,
        run_id=options.run_id,
        flavor=options.flavor,
        policy=choose_policy(
            options.policy, restore=options.restore or None, environ=machine.environ, project=Path.cwd()
        ),
        wish=EnvironmentWish(python=options.python, offline=options.offline, as_of=options.as_of),
        command=command,
        variables=read_pairs(options.env, "--env"),
    )
