"""`repro doctor`: look over this machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from repro.cli import console
from repro.cli.options import add_cache, add_indexes, make_machine, make_parser
from repro.environments.housekeeping.checks import Check, Health
from repro.environments.housekeeping.doctor import Checkup, examine
from repro.errors import ExitCode

_EXAMPLES = """\
  repro doctor                       interpreters, tools, the cache, the indexes
  repro doctor --deep                every file of every environment by its content
  repro doctor --offline --json
"""


def _show(checks: Sequence[Check]) -> None:
    console.show_table(
        ["", "what", "which", ""], [[each.health.value, each.about, each.subject, each.text] for each in checks]
    )
    for each in checks:
        if each.health is not Health.GOOD:
            for detail in each.details:
                console.note(f"  {each.subject}: {detail}")
            if each.hint:
                console.note(f"hint: {each.subject}: {each.hint}")
    counts = Counter(each.health for each in checks)
    console.say(f"{counts[Health.BAD]} bad, {counts[Health.DOUBTFUL]} doubtful, {counts[Health.GOOD]} good")


def run(arguments: list[str]) -> int:
    """Look over the machine; exit 1 where something is bad."""
    parser = make_parser("doctor", "Look over this machine: interpreters, tools, the cache, the indexes.", _EXAMPLES)
    parser.add_argument("--deep", action="store_true", help="compare every file of the cache's environments by content")
    parser.add_argument("--offline", action="store_true", help="do not ask the indexes")
    add_indexes(parser)
    add_cache(parser)
    options = parser.parse_args(arguments)
    checkup = Checkup(project=Path.cwd(), deep=options.deep, offline=options.offline)
    with console.Progress(quiet=options.json) as progress:
        checks = list(examine(make_machine(options, report=progress), checkup))
    is_well = all(each.health is not Health.BAD for each in checks)
    if options.json:
        console.show_json({"well": is_well, "checks": [each.to_dict() for each in checks]})
    else:
        _show(checks)
    return ExitCode.DONE if is_well else ExitCode.NO
