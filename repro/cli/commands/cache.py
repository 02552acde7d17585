"""`repro cache`: what the store holds, and how what is not needed goes."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timezone

from repro.cli import console
from repro.cli.options import Parser, add_cache, make_machine, make_parser
from repro.cli.period import parse_period
from repro.environments.housekeeping.busy import find_busy
from repro.environments.housekeeping.inventory import Stored, list_environments
from repro.environments.housekeeping.plan import DAY_S, UNUSED_S, Plan, Rules
from repro.environments.housekeeping.prune import clear, prune
from repro.environments.housekeeping.rooms import is_store, require_store
from repro.environments.housekeeping.sizes import format_bytes
from repro.environments.housekeeping.summary import summarize
from repro.errors import ExitCode, UsageError

_EXAMPLES = """\
  repro cache list                       each environment: size, last use, projects
  repro cache info --json                where the cache is, and what takes how much
  repro cache prune --dry-run            what has not been used for 90 days, and what nothing uses
  repro cache prune --older-than 30d --max-size 5GB
  repro cache clear --yes                everything but what is in use
"""
_DEEDS = ("list", "info", "prune", "clear")
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SHOWN_REMOVALS = ("environment", "kept wheel")


def parse_size(text: str) -> int:
    """Return the bytes of `5GB`, `500 MiB` or `1000`. Raises UsageError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?", text.strip(), re.IGNORECASE | re.ASCII)
    if not found:
        raise UsageError(f"`{text}` is no size", hint="for example `--max-size 5GB` or `--max-size 500MB`")
    return int(float(found.group(1)) * _UNITS[(found.group(2) or "").lower()])


def _format_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _format_age(seconds: float) -> str:
    """Return how long ago something was, for people."""
    for unit, length in (("day", DAY_S), ("hour", 3600.0), ("minute", 60.0)):
        if seconds >= length:
            number = int(seconds // length)
            return f"{number} {unit}{'s' if number > 1 else ''} ago"
    return "just now"


def _describe(stored: Stored) -> dict[str, object]:
    return {
        "key": stored.key,
        "path": stored.path,
        "python_version": stored.ready.python_version if stored.ready else None,
        "distributions": None if stored.uses is None else len(stored.uses),
        "own_bytes": stored.size.own_bytes,
        "shared_bytes": stored.size.shared_bytes,
        "last_used": _format_time(stored.used_at),
        "projects": list(stored.projects),
        "state": _find_state(stored),
        "busy": stored.busy,
    }


def _find_state(stored: Stored) -> str:
    if stored.ready is None:
        return "not ready"
    return "ready" if stored.is_current else "superseded"


def _make_row(stored: Stored, now_s: float) -> list[str]:
    return [
        stored.key,
        stored.ready.python_version if stored.ready else "-",
        "-" if stored.uses is None else str(len(stored.uses)),
        format_bytes(stored.size.own_bytes),
        format_bytes(stored.size.shared_bytes),
        _format_age(now_s - stored.used_at),
        _find_state(stored) + (f", {stored.busy}" if stored.busy else ""),
        ", ".join(stored.projects) or "-",
        stored.path,
    ]


def _list(options: argparse.Namespace) -> int:
    store = make_machine(options).store
    require_store(store)
    found = list_environments(store, busy=find_busy(store)) if is_store(store) else ()
    ordered = sorted(found, key=lambda each: -each.used_at)
    if options.json:
        console.show_json({"root": store.root, "environments": [_describe(each) for each in ordered]})
        return ExitCode.DONE
    if not ordered:
        console.say(f"no environments in {store.root}")
        return ExitCode.DONE
    columns = ["key", "python", "distributions", "own", "shared", "last used", "state", "projects", "path"]
    console.show_table(columns, [_make_row(each, time.time()) for each in ordered])
    return ExitCode.DONE


def _info(options: argparse.Namespace) -> int:
    summary = summarize(make_machine(options))
    if options.json:
        console.show_json(summary.to_dict())
        return ExitCode.DONE
    if not summary.exists:
        console.say(f"{summary.root} is not there yet: the first restore makes it")
        return ExitCode.DONE
    console.say(f"{summary.root}: {format_bytes(summary.total_bytes)}, each file counted once\n")
    rows = [[each.name, str(each.count), format_bytes(each.size_bytes), each.meaning] for each in summary.rooms]
    console.show_table(["room", "entries", "size", "what"], rows)
    console.say(f"\nwheels that no index is known to have: {summary.kept_wheels}")
    console.say(f"files are shared by: {', '.join(summary.link_modes) or 'cannot be tried out, it is read-only'}")
    tools = [f"{name} {version}" for name, version in summary.tools.items() if version]
    console.say(f"tools: {', '.join(tools)}")
    return ExitCode.DONE


def _show_plan(plan: Plan, options: argparse.Namespace, *, done: bool) -> None:
    for sentence in plan.notes:
        console.warn(sentence)
    if options.json:
        content = {"dry_run": not done, "freed_bytes": plan.freed_bytes, "total_bytes_before": plan.total_bytes}
        console.show_json({**content, "removed": [each.to_dict() for each in plan.removals], "notes": list(plan.notes)})
        return
    rows = [
        [each.kind, each.name, format_bytes(each.size_bytes), each.reason]
        for each in plan.removals
        if each.kind in _SHOWN_REMOVALS
    ]
    if rows:
        console.show_table(["what", "name", "size", "why"], rows)
    counts = Counter(each.kind for each in plan.removals)
    listed = ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items())) or "nothing"
    console.say(f"{'removed' if done else 'would remove'} {listed}: {format_bytes(plan.freed_bytes)}")


def _prune(options: argparse.Namespace) -> int:
    rules = Rules(
        older_than_s=parse_period(options.older_than) if options.older_than is not None else UNUSED_S,
        max_bytes=parse_size(options.max_size) if options.max_size is not None else None,
        unreferenced=options.unreferenced,
        kept=options.kept,
    )
    machine = make_machine(options)
    plan = prune(machine.store, rules, dry_run=options.dry_run, report=machine.report)
    _show_plan(plan, options, done=not options.dry_run)
    return ExitCode.DONE


def _confirm(plan: Plan, options: argparse.Namespace) -> bool:
    counts = Counter(each.kind for each in plan.removals)
    kept = counts["kept wheel"]
    if kept:
        console.warn(f"{kept} kept wheel(s) would be lost, which no index is known to have: locks that name them can "
                     "not be restored then")  # fmt: skip
    if options.yes or not plan.removals:
        return True
    if not sys.stdin.isatty():
        raise UsageError("clearing the cache needs a yes", hint="repro cache clear --yes, or `--dry-run` to look first")
    console.note(f"remove {counts['environment']} environments, {format_bytes(plan.freed_bytes)} in all? [y/N] ")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _clear(options: argparse.Namespace) -> int:
    machine = make_machine(options)
    plan = clear(machine.store, dry_run=True, report=machine.report)
    if options.dry_run:
        _show_plan(plan, options, done=False)
    elif _confirm(plan, options):
        _show_plan(clear(machine.store, dry_run=False, report=machine.report), options, done=True)
    else:
        console.note("nothing was removed")
        return ExitCode.NO
    return ExitCode.DONE


def _make_parser() -> Parser:
    parser = make_parser("cache", "Show what the cache holds, and remove what is not needed.", _EXAMPLES)
    parser.add_argument("deed", choices=_DEEDS, help="what to do")
    add_cache(parser)
    parser.add_argument("--older-than", metavar="PERIOD", help="prune: environments not used for so long (90d)")
    parser.add_argument("--max-size", metavar="SIZE", help="prune: the longest unused too, until no more is left")
    parser.add_argument("--unreferenced", action="store_true", help="prune: what no known project's lock leads to")
    parser.add_argument("--kept", action="store_true", help="prune: kept wheels too that no lock restored here names")
    parser.add_argument("--dry-run", action="store_true", help="prune, clear: only say what would be removed")
    parser.add_argument("--yes", action="store_true", help="clear: do not ask")
    return parser


_ALLOWED = {
    "prune": ("older_than", "max_size", "unreferenced", "kept", "dry_run"),
    "clear": ("dry_run", "yes"),
}


def _refuse_strangers(options: argparse.Namespace) -> None:
    """Refuse an option that means nothing for the deed: a wrong guess must not delete more than was meant."""
    allowed = _ALLOWED.get(options.deed, ())
    for name in ("older_than", "max_size", "unreferenced", "kept", "dry_run", "yes"):
        if getattr(options, name) and name not in allowed:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"`{option}` means nothing for `repro cache {options.deed}`", hint="repro cache --help")


def run(arguments: list[str]) -> int:
    """List, describe, prune or clear the store."""
    options = _make_parser().parse_args(arguments)
    _refuse_strangers(options)
    deeds: dict[str, Callable[[argparse.Namespace], int]] = {
        "list": _list,
        "info": _info,
        "prune": _prune,
        "clear": _clear,
    }
    return deeds[options.deed](options)
