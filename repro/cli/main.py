"""The entry of the command line: find the command, run it, and turn what it raises into an exit code.

Only the module of the command that is asked for is imported.
"""

from __future__ import annotations

import sys
from _signal import (  # type: ignore[import-not-found] # the signal package would import enum
    SIG_DFL,
    SIGINT,
    SIGTERM,
    default_int_handler,
    getsignal,
    signal,
)

from repro.cli import console
from repro.errors import ExitCode, ReproError, Terminated, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import TextIO

VERSION = "0.1.0"
COMMANDS = {
    "snapshot": "write requirements-lock.txt: the exact packages of an environment",
    "lock": "write the lock of what a project asks for: requirements.txt, pyproject.toml, pylock.toml, conda.yaml",
    "export": "write a lock as pylock.toml, requirements.txt, conda.yaml or python_env.yaml",
    "bundle": "write a lock and its wheels into one zip, which restores anywhere without a network",
    "restore": "make the environment of a lock, or find the one that is there",
    "run": "run a project's entry point and keep the run with its snapshot",
    "sweep": "run an entry point at many points of its parameters: a grid or a sample, some at a time",
    "init": "make a directory a project: its lock, a line of .gitignore, tasks for editors, a hook for commits",
    "source": "run a script with its own command line, as a tracked run",
    "exec": "run a script as its own text says: `# !source repro.run`",
    "watch": "run a script as its own text says, again whenever it is saved",
    "params": "list the parameters that a script accepts, without running it",
    "model": "look at a model without loading it: inspect",
    "predict": "ask a model about the rows of a file, in the model's own environment",
    "score": "ask a model about every row of a Parquet file, on this machine or on Spark",
    "serve": "serve a model over HTTP: MLflow's scoring protocol, in the model's own environment",
    "server": "serve a directory of runs to MLflow clients of any version, over MLflow's REST API",
    "ui": "look at runs in a browser; for now in MLflow's own UI, with `--mlflow`",
    "mlflow": "MLflow itself on hand: install, list, path, uninstall; run its command behind `--`",
    "status": "say what differs between a lock, an environment and the code",
    "diff": "say what differs between locks, runs, models or environments",
    "runs": "look at runs: list, search, show, compare, delete, restore, copy, sync, reap",
    "experiments": "look at experiments: list, create, rename, delete, restore, tag",
    "artifacts": "look at what a run has kept: list, log, download",
    "cache": "show what the cache holds: list, info; remove what is not needed: prune, clear",
    "doctor": "look over this machine: interpreters, tools, the cache, the indexes",
    "completion": "print the completion script for a shell",
}
_EXAMPLES = """\
examples:
  repro snapshot                          lock what the active environment holds
  repro restore --cache ~/.cache          recreate it, from the cache where it was made before
  repro restore -- python train.py        run a command inside
  repro run project/ -e train.py -P alpha=0.5 --restore
"""


def _format_help() -> str:
    lines = ["usage: repro COMMAND [options]", "", "Snapshot, restore and run Python environments, exactly.", ""]
    lines += ["commands:", *(f"  {name:<12}{summary}" for name, summary in COMMANDS.items()), ""]
    lines += ["`repro COMMAND --help` shows the options of a command; `repro --version` the version.", "", _EXAMPLES]
    return "\n".join(lines).rstrip()


def _on_terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    console.warn(str(message))


def _tame_warnings() -> None:
    import warnings

    from repro.errors import SnapshotNotRestoredWarning

    warnings.simplefilter("always", SnapshotNotRestoredWarning)
    warnings.showwarning = _show_warning


def _run_command(name: str, arguments: list[str]) -> int:
    from importlib import import_module

    _tame_warnings()
    signal(SIGTERM, _on_terminate)
    if getsignal(SIGINT) == SIG_DFL:
        signal(SIGINT, default_int_handler)
    command = import_module(f"repro.cli.commands.{name}")
    return int(command.run(arguments))


def _fail(error: ReproError, *, as_json: bool) -> int:
    console.show_error(error)
    if as_json:
        content = {"message": error.message, "hint": error.hint, "details": list(error.details)}
        try:
            console.show_json({"error": content, "exit_code": error.exit_code, "stage": "prepare"})
        except OSError:
            return error.exit_code  # it is stdout that fails
    return error.exit_code


def _suggest(name: str) -> str:
    import difflib

    close = difflib.get_close_matches(name, COMMANDS, n=1)
    return f"did you mean `repro {close[0]}`?" if close else "`repro --help` lists the commands"


def _wants_json(arguments: list[str]) -> bool:
    """Tell whether `--json` is ours, not of a command behind `--`."""
    return "--json" in (arguments[: arguments.index("--")] if "--" in arguments else arguments)


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        console.say(_format_help())
        return ExitCode.DONE if arguments else ExitCode.USAGE
    if arguments[0] in ("-V", "--version"):
        console.say(f"repro {VERSION}")
        return ExitCode.DONE
    name, *rest = arguments
    if name not in COMMANDS:
        raise UsageError(f"there is no command `{name}`", hint=_suggest(name))
    return _run_command(name, rest)


def _guard(arguments: list[str]) -> int:
    """Run one command and turn what it raises into a sentence and an exit code."""
    try:
        exit_code = _dispatch(arguments)
        console.flush()
        return exit_code
    except ReproError as error:
        return _fail(error, as_json=_wants_json(arguments))
    except KeyboardInterrupt:
        console.note("interrupted")
        return ExitCode.INTERRUPTED
    except Terminated:
        console.note("terminated")
        return ExitCode.TERMINATED
    except BrokenPipeError:
        return ExitCode.FAILED
    except OSError as error:
        return _fail(ReproError(f"the operating system refused: {error}"), as_json=_wants_json(arguments))


def main(argv: list[str] | None = None) -> int:
    """Run one command and return the exit code (see ExitCode)."""
    console.open_streams()
    try:
        return _guard(sys.argv[1:] if argv is None else argv)
    finally:
        console.settle()
