"""Run a script with its own command line: what `repro run` would be asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from repro.projects.request import RunRequest
from repro.projects.script import drop_leading_args, find_script, read_accepted, read_words
from repro.values import replace


def make_source_request(
    settled: RunRequest, path: str | os.PathLike[str], words: Sequence[str], *, cwd: Path
) -> RunRequest:
    """Return what runs a script as the run of a project, `words` being its command line.

    `settled` says how it runs. Raises UsageError.
    """
    script = find_script(path, cwd=cwd)
    kept = drop_leading_args(words)
    values = read_words(kept, read_accepted(script))
    return replace(
        settled,
        uri=str(script.project_dir),
        entry_point=script.entry_point,
        parameters=tuple(f"{name}={value}" for name, value in values.items()),
        words=kept,
    )
