"""The options of runs: what `run`, `sweep`, `source`, `exec` and `watch` take alike, and what is of projects alone."""

from __future__ import annotations

import argparse

from repro.cli.options import add_cache, add_python
from repro.cli.period import parse_period
from repro.errors import UsageError
from repro.projects.backend_config import read_backend_config
from repro.projects.managers import ENV_MANAGERS
from repro.projects.request import RunRequest
from repro.values import replace

TIMEOUT = "end the run after so long, e.g. 90s or 2h (exit code 124)"


def _add_environment(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--restore",
        action="store_true",
        help="restore the project's lock, else what its loose files or its imports ask for",
    )
    parser.add_argument(
        "--env-manager",
        metavar="NAME",
        help=f"what makes the environment: {', '.join(ENV_MANAGERS)} (default: REPRO_ENV_MANAGER, else local)",
    )
    parser.add_argument("--as-of", metavar="DATE", help="lock loose files with what the index had then (REPRO_AS_OF)")
    parser.add_argument(
        "--with", dest="more", action="append", default=[], metavar="REQUIREMENT", help="lock this too (repeatable)"
    )
    parser.add_argument("--write-lock", action="store_true", help="keep the lock of loose files in the project")
    parser.add_argument(
        "--storage-dir", metavar="DIR", help="keep here what paths name elsewhere (MLFLOW_TMP_DIR; default: nowhere)"
    )
    parser.add_argument("--lenient-types", action="store_true", help="take any text for a number, as MLflow does")


def add_run_options(parser: argparse.ArgumentParser, *, timeout: str = TIMEOUT) -> None:
    """Add the options that say how something is run; `timeout` says what `--timeout` means."""
    _add_environment(parser)
    parser.add_argument(
        "--experiment", metavar="NAME", help="keep it in this experiment, made where there is none (or an id)"
    )
    parser.add_argument("--backend", default="local", metavar="NAME", help="what runs the command (default: local)")
    parser.add_argument("--backend-config", metavar="FILE|JSON", help="a JSON object for the backend")
    parser.add_argument("--offline", action="store_true", help="touch no network: what the cache has is run")
    parser.add_argument("--no-snapshot", action="store_true", help="take no snapshot")
    parser.add_argument("--no-observe", action="store_true", help="do not note what the run imports (REPRO_OBSERVE=0)")
    parser.add_argument("--timeout", metavar="PERIOD", help=timeout)
    add_python(parser, "the interpreter to run with, or to restore on")
    add_cache(parser)


def add_project_options(parser: argparse.ArgumentParser, *, parameter: str, timeout: str = TIMEOUT) -> None:
    """Add the options of a project's runs; `parameter` and `timeout` say what `-P` and `--timeout` mean."""
    parser.add_argument("uri", nargs="?", metavar="URI", help="a directory, git URL, .zip or run (default: here)")
    parser.add_argument(
        "-e", "--entry-point", metavar="ENTRY", help="an entry point of MLproject, or a .py, .sh or .R file"
    )
    parser.add_argument("-P", "--param", action="append", default=[], metavar="NAME=VALUE", help=parameter)
    parser.add_argument("--version", metavar="REF", help="the commit, tag or branch of a git repository")
    parser.add_argument("--no-restore", action="store_true", help="run a logged run again in your own environment")
    add_run_options(parser, timeout=timeout)


def make_settled(options: argparse.Namespace) -> RunRequest:
    """Return how something is run, whatever it is. Raises UsageError."""
    return RunRequest(
        offline=options.offline,
        restore=options.restore or None,
        snapshot=not options.no_snapshot,
        observe=not options.no_observe,
        python=options.python,
        stdout_to_stderr=options.json,
        timeout_s=parse_period(options.timeout, unit="s") if options.timeout is not None else None,
        env_manager=options.env_manager,
        as_of=options.as_of,
        more=tuple(options.more),
        write_lock=options.write_lock,
        storage_dir=options.storage_dir,
        lenient_types=options.lenient_types,
        experiment=options.experiment,
        backend=options.backend,
        backend_config=read_backend_config(options.backend_config),
    )


def make_run_request(options: argparse.Namespace, *, parameters: tuple[str, ...]) -> RunRequest:
    """Return the run of a project that the options ask for. Raises UsageError."""
    if options.restore and options.no_restore:
        raise UsageError("`--restore` and `--no-restore` exclude each other")
    settled = make_settled(options)
    return replace(
        settled,
        uri="." if options.uri is None else options.uri,
        entry_point=options.entry_point,
        parameters=parameters,
        version=options.version,
        restore=False if options.no_restore else settled.restore,
    )
