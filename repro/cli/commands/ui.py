"""`repro ui`: look at runs in a browser, until ctrl-C."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from repro import settings
from repro.cli import console
from repro.cli.options import add_cache, make_machine, make_parser
from repro.cli.run_words import add_store
from repro.environments.choose_mlflow import Mlflow, choose_mlflow
from repro.environments.machine import Machine
from repro.errors import ExitCode, Terminated, UsageError
from repro.tracking.mlflow_ui import LocalStore, Place, find_place, find_shown_store, showing, wait_for_end
from repro.tracking.server import is_loopback

_EXAMPLES = """\
  repro ui --mlflow                              MLflow's own UI on ./mlruns, in the browser
  repro ui --mlflow --store /data/mlruns --port 0 --json
  repro ui --mlflow --store https://mlflow.example.org
"""


def _open_browser(address: str, options: argparse.Namespace) -> None:
    """Open the page where somebody sits at a terminal with a display; a browser that fails is no loss."""
    if options.no_browser or options.json or not sys.stdout.isatty():
        return
    if settings.can_show_page(settings.own_environment()):
        import webbrowser

        webbrowser.open(address)


def _announce(address: str, store: str, options: argparse.Namespace, *, mlflow: Mlflow | None) -> None:
    if options.json:
        about = {"uri": address, "store": store, "mlflow": mlflow.program if mlflow else None}
        console.show_json({**about, "pid": os.getpid() if mlflow else None})
    elif mlflow:
        console.say(f"showing {store}")
        console.say(f"listening on {address}")
        console.note(f"MLflow is {mlflow.program} ({mlflow.found_by}); ctrl-C ends it")
    else:
        console.say(f"the runs are shown at {address}")
    console.flush()


def _warn_of_others(host: str) -> None:
    if not is_loopback(host):
        console.warn(f"MLflow's UI asks nobody who they are: whoever reaches `{host}` can change and delete these runs")


def _show(machine: Machine, store: LocalStore, place: Place, options: argparse.Namespace) -> None:
    """Show the runs until we are told to end."""
    with console.Progress() as progress:
        mlflow = choose_mlflow(machine, offline=options.offline)
        environ = mlflow.make_environment(machine, tracking_uri=store.uri)
        progress(f"waiting for MLflow at {place.address}, which takes 10 to 40 s")
        hear = console.note if options.verbose or settings.is_verbose(machine.environ) else lambda line: None
        with showing(
            machine.runner, mlflow.program, store, place, workers=options.workers, environ=environ, hear=hear
        ) as companion:
            progress.stop()
            try:
                _announce(place.address, store.name, options, mlflow=mlflow)
                _open_browser(place.address, options)
                wait_for_end(companion)
            except (KeyboardInterrupt, Terminated):
                console.note("the UI ends")


def run(arguments: list[str]) -> int:
    """Open MLflow's UI on the store, and serve it until ctrl-C or SIGTERM where it is no server's."""
    parser = make_parser("ui", "Look at runs in a browser.", _EXAMPLES)
    parser.add_argument("--mlflow", action="store_true", help="MLflow's own UI (see `repro mlflow`)")
    add_store(parser)
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, metavar="N", help="0 is one that is free (default: 5000 where that is)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes that answer (default: 1)")
    parser.add_argument("--no-browser", action="store_true", help="open no browser, on a terminal either")
    parser.add_argument("--offline", action="store_true", help="never touch the network to have MLflow at hand")
    add_cache(parser)
    options = parser.parse_args(arguments)
    if not options.mlflow:
        raise UsageError(
            "repro has no page of its own yet", hint="`repro ui --mlflow` opens MLflow's; `repro runs list` lists runs"
        )
    if options.workers < 1:
        raise UsageError(f"`{options.workers}` is no number of processes", hint="`--workers 1`, or more")
    uri = options.store or settings.find_tracking_uri(settings.own_environment())
    store = find_shown_store(uri, cwd=Path.cwd())
    if not isinstance(store, LocalStore):
        _announce(store.address, store.address, options, mlflow=None)
        _open_browser(store.address, options)
        return ExitCode.DONE
    place = find_place(options.host, options.port)
    _warn_of_others(options.host)
    with console.Progress() as progress:
        machine = make_machine(options, report=progress)
    _show(machine, store, place, options)
    return ExitCode.DONE
