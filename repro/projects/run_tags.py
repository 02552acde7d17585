"""Say in tags what is known of a run: when it begins, and when its environment is made."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from repro import settings
from repro.projects.asked import Asked
from repro.projects.env_manager import GuessedEnvironment, LooseEnvironment, OwnEnvironment
from repro.projects.managers import EnvManager
from repro.projects.prepared import Prepared
from repro.projects.rerun import format_given
from repro.tracking.entities import PARENT_RUN_ID
from repro.tracking.process_mark import TAG as PROCESS_TAG
from repro.tracking.process_mark import mark_process
from repro.tracking.snapshot_tags import make_snapshot_tags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.projects.env_manager import Choice


def _name_source(choice: Choice, root: Path) -> str | None:
    """Return what was locked for the run, None for a lock and for the caller's own environment."""
    match choice:
        case LooseEnvironment(file=file):
            return os.path.relpath(file, root)
        case GuessedEnvironment():
            return "imports"
    return None


def make_tags(asked: Asked, given: Sequence[str], environ: Mapping[str, str], *, backend: str) -> dict[str, str]:
    """Return what is known of a run when it begins."""
    project, choice = asked.project, asked.choice
    manager = asked.environment.manager or EnvManager.LOCAL
    tags = {
        "mlflow.source.type": "PROJECT",
        "mlflow.project.entryPoint": asked.entry.name,
        "mlflow.project.backend": backend,
        "mlflow.project.env": "local" if isinstance(choice, OwnEnvironment) else "repro",
        PROCESS_TAG: mark_process(),
        "repro.env.manager": manager.value,
        "repro.restored": "false",
    }
    if source := _name_source(choice, project.root):
        tags["repro.env.source"] = source
        tags |= {"repro.env.as_of": asked.environment.as_of} if asked.environment.as_of else {}
    if parent := settings.find_parent_run(environ):
        tags[PARENT_RUN_ID] = parent
    return {**tags, **format_given(given), **asked.source.tags}


def make_environment_tags(prepared: Prepared) -> dict[str, str]:
    """Return what is known once the environment is made."""
    tags = make_snapshot_tags(prepared.held.taken.snapshot) if prepared.held else {}
    if prepared.environment:
        tags |= {"repro.restored": "true", "repro.env.key": prepared.environment.key}
    return tags
