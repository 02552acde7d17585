"""`repro server`: MLflow's REST API over a directory of runs, until ctrl-C."""

from __future__ import annotations

import argparse
import os
import threading
from pathlib import Path

from repro import settings
from repro.cli import console
from repro.cli.options import make_parser
from repro.errors import ExitCode, Terminated, UsageError
from repro.tracking.file_store import FileStore
from repro.tracking.server import Endpoint, serve_in_background
from repro.tracking.store import find_directory

_EXAMPLES = """\
  repro server                                   ./mlruns, for this machine, on port 5000
  repro server --store /data/mlruns --port 0     another directory, on a port that is free
  repro server --host 0.0.0.0 --token-file FILE  for others too, who set MLFLOW_TRACKING_TOKEN
"""
_TOKEN_HINT = "a file with one line, the token that clients give as MLFLOW_TRACKING_TOKEN"


def _read_token(options: argparse.Namespace) -> str | None:
    """Return what clients must show: of the options, else of the variable that clients read too."""
    if options.token and options.token_file:
        raise UsageError("`--token` and `--token-file` both name the token", hint="give one of them")
    if not options.token_file:
        return options.token or settings.find_tracking_token(settings.own_environment())
    try:
        token = Path(options.token_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UsageError(f"`{options.token_file}` cannot be read ({reason})", hint=_TOKEN_HINT) from error
    if not token:
        raise UsageError(f"`{options.token_file}` is empty", hint=_TOKEN_HINT)
    return token


def _find_root(given: str | None) -> Path:
    uri = given or settings.find_tracking_uri(settings.own_environment())
    directory = find_directory(uri, cwd=Path.cwd())
    if directory is None:
        raise UsageError(f"`{uri}` is no directory of runs", hint="`--store ./mlruns`: a server serves a directory")
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"`{directory}` is a file, and no directory of runs", hint="`--store ./mlruns`")
    return directory


def _announce(endpoint: Endpoint, store: FileStore, *, has_token: bool, as_json: bool) -> None:
    if as_json:
        about = {"uri": endpoint.uri, "store": str(store.root), "token_required": has_token, "pid": os.getpid()}
        console.show_json(about)
    else:
        console.say(f"serving {store.root}")
        console.say(f"listening on {endpoint.uri}{', for those who have the token' if has_token else ''}")
        console.note(f"clients: MLFLOW_TRACKING_URI={endpoint.uri}; ctrl-C ends the server")
    console.flush()


def run(arguments: list[str]) -> int:
    """Serve until ctrl-C or SIGTERM."""
    parser = make_parser("server", "Serve a directory of runs to MLflow clients of any version.", _EXAMPLES)
    parser.add_argument("--store", metavar="URI", help="the directory of runs (default: MLFLOW_TRACKING_URI, ./mlruns)")
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=5000, metavar="N", help="0 is one that is free (default: 5000)")
    parser.add_argument("--token", help="what clients must show; others on this machine can read it in a command line")
    parser.add_argument("--token-file", metavar="FILE", help="a file with the token (default: MLFLOW_TRACKING_TOKEN)")
    parser.add_argument(
        "--allowed-host", action="append", default=[], metavar="NAME",
        help="one more name that clients may call it by, e.g. that of a proxy (repeatable)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    token = _read_token(options)
    store = FileStore(_find_root(options.store))
    endpoint = serve_in_background(
        store,
        token=token,
        host=options.host,
        port=options.port,
        allowed_hosts=tuple(options.allowed_host),
        log=console.note if options.verbose else None,
    )
    try:
        _announce(endpoint, store, has_token=token is not None, as_json=options.json)
        threading.Event().wait()
    except (KeyboardInterrupt, Terminated):
        console.note("the server ends")
    finally:
        endpoint.close()
    return ExitCode.DONE
