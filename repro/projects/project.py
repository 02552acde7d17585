"""Open a project: a directory with an `MLproject`, or any directory whose scripts are its entry points."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from repro.errors import UsageError
from repro.formats.mlproject import EntryPoint, MLProject, parse_mlproject
from repro.values import frozen

DEFAULT_ENTRY_POINT = "main"
# What runs a script; a shell script gets the user's shell.
_SCRIPTS = {".py": "python", ".sh": "", ".R": "Rscript", ".r": "Rscript"}
_ENDINGS = ".py, .sh, .R"


@frozen
class Project:
    """Hold a project's directory and what its `MLproject` declares, None where it has none."""

    root: Path
    name: str
    mlproject: MLProject | None

    @property
    def notes(self) -> tuple[str, ...]:
        """What its `MLproject` has that is not used."""
        return self.mlproject.notes if self.mlproject else ()

    def _find_script(self, name: str) -> Path | None:
        path = Path(os.path.realpath(self.root / name))  # unlike resolve(), survives links in a circle
        if not path.is_relative_to(os.path.realpath(self.root)):
            raise UsageError(f"the entry point `{name}` lies outside the project `{self.root}`")
        return Path(name) if Path(name).suffix in _SCRIPTS and os.path.isfile(path) else None

    def get_entry_point(self, name: str | None, *, shell: str = "bash") -> EntryPoint:
        """Return a declared entry point, else the script of that name. Raises UsageError."""
        name = name or DEFAULT_ENTRY_POINT
        declared = {each.name: each for each in self.mlproject.entry_points} if self.mlproject else {}
        if name in declared:
            return declared[name]
        if script := self._find_script(name):
            program = _SCRIPTS[script.suffix] or shell
            return EntryPoint(name=name, command=f"{program} {_quote_for_format(name)}")
        scripts = sorted(path.name for path in self.root.iterdir() if path.suffix in _SCRIPTS and os.path.isfile(path))
        known = [*declared, *scripts]
        import difflib

        close = difflib.get_close_matches(name, known, n=1)
        raise UsageError(
            f"the project `{self.root}` has no entry point `{name}`",
            hint=f"did you mean `-e {close[0]}`?" if close else "name one with `-e ENTRY`",
            details=(
                f"declared: {', '.join(declared) or 'none'}",
                f"scripts ({_ENDINGS}): {', '.join(scripts) or 'none'}",
            ),
        )


def _quote_for_format(name: str) -> str:
    """Quote a file name for the shell, braces doubled as in any command; `-c.py` must not become an option."""
    return shlex.quote(f"./{name}" if name.startswith("-") else name).replace("{", "{{").replace("}", "}}")


def open_project(root: Path) -> Project:
    """Return the project at a directory. Raises ProjectError."""
    for path in sorted(root.iterdir()):
        if path.name.lower() == "mlproject" and path.is_file():
            mlproject = parse_mlproject(path.read_text(encoding="utf-8", errors="replace"), where=str(path))
            return Project(root=root.resolve(), name=mlproject.name or root.resolve().name, mlproject=mlproject)
    return Project(root=root.resolve(), name=root.resolve().name, mlproject=None)
