"""Say how a script is run as a project's entry point, with the words of its own command line."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from repro.errors import UsageError
from repro.formats.mlproject import EntryPoint, format_command
from repro.values import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.formats.script_parameters import Accepted

SUFFIXES = (".py", ".sh", ".R")


@frozen
class Script:
    """A script's file, and the project directory and the entry point it is run as."""

    path: Path
    project_dir: Path
    entry_point: str


def find_script(path: str | os.PathLike[str], *, cwd: Path) -> Script:
    """Return a script as an entry point of the directory `cwd`, or of its own where it lies elsewhere.

    Raises UsageError.
    """
    place = Path(os.path.abspath(cwd / Path(path).expanduser()))
    if not place.is_file():
        raise UsageError(f"there is no script `{os.fspath(path)}`")
    if place.suffix not in SUFFIXES:
        raise UsageError(f"`{os.fspath(path)}` is no script: {', '.join(SUFFIXES)} files are")
    here = Path(os.path.abspath(cwd))
    inside = place.is_relative_to(here) and Path(os.path.realpath(place)).is_relative_to(os.path.realpath(here))
    project_dir = here if inside else place.parent
    return Script(path=place, project_dir=project_dir, entry_point=str(place.relative_to(project_dir)))


def read_accepted(script: Script) -> Accepted:
    """Return what a script accepts; of one that is not Python, or cannot be read as such, nothing is known."""
    from repro.formats.script_parameters import Accepted, parse_script_parameters

    try:
        if script.path.suffix == ".py":
            return parse_script_parameters(script.path.read_bytes())
    except (ValueError, OSError):
        pass  # Python says better what is wrong with it
    return Accepted(parameters=(), remarks=())


def read_words(words: Sequence[str], accepted: Accepted) -> dict[str, str]:
    """Return the parameters in a script's command line: `--name value`, `--name=value`, and `--flag` as `true`.

    `-` in a name is `_`; what stands by itself is none. A name of which nothing is known has a value where a word
    follows that is not an option itself. Raises UsageError where `repro.param` would miss a value.
    """
    from repro.formats.script_parameters import Origin, list_flags

    flags = list_flags(accepted)
    own = {each.name.replace("-", "_") for each in accepted.parameters if each.origin is Origin.REPRO}
    values: dict[str, str] = {}
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            break
        key, separator, value = word.partition("=")
        if not key.startswith("--") or not key[2:]:
            continue
        name = key[2:].replace("-", "_")
        takes_next = name in own or not flags.get(name, bool(waiting) and waiting[0].startswith("--"))
        if not separator and takes_next and waiting:
            values[name] = waiting.pop(0)
        elif not separator and name in own:
            raise UsageError(f"the parameter `{name}` has no value behind `{word}`", hint=f"for example `{word} 0.5`")
        else:
            values[name] = value if separator else "true"
    return values


def drop_leading_args(words: Sequence[str]) -> tuple[str, ...]:
    """Return a command line without the `--args` that R's begin with."""
    return tuple(words[1:] if words[:1] == ["--args"] else words)


def format_run_command(entry: EntryPoint, values: Mapping[str, str], words: Sequence[str] | None) -> str:
    """Return an entry point's shell command; with `words` they are its command line, each quoted once."""
    if words is None:
        return format_command(entry, values)
    return " ".join([format_command(entry, {}), *map(shlex.quote, words)])
