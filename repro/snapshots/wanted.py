"""Read the files of a project that say what it wants, and the files that these include."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from repro.errors import ProjectError, UsageError
from repro.formats.conda_env import parse_conda_env
from repro.formats.fields import load_mapping
from repro.formats.lockfile import has_header
from repro.formats.loose_requirements import parse_requirements
from repro.formats.pyproject import parse_pyproject, parse_script
from repro.formats.python_env import parse_python_env
from repro.formats.wanted import Include, Wanted, merge
from repro.values import replace

_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_OF_OTHERS = {
    "poetry.lock": "export it (`poetry export`), then name the requirements file",
    "Pipfile": "run `pipenv requirements > requirements.txt`, then name that",
    "Pipfile.lock": "run `pipenv requirements > requirements.txt`, then name that",
    "pdm.lock": "run `pdm export -f pylock -o pylock.toml`, then name that",
    "setup.py": "name a requirements file",
    "setup.cfg": "name a requirements file",
    "conda-lock.yml": "name the environment file it was made from",
    "MLproject": "name the `python_env.yaml` or `conda.yaml` it speaks of",
}


def read_source(path: Path) -> str:
    """Return the text of a project's file. Raises UsageError where there is none, ProjectError where it is no text."""
    try:
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except IsADirectoryError:
        raise UsageError(f"`{path}` is a directory", hint="name the file that says what is wanted") from None
    except FileNotFoundError:
        raise UsageError(f"there is no file `{path}`") from None
    except UnicodeDecodeError as error:
        raise ProjectError(f"`{path}` is not text ({error.reason})") from error
    except OSError as error:
        raise ProjectError(f"`{path}` cannot be read ({error.strerror})") from error


def _is_python_env(path: Path, text: str) -> bool:
    """Tell an MLflow python_env.yaml from a conda environment file, by name and else by what it holds."""
    if path.stem == "python_env":
        return True
    content = load_mapping(text, where=str(path))
    dependencies = content.get("dependencies")
    has_pip = isinstance(dependencies, list) and any(isinstance(each, dict) for each in dependencies)
    return ("python" in content or "build_dependencies" in content) and not has_pip and "channels" not in content


def _parse(path: Path, extras: Sequence[str], groups: Sequence[str]) -> Wanted:
    if path.name in _OF_OTHERS:
        raise UsageError(f"`{path}` is not read", hint=_OF_OTHERS[path.name])
    text, where = read_source(path), str(path)
    if path.suffix == ".toml":
        return parse_pyproject(text, where=where, extras=extras, groups=groups)
    if path.suffix == ".py":
        return parse_script(text, where=where)
    if path.suffix in (".yaml", ".yml"):
        return parse_python_env(text, where=where) if _is_python_env(path, text) else parse_conda_env(text, where=where)
    if has_header(text):
        raise UsageError(f"`{path}` is a lock already", hint=f"restore it with `repro restore {path}`")
    return parse_requirements(text, where=where)


def _anchor_links(wanted: Wanted, directory: Path) -> Wanted:
    """Return what was read with find-links relative to the file that names them, as pip takes them."""
    options = tuple(
        replace(each, value=str((directory / each.value).absolute()))
        if each.name == "--find-links" and "://" not in each.value and (directory / each.value).exists()
        else each
        for each in wanted.options
    )
    return replace(wanted, options=options)


def _follow(wanted: Wanted, directory: Path, above: tuple[Path, ...]) -> Iterator[Wanted]:
    """Yield what a file says and what each file that it includes says, constraints as constraints."""
    yield replace(_anchor_links(wanted, directory), includes=())
    for include in wanted.includes:
        found = _read_include(include, directory, above)
        if include.constraint:
            found = replace(found, required=(), constraints=(*found.required, *found.constraints))
        yield found


def _read_include(include: Include, directory: Path, above: tuple[Path, ...]) -> Wanted:
    if "://" in include.path:
        return Wanted(faults=(f"{include.place}: an included file has to be on this machine",))
    path = directory / include.path
    if path.resolve() in above:
        chain = " -> ".join(each.name for each in (*above[above.index(path.resolve()) :], path))
        return Wanted(faults=(f"{include.place}: the files include each other in a circle: {chain}",))
    try:
        text = read_source(path)
    except (UsageError, ProjectError) as error:
        return Wanted(faults=(f"{include.place}: {error.message}",))
    wanted = parse_requirements(text, where=str(path))
    return merge(_follow(wanted, path.parent, (*above, path.resolve())))


def _find_unset(wanted: Wanted, environ: Mapping[str, str]) -> Iterator[str]:
    texts = [(each.place, each.text) for each in (*wanted.required, *wanted.constraints)]
    for place, text in [*texts, *((each.place, each.value) for each in wanted.options)]:
        for name in _VARIABLE.findall(text):
            if name not in environ:
                yield f"{place}: the variable `{name}` is not set"


def _find_contradictions(wanted: Wanted) -> Iterator[str]:
    """Yield a sentence for each name that two lines want from two places, or in two exact versions (no markers)."""
    urls: dict[str, str] = {}
    for each in wanted.required:
        _, separator, url = each.text.partition(" @ ")
        if separator and ";" not in url and urls.setdefault(each.name, url) != url:
            yield f"{each.place}: `{each.name}` is asked for from another place before"


def expand_variables(text: str, environ: Mapping[str, str]) -> str:
    """Return a text with its `${NAME}` replaced, as pip and uv do (upper case, digits and `_` alone)."""
    return _VARIABLE.sub(lambda match: environ.get(match[1], match[0]), text)


def hide_variables(text: str, wanted: Wanted, environ: Mapping[str, str]) -> str:
    """Return a message without the values of the variables that the files name: they may be secrets."""
    texts = [each.text for each in (*wanted.required, *wanted.constraints)] + [each.value for each in wanted.options]
    for name in {name for each in texts for name in _VARIABLE.findall(each)}:
        if value := environ.get(name):
            text = text.replace(value, f"${{{name}}}")
    return text


def read_wanted(
    paths: Sequence[Path], *, environ: Mapping[str, str], extras: Sequence[str] = (), groups: Sequence[str] = ()
) -> Wanted:
    """Return all that several files want together.

    Raises UsageError for a file that is not there or not for this, ProjectError with every fault that was found.
    """
    parts = [merge(_follow(_parse(path, extras, groups), path.parent, (path.resolve(),))) for path in paths]
    wanted = merge(parts)
    faults = (*wanted.faults, *_find_unset(wanted, environ), *_find_contradictions(wanted))
    if faults:
        names = ", ".join(f"`{path}`" for path in paths)
        raise ProjectError(f"{names} cannot be locked", hint="mend these places", details=tuple(dict.fromkeys(faults)))
    return wanted
