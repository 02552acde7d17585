"""`repro export`."""

from __future__ import annotations

from pathlib import Path

from repro.cli import console
from repro.cli.options import add_cache, add_indexes, make_machine, make_parser
from repro.environments.export import FORMATS, ExportRequest, export_lock, write_exported
from repro.errors import ExitCode
from repro.snapshots.load import load_lock

_EXAMPLES = """\
  repro export -f pylock -o pylock.toml           PEP 751, for pip 26.1 and uv
  repro export -f pylock -o pylock.toml --wheels wheels/
  repro export -f requirements project/ > requirements.txt
  repro export -f conda-yaml -o conda.yaml        for MLflow
"""


def run(arguments: list[str]) -> int:
    """Write a lock in another format, on stdout or into a file."""
    parser = make_parser("export", "Write a lock in a format of others.", _EXAMPLES)
    parser.add_argument(
        "lock", nargs="?", default=".", metavar="DIR|LOCK", help="a lock or its directory (default: here)"
    )
    parser.add_argument("-f", "--format", choices=FORMATS, required=True, help="the format")
    parser.add_argument("-o", "--output", metavar="FILE", help="write here instead of on stdout")
    parser.add_argument("--wheels", metavar="DIR", help="copy the wheels there that no index has")
    parser.add_argument("--allow-missing", action="store_true", help="leave out what the format cannot say")
    add_indexes(parser)
    add_cache(parser)
    options = parser.parse_args(arguments)
    loaded = load_lock(options.lock)
    request = ExportRequest(
        format=options.format,
        output=Path(options.output) if options.output else None,
        wheels_dir=Path(options.wheels) if options.wheels else None,
        allow_missing=options.allow_missing,
    )
    exported = export_lock(make_machine(options), loaded, request)
    for sentence in (*loaded.notes, *(f"left out: {each}" for each in exported.left_out)):
        console.warn(sentence)
    if request.output:
        write_exported(exported, request.output)
    if options.json:
        content = {"lock": str(loaded.path), "format": options.format, "path": options.output}
        content |= {"distributions": exported.distributions, "left_out": list(exported.left_out)}
        console.show_json(content if request.output else {**content, "text": exported.text})
    elif request.output:
        console.say(f"{request.output}: written: {exported.distributions} distributions of {loaded.path}")
    else:
        console.say(exported.text.removesuffix("\n"))
    return ExitCode.DONE
