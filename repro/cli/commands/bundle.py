"""`repro bundle`."""

from __future__ import annotations

import argparse
from pathlib import Path

from repro.cli import console
from repro.cli.options import add_cache, add_indexes, add_python, make_machine, make_parser
from repro.environments.bundle import Bundled, BundleRequest, bundle_lock
from repro.errors import ExitCode

_EXAMPLES = """\
  repro bundle -o project.zip                    the lock here and all its wheels
  repro bundle project/ -o project.zip --offline from what the cache has
  repro restore project.zip                      there, with no network
  unzip project.zip && pip install --no-deps -r pylock.toml    there, without repro
"""


def _describe(bundled: Bundled) -> dict[str, object]:
    snapshot = bundled.snapshot
    return {
        "lock": str(bundled.lock),
        "path": str(bundled.path),
        "digest": snapshot.compute_digest(),
        "python_version": snapshot.interpreter.version if snapshot.interpreter else None,
        "platform": snapshot.interpreter.platform if snapshot.interpreter else None,
        "distributions": len(snapshot.distributions),
        "size_bytes": bundled.size_bytes,
        "left_out": list(bundled.left_out),
        "notes": list(bundled.notes),
    }


def _bundle(options: argparse.Namespace) -> Bundled:
    request = BundleRequest(
        lock=Path(options.lock),
        output=Path(options.output),
        python=options.python,
        offline=options.offline,
        allow_missing=options.allow_missing,
    )
    with console.Progress() as progress:
        return bundle_lock(make_machine(options, report=progress), request)


def run(arguments: list[str]) -> int:
    """Write a lock and its wheels into one zip."""
    parser = make_parser("bundle", "Write a lock and its wheels into one zip.", _EXAMPLES)
    parser.add_argument(
        "lock", nargs="?", default=".", metavar="DIR|LOCK", help="a lock or its directory (default: here)"
    )
    parser.add_argument("-o", "--output", metavar="FILE.zip", required=True, help="the zip to write")
    parser.add_argument("--offline", action="store_true", help="never touch the network: what is in the cache alone")
    parser.add_argument("--allow-missing", action="store_true", help="leave out what the lock names no file for")
    add_python(parser, "the interpreter to take wheels for (default: the lock's version, searched on this machine)")
    add_indexes(parser)
    add_cache(parser)
    options = parser.parse_args(arguments)
    bundled = _bundle(options)
    for sentence in (*bundled.notes, *(f"left out: {each}" for each in bundled.left_out)):
        console.warn(sentence)
    if options.json:
        console.show_json(_describe(bundled))
    else:
        size = f"{bundled.size_bytes / 1e6:.1f} MB"
        console.say(f"{bundled.path}: {len(bundled.snapshot.distributions)} distributions of {bundled.lock}, {size}")
        console.say(f"  use it: `repro restore {bundled.path.name}`, or unzip it: pip install --no-deps -r pylock.toml")
    return ExitCode.DONE
