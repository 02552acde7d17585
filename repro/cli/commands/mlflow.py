"""`repro mlflow`: MLflow itself on hand, apart from the user's environments."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from repro import settings
from repro.cli import console
from repro.cli.deeds import Deeds
from repro.cli.options import add_cache, add_indexes, add_python, make_machine, make_parser
from repro.cli.run_words import add_store
from repro.environments.choose_mlflow import Mlflow, choose_mlflow
from repro.environments.machine import Machine
from repro.environments.own_mlflow import (
    DEFAULT_VERSION,
    Installation,
    Release,
    Wish,
    find_version,
    install_mlflow,
    list_releases,
    remove_release,
)
from repro.errors import ExitCode, ReproError, UsageError
from repro.formats.moment import parse_moment
from repro.tracking.store import find_directory

_RUN_EXAMPLES = """\
  repro mlflow -- --version
  repro mlflow -- runs list --experiment-id 0     on the runs that `repro runs list` shows
  repro mlflow --store sqlite:///mlflow.db -- experiments search
"""


def _show_installation(installation: Installation) -> None:
    environment = installation.environment
    how = "was ready" if environment.reused else "installed"
    console.say(
        f"MLflow {installation.version} (Python {environment.python_version}) {how} in {environment.seconds:.2f} s"
    )
    console.say(f"  {installation.program}")
    console.say("  use it: `repro ui --mlflow`, or `repro mlflow -- ARGUMENTS`")


def _install(arguments: list[str]) -> int:
    examples = (
        f"  repro mlflow install                       {DEFAULT_VERSION}, which repro is tested against\n"
        "  repro mlflow install 2.19.0                another release, which is used from now on\n"
        "  repro mlflow install --as-of 2026-01-31    the newest that the index had by then\n"
    )
    parser = make_parser("mlflow install", "Keep an MLflow release of its own, apart from your environments.", examples)
    parser.add_argument("version", nargs="?", metavar="VERSION", help=f"the release (default: {DEFAULT_VERSION})")
    parser.add_argument("--as-of", metavar="DATE", help="choose among what the index had by then (RFC 3339, UTC)")
    parser.add_argument("--offline", action="store_true", help="never touch the network")
    add_python(parser, "the interpreter to run it (default: repro's own)")
    add_indexes(parser)
    add_cache(parser)
    options = parser.parse_args(arguments)
    before = parse_moment(options.as_of) if options.as_of else None
    wish = Wish(version=options.version, before=before, python=options.python, offline=options.offline)
    with console.Progress() as progress:
        installation = install_mlflow(make_machine(options, report=progress), wish)
    for sentence in installation.notes:
        console.warn(sentence)
    if options.json:
        content = {
            "version": installation.version,
            "mlflow": installation.program,
            "lock": str(installation.release.lock),
            "locked": installation.is_new,
            "environment": installation.environment.to_dict(),
        }
        console.show_json(content)
    else:
        _show_installation(installation)
    return ExitCode.DONE


def _describe(release: Release) -> dict[str, object]:
    """Return a release for `--json`; what is not known, for its lock cannot be read, is None."""
    try:
        snapshot = release.read_snapshot()
        version: str | None = find_version(snapshot)
    except ReproError:
        return {"version": None, "python_version": None, "lock": str(release.lock), "current": release.is_current}
    python = snapshot.interpreter.version if snapshot.interpreter else None
    return {"version": version, "python_version": python, "lock": str(release.lock), "current": release.is_current}


def _list(arguments: list[str]) -> int:
    parser = make_parser(
        "mlflow list", "List the releases installed here; `*` is the one used.", "  repro mlflow list\n"
    )
    options = parser.parse_args(arguments)
    found = [_describe(each) for each in list_releases(make_machine(options))]
    if options.json:
        console.show_json({"releases": found})
    elif found:
        rows = [
            ["*" if each["current"] else "", str(each["version"] or "damaged"), str(each["python_version"] or "?"),
             str(each["lock"])]
            for each in found
        ]  # fmt: skip
        console.show_table(["", "mlflow", "python", "lock"], rows)
    else:
        console.note("no MLflow is installed; `repro mlflow install` keeps one")
    return ExitCode.DONE


def _path(arguments: list[str]) -> int:
    description = "Print the path of the MLflow that `repro ui --mlflow` and `repro mlflow -- ARGUMENTS` run."
    parser = make_parser("mlflow path", description, '  "$(repro mlflow path)" --version\n')
    parser.add_argument("--offline", action="store_true", help="never touch the network")
    add_cache(parser)
    options = parser.parse_args(arguments)
    with console.Progress() as progress:
        mlflow = choose_mlflow(make_machine(options, report=progress), offline=options.offline)
    if options.json:
        console.show_json({"mlflow": mlflow.program, "found_by": mlflow.found_by})
    else:
        console.say(mlflow.program)
    return ExitCode.DONE


def _uninstall(arguments: list[str]) -> int:
    description = "Forget installed releases; their environments go with `repro cache prune --unreferenced`."
    parser = make_parser("mlflow uninstall", description, "  repro mlflow uninstall 2.19.0\n")
    parser.add_argument("version", metavar="VERSION", help="as `repro mlflow list` has it")
    options = parser.parse_args(arguments)
    found = [each for each in list_releases(make_machine(options)) if _describe(each)["version"] == options.version]
    if not found:
        raise UsageError(f"MLflow `{options.version}` is not installed", hint="`repro mlflow list` shows what is")
    for release in found:
        remove_release(release)
    if options.json:
        console.show_json({"removed": [str(each.lock) for each in found]})
    else:
        console.say(f"forgot MLflow {options.version}")
    return ExitCode.DONE


def _find_tracking_uri(given: str | None) -> str:
    """Return the URI of the runs that are meant, a directory's as MLflow of any version takes it."""
    uri = given or settings.find_tracking_uri(settings.own_environment())
    directory = find_directory(uri, cwd=Path.cwd())
    return directory.absolute().as_uri() if directory else uri or ""


def _supervise(machine: Machine, mlflow: Mlflow, words: list[str], *, tracking_uri: str) -> int:
    environ = mlflow.make_environment(machine, tracking_uri=tracking_uri)
    try:
        return machine.runner.supervise([mlflow.program, *words], env=environ).exit_code
    except OSError as error:
        raise UsageError(
            f"`{mlflow.program}` cannot be started ({error.strerror})", hint=f"it was found by {mlflow.found_by}"
        ) from error


def _make_parser() -> argparse.ArgumentParser:
    parser = make_parser("mlflow", "Run MLflow's own command on the current store.", _RUN_EXAMPLES)
    parser.usage = "repro mlflow [options] -- ARGUMENTS"
    add_store(parser)
    parser.add_argument("--offline", action="store_true", help="never touch the network to have MLflow at hand")
    add_cache(parser)
    return parser


def _run_mlflow(arguments: list[str], words: list[str]) -> int:
    """Run MLflow's command with our terminal and return its exit code."""
    options = _make_parser().parse_args(arguments)
    if options.json:
        raise UsageError("`--json` is nothing that MLflow's command has", hint="repro mlflow -- ARGUMENTS")
    with console.Progress() as progress:
        machine = make_machine(options, report=progress)
        mlflow = choose_mlflow(machine, offline=options.offline)
    sys.stdout.flush()
    return _supervise(machine, mlflow, words, tracking_uri=_find_tracking_uri(options.store))


DEEDS = Deeds(
    command="mlflow",
    summary="MLflow itself on hand, not in the way: `repro mlflow -- ARGUMENTS` runs its command.",
    deeds={
        "install": (_install, "keep a release of its own, apart from your environments"),
        "list": (_list, "the releases installed here"),
        "path": (_path, "the path of the one that is run"),
        "uninstall": (_uninstall, "forget a release"),
    },
)


def run(arguments: list[str]) -> int:
    """Run a deed, or MLflow itself with what stands behind `--`."""
    if "--" in arguments and arguments[0] not in DEEDS.deeds:
        at = arguments.index("--")
        return _run_mlflow(arguments[:at], arguments[at + 1 :])
    return DEEDS.run(arguments)
