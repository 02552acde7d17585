"""Record what the R processes of a run had loaded: with the run, and with the project where it has no record yet.

The notes are those that `inside/r/profile.R` writes beside what is observed of Python.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from repro import settings
from repro.errors import ProjectError, UsageError
from repro.files import write_atomically
from repro.patterns import compile_later
from repro.tracking.store import Store, find_text, write_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.formats.r_dependencies import RDependencies

R_PROFILE = str(Path(__file__).resolve().parents[1] / "inside" / "r" / "profile.R")
_NOTE = compile_later(r"r-[0-9]+\.txt")
_RSCRIPT = compile_later(r"^Rscript(?=\s|$)")
_MOST_BYTES = 1 << 20


def require_r(command: str, environ: Mapping[str, str]) -> None:
    """Refuse a command that begins with `Rscript` where there is none. Raises UsageError."""
    if _RSCRIPT.match(command) and settings.find_program("Rscript", environ) is None:
        raise UsageError("there is no `Rscript` on PATH", hint="install R, on Debian `apt-get install r-base-core`")


def _list_notes(observe_dir: str) -> list[str]:
    names = sorted(entry.name for entry in os.scandir(observe_dir) if entry.is_file(follow_symlinks=False))
    return list(filter(_NOTE.fullmatch, names))


def _read_notes(observe_dir: str) -> Iterator[RDependencies]:
    """Yield what each process has noted; the directory is the script's to write into, so what is odd is left out."""
    from repro.formats.r_dependencies import parse_r_dependencies

    for name in _list_notes(observe_dir):
        try:
            with open(os.path.join(observe_dir, name), encoding="utf-8", errors="replace") as file:
                yield parse_r_dependencies(file.read(_MOST_BYTES), where=name)
        except (ProjectError, OSError):
            continue


def keep_r_dependencies(store: Store, run_id: str, observe_dir: str, project_dir: Path) -> list[str]:
    """Keep the record of a run that has used R, and return what is to be said of it. Raises OSError, TrackingError."""
    if not _list_notes(observe_dir):
        return []
    from repro.formats.r_dependencies import FILE_NAME, compare_r, format_r_dependencies, merge, parse_r_dependencies

    found = merge(_read_notes(observe_dir))
    if found is None:
        return []
    text = format_r_dependencies(found)
    if find_text(store, run_id, FILE_NAME) is None:  # a file of that name is the script's own
        write_text(store, run_id, FILE_NAME, text)
    path = project_dir / FILE_NAME
    if not path.exists():
        if os.access(project_dir, os.W_OK):
            write_atomically(path, text)
        return []
    recorded = parse_r_dependencies(path.read_text(encoding="utf-8", errors="replace"), where=str(path))
    return [
        f"{each.name} was {each.installed}, and is {each.recorded} in {FILE_NAME}"
        for each in compare_r(recorded, found, missing=False)
    ]
