"""Choose the environment that a project runs in: by its lock, by its loose files, or the caller's own.

Decided from files and words alone, before a run exists; `environment.py` does it.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from repro.errors import ProjectError, UsageError
from repro.formats.lockfile import FILE_NAME, has_header
from repro.formats.mlproject import EntryPoint, MLProject
from repro.patterns import compile_later
from repro.projects.managers import EnvManager
from repro.projects.project import Project
from repro.values import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.projects.guess import Guess

# What says what a project needs where its MLproject names nothing, the first that is there: locks of other tools, then
# the names that MLflow looks for, then those that are usual.
LOOSE_FILES = (
    "pylock.toml", "uv.lock", "python_env.yaml", "conda.yaml", "conda.yml", "environment.yml", "environment.yaml",
    "requirements.txt", "pyproject.toml",
)  # fmt: skip
_SCRIPT_HEADER = compile_later(r"(?m)^# /// script\s*$")
_PYTHON = compile_later(r"python(3(\.\d+)?)?")
_FLAGS = compile_later(r"-[BEIOPSbdisuvxq]*m?(?<!-)")
_BEFORE = ("&&", ";", "|", "env", "exec", "time")  # a command may begin behind these
_ASSIGNMENT = compile_later(r"[A-Za-z_]\w*=")
# Words that install, go elsewhere, or make it a matter of luck what runs next.
_CHANGING = frozenset(
    {"pip", "pip3", "uv", "conda", "poetry", "pipenv", "cd", "source", ".", "export", "||", "if", "for"}
)


@frozen
class OwnEnvironment:
    """The caller's interpreter as it is; `notes` say why."""

    notes: tuple[str, ...] = ()


@frozen
class LockedEnvironment:
    """The environment of a lock, exactly."""

    lock: Path


@frozen
class LooseEnvironment:
    """What a file of another format asks for, locked once."""

    file: Path


@frozen
class GuessedEnvironment:
    """What imports most likely ask for, locked once, where no file says it; `code` names what was read, for people."""

    code: str
    guesses: tuple[Guess, ...]


Restored = LockedEnvironment | LooseEnvironment | GuessedEnvironment
Choice = OwnEnvironment | Restored


def _split_command(command: str) -> list[str]:
    """Return a shell command's words, what joins commands each as one. Raises ValueError."""
    return list(shlex.shlex(command.replace("\\\n", " "), posix=True, punctuation_chars=True))


def _find_python(words: list[str]) -> int | None:
    """Return where the first Python stands that surely runs, in the project's directory and environment as it is."""
    for at, word in enumerate(words):
        if word in _CHANGING:
            return None
        if _PYTHON.fullmatch(word) and (at == 0 or words[at - 1] in _BEFORE or _ASSIGNMENT.match(words[at - 1])):
            return at
    return None


def _locate_module(root: Path, name: str) -> Path | None:
    """Return the file that `python -m` runs of the project's own modules, relative to it."""
    if not all(part.isidentifier() for part in name.split(".")):
        return None
    base = Path(*name.split("."))
    return next((path for path in (base / "__main__.py", base.with_suffix(".py")) if (root / path).is_file()), None)


def find_script(root: Path, entry: EntryPoint) -> Path | None:
    """Return the Python script, or module of the project, that an entry point's command runs, relative to the project.

    None for any other command, and where what stands before it may change what it finds.
    """
    try:
        words = _split_command(entry.command)
    except ValueError:
        return None
    start = _find_python(words)
    rest = words[start + 1 :] if start is not None else []
    while rest and _FLAGS.fullmatch(rest[0]):
        if rest[0].endswith("m"):
            return _locate_module(root, rest[1]) if len(rest) > 1 else None
        rest = rest[1:]
    script = Path(rest[0]) if rest and rest[0].endswith(".py") else None
    return script if script and (root / script).is_file() else None


def _find_named(root: Path, mlproject: MLProject) -> Path | None:
    """Return the file that an MLproject names. Raises ProjectError where it is not there."""
    for key, name in (("python_env", mlproject.python_env), ("conda_env", mlproject.conda_env)):
        if name is None:
            continue
        path = root / name
        if not path.is_file():
            raise ProjectError(
                f"`{root / 'MLproject'}` names `{key}: {name}`, and there is no such file",
                hint="write it, or name one that is there",
            )
        return path
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _says_something(path: Path) -> bool:
    """Tell whether a file says what the project needs: a pyproject.toml may hold the options of tools alone."""
    if not path.is_file():
        return False
    return path.name != "pyproject.toml" or re.search(r"(?m)^\s*\[project\]", _read(path)) is not None


def _find_file(project: Project, entry: EntryPoint) -> Path | None:
    named = _find_named(project.root, project.mlproject) if project.mlproject else None
    if named:
        return named
    script = find_script(project.root, entry)
    if script and _SCRIPT_HEADER.search(_read(project.root / script)):
        return project.root / script
    return next((path for name in LOOSE_FILES if _says_something(path := project.root / name)), None)


def _list_scripts(root: Path, entry: EntryPoint) -> tuple[Path, ...]:
    """Return the Python scripts of the project that a command names, all of them; none where it runs other things."""
    try:
        words = _split_command(entry.command)
    except ValueError:
        return ()
    if any(word.endswith((".sh", ".R", ".r")) for word in words):
        return ()
    named = (Path(word) for word in words if word.endswith(".py"))
    found = [find_script(root, entry), *(path for path in named if (root / path).is_file())]
    return tuple(dict.fromkeys(path for path in found if path))


def _runs_r(entry: EntryPoint) -> bool:
    return re.search(r"\bRscript\b", entry.command) is not None


def _guess(project: Project, entry: EntryPoint) -> GuessedEnvironment | None:
    """Guess from imports what a project needs, None where nothing of it is Python. Raises ProjectError."""
    from repro.projects.guess import guess_of_project, guess_of_scripts

    scripts = _list_scripts(project.root, entry)
    if scripts:
        code = " and ".join(f"`{script}`" for script in scripts)
        return GuessedEnvironment(code=code, guesses=guess_of_scripts(project.root, scripts))
    if _runs_r(entry):
        return None
    guesses = guess_of_project(project.root)
    return GuessedEnvironment(code="its Python code", guesses=guesses) if guesses else None


def _refuse_docker(project: Project, manager: EnvManager | None) -> tuple[str, ...]:
    image = project.mlproject.docker_env if project.mlproject else None
    if image is None:
        return ()
    if manager is EnvManager.LOCAL:
        return (f"the project asks for the container image `{image}`, and runs in your own environment",)
    raise UsageError(
        f"the project asks for the container image `{image}` (`docker_env`), and repro runs no containers",
        hint="`--env-manager local` runs it in your own environment, with what you have installed there",
    )


def choose_environment(
    project: Project, entry: EntryPoint, manager: EnvManager | None, *, lock: Path | None = None
) -> Choice:
    """Return the environment to run in; `lock` is that of a run that is run again, instead of the project's files.

    Where no file says what the project needs, its imports do. Raises UsageError for a container, and ProjectError for
    a file that is named and not there, and for a script that cannot be read.
    """
    notes = _refuse_docker(project, manager)
    if manager in (None, EnvManager.LOCAL):
        return OwnEnvironment(notes=notes)
    wanted = lock or project.root / FILE_NAME
    if lock or wanted.is_file():
        return LockedEnvironment(lock=wanted)
    file = _find_file(project, entry)
    if file is None:
        note = (
            f"`{project.root}` has no file that says what it needs, so it runs in your own environment; "
            f"`{shlex.join(['repro', 'snapshot', str(project.root)])}` locks what is installed there"
        )
        return _guess(project, entry) or OwnEnvironment(notes=(note,))
    return (
        LockedEnvironment(lock=file)
        if file.suffix == ".txt" and has_header(_read(file))
        else LooseEnvironment(file=file)
    )
