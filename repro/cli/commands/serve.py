"""`repro serve`: a model over HTTP, until ctrl-C."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from pathlib import Path

from repro import settings
from repro.cli import console
from repro.cli.model_options import add_model, add_model_options, make_load_request
from repro.cli.options import add_cache, make_machine, make_parser
from repro.errors import ExitCode, UsageError

_EXAMPLES = """\
  repro serve model                              in this environment, on http://127.0.0.1:5000
  repro serve model --restore -p 0 --workers 2   in the model's own, by two processes, on a port that is free
  repro serve model --host 0.0.0.0 --token-file FILE     for others too, who show the token
  curl -d '{"inputs": [[1, 2]]}' -H 'Content-Type: application/json' http://127.0.0.1:5000/invocations
"""
_SIZE = re.compile(r"(\d+)(?:([KMG])i?B?)?", re.IGNORECASE)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_LOOK_S = 0.02
_TOKEN_HINT = "a file with one line, the token that clients show as `Authorization: Bearer TOKEN`"


def _parse_size(text: str) -> int:
    """Return a size in bytes: `1000000`, `512K`, `16M`, `1G`. Raises UsageError."""
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise UsageError(f"`--max-body {text}` is no size", hint="bytes, or `512K`, `16M`, `1G`")
    return int(found[1]) * _UNITS[(found[2] or "").upper()]


def _read_token(options: argparse.Namespace) -> str | None:
    if options.token and options.token_file:
        raise UsageError("`--token` and `--token-file` both name the token", hint="give one of them")
    if not options.token_file:
        return options.token or settings.find_serve_token(settings.own_environment())
    try:
        token = Path(options.token_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UsageError(f"`{options.token_file}` cannot be read ({reason})", hint=_TOKEN_HINT) from error
    if not token:
        raise UsageError(f"`{options.token_file}` is empty", hint=_TOKEN_HINT)
    return token


def _make_parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "serve", "Serve a model over HTTP: MLflow's scoring protocol, in the right environment.", _EXAMPLES
    )
    add_model(parser)
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (default: 127.0.0.1)")
    parser.add_argument(
        "-p", "--port", type=int, default=5000, metavar="N", help="0 is one that is free (default: 5000)"
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes with the model (default: 1)")
    parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="SECONDS", help="the most that a request may take (default: 60)"
    )
    parser.add_argument("--token", help="what clients must show; others on this machine can read it in a command line")
    parser.add_argument("--token-file", metavar="FILE", help="a file with the token (default: REPRO_SERVE_TOKEN)")
    parser.add_argument("--no-batching", action="store_true", help="one call of the model for each request")
    parser.add_argument("--max-body", default="16M", metavar="SIZE", help="the largest request (default: 16M)")
    parser.add_argument(
        "--max-waiting", type=int, default=512, metavar="N", help="requests that may wait; more get 503 (default: 512)"
    )
    parser.add_argument(
        "--allowed-host", action="append", default=[], metavar="NAME",
        help="one more name that clients may call it by, e.g. that of a proxy (repeatable)",
    )  # fmt: skip
    parser.add_argument("--daemon", action="store_true", help="go on in the background once it answers")
    parser.add_argument("--browse", action="store_true", help="open its page in the browser")
    add_model_options(parser)
    add_cache(parser)
    return parser


def _announce(url: str, *, as_json: bool, pid: int, log: str | None = None) -> None:
    if as_json:
        console.show_json({"url": url, "pid": pid, **({"log": log} if log else {})})
    else:
        console.say(f"Starting serving endpoint: {url}")
        if log:
            console.say(f"  it goes on as process {pid} (`kill {pid}` stops it) and writes to {log}")
    console.flush()


def _start(url: str, given: argparse.Namespace) -> None:
    _announce(url, as_json=given.json, pid=os.getpid())
    if given.browse:
        _open_page(url)


def _find_url(log: Path) -> str | None:
    """Return where a server that writes to `log` answers, None while it does not."""
    found = re.search(
        r"^Starting serving endpoint: (\S+)$", log.read_text(encoding="utf-8", errors="replace"), re.MULTILINE
    )
    return found[1] if found else None


def _serve_beside(arguments: list[str], given: argparse.Namespace) -> int:
    """Start a server that goes on by itself, and say where it answers once it does."""
    import tempfile
    import time

    from repro.process import Runner

    environ = settings.own_environment()
    descriptor, name = tempfile.mkstemp(prefix="repro-serve-", suffix=".log")
    words = [word for word in arguments if word not in ("--daemon", "--browse", "--json")]
    command = [settings.own_python(), "-m", "repro", "serve", *words]
    with open(descriptor, "wb") as log:
        server = Runner(console.echo if given.verbose else None).start(command, log=log, env=environ)
    path = Path(name)
    try:
        while (url := _find_url(path)) is None and server.find_exit_code() is None:
            time.sleep(_LOOK_S)
    except BaseException:
        server.terminate()
        raise
    if url is None:
        console.note(path.read_text(encoding="utf-8", errors="replace").rstrip())
        path.unlink()
        return server.find_exit_code() or ExitCode.FAILED
    _announce(url, as_json=given.json, pid=server.pid, log=name)
    if given.browse:
        _open_page(url)
    return ExitCode.DONE


def _open_page(url: str) -> None:
    if settings.can_show_page(settings.own_environment()):
        import webbrowser

        webbrowser.open(url)
    else:
        console.note("there is no display: open the address in a browser of another machine")


def run(arguments: list[str]) -> int:
    """Serve until ctrl-C or SIGTERM."""
    given = _make_parser().parse_args(arguments)
    if given.daemon:
        return _serve_beside(arguments, given)
    from repro.models.serving.extra import require_extra

    require_extra()
    from repro.models.serving.options import Reporter, ServeOptions
    from repro.models.serving.serve import make_server

    options = ServeOptions(
        host=given.host,
        port=given.port,
        workers=given.workers,
        timeout_s=given.timeout,
        token=_read_token(given),
        gather=not given.no_batching,
        max_body_bytes=_parse_size(given.max_body),
        most_waiting=given.max_waiting,
        allowed_hosts=tuple(given.allowed_host),
    )
    machine = make_machine(given)
    request = make_load_request(given, machine, command=f"repro serve {shlex.quote(given.model)} --restore")
    report = Reporter(
        started=lambda url: _start(url, given),
        complain=console.note,
        request=console.note if given.verbose else None,
    )
    make_server(machine, request, options, report).run()
    console.note("the server ends")
    return ExitCode.DONE
