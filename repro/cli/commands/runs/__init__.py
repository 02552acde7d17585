"""`repro runs`: one module for each deed, imported when it is asked for."""

from __future__ import annotations

from repro.cli.deeds import Deeds

DEEDS = Deeds(
    command="runs",
    summary="Look at runs, compare them, and move them.",
    deeds={
        "list": ("repro.cli.commands.runs.listing", "the newest runs, or those that a filter finds"),
        "search": ("repro.cli.commands.runs.search", "the runs that a filter finds, in the order wanted"),
        "show": ("repro.cli.commands.runs.show", "one run: parameters, metrics with their course, tags, artifacts"),
        "compare": ("repro.cli.commands.runs.compare", "runs side by side: parameters, metrics, code, environment"),
        "delete": ("repro.cli.commands.runs.lifecycle:delete", "mark runs as deleted"),
        "restore": ("repro.cli.commands.runs.lifecycle:restore", "make deleted runs active again"),
        "copy": ("repro.cli.commands.runs.copy", "copy runs between directories and servers"),
        "sync": ("repro.cli.commands.runs.sync", "send what was logged while a server was away"),
        "reap": ("repro.cli.commands.runs.reap", "end the runs whose process is gone"),
    },
)
run = DEEDS.run
