"""The projects below a directory of checkouts, and how each is run: as it is, but for what `corpus.toml` says."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import tomllib

OLD = timedelta(days=180)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A project in a checkout, the entry point and parameters that its own README names, and its last commit's day."""

    checkout: Path
    project: str
    day: date
    entry: str | None = None
    params: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return what a reader finds the project by: `owner/repository`, its directory, and the entry point."""
        owner = self.checkout.name.replace("+", "/")
        inside = "" if self.project == "." else f" {self.project}"
        return f"{owner}{inside}{f' -e {self.entry}' if self.entry else ''}"

    @property
    def is_old(self) -> bool:
        """Tell whether what it leaves open is to be answered as of its day."""
        return date.today() - self.day > OLD

    @property
    def options(self) -> list[str]:
        """Return the options that both runners take."""
        words = ["-e", self.entry] if self.entry else []
        return words + [word for name, value in self.params.items() for word in ("-P", f"{name}={value}")]


def _find_day(checkout: Path) -> date:
    """Return the day, in UTC, of a checkout's last commit."""
    command = ["git", "-C", str(checkout), "log", "-1", "--date=short-local", "--format=%cd"]
    environ = os.environ | {"TZ": "UTC"}
    text = subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout
    return date.fromisoformat(text.strip())


def _find_projects(checkout: Path) -> list[str]:
    """Return the directories of a checkout with an MLproject, relative to it."""
    files = (path for path in checkout.rglob("*") if path.name.lower() == "mlproject" and path.is_file())
    return sorted(path.parent.relative_to(checkout).as_posix() for path in files)


def find_cases(directory: Path) -> list[Case]:
    """Return every project below a directory: once as it is, or once for each time that `corpus.toml` names it.

    A `[[case]]` there has `project` (checkout/directory) and, as the project's own README says, `entry` and `params`,
    or `skip` with a reason; it may name a directory without an MLproject.
    """
    table = directory / "corpus.toml"
    named = tomllib.loads(table.read_text()).get("case", []) if table.exists() else []
    cases = []
    for checkout in sorted(path for path in directory.iterdir() if path.is_dir()):
        day, found = _find_day(checkout), _find_projects(checkout)
        mine = [each for each in named if each["project"].partition("/")[0] == checkout.name]
        own = {each["project"].partition("/")[2] or "." for each in mine}
        cases += [Case(checkout=checkout, project=project, day=day) for project in found if project not in own]
        cases += [
            Case(
                checkout=checkout,
                project=each["project"].partition("/")[2] or ".",
                day=day,
                entry=each.get("entry"),
                params={name: str(value) for name, value in each.get("params", {}).items()},
            )
            for each in mine
            if "skip" not in each
        ]
    return cases
