"""Guess from its imports what code needs that no file of its project declares. Read, never run; no index is asked."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from repro.errors import ProjectError
from repro.formats.wanted import Place
from repro.projects.own_code import Source, follow, has_module, list_roots
from repro.snapshots.provides import guess_distribution
from repro.values import frozen, replace

_OWN = frozenset({"repro", "__main__", "__future__"})  # a run lends repro to its script
# Of the standard library of another Python than ours: what it lacks is told when that is known, and never guessed.
_STDLIB_OF_OTHERS = frozenset(
    {
        "__builtin__", "_dummy_thread", "aifc", "annotationlib", "asynchat", "asyncore", "audioop", "BaseHTTPServer",
        "binhex", "cgi", "cgitb", "chunk", "commands", "compression", "ConfigParser", "Cookie", "cookielib",
        "cPickle", "crypt", "cStringIO", "distutils", "dummy_threading", "formatter", "HTMLParser", "htmlentitydefs",
        "httplib", "imghdr", "imp", "lib2to3", "macpath", "mailcap", "msilib", "nis", "nntplib", "ossaudiodev",
        "parser", "pipes", "Queue", "SimpleHTTPServer", "smtpd", "sndhdr", "SocketServer", "spwd", "StringIO", "sunau",
        "symbol", "telnetlib", "thread", "Tkinter", "tomllib", "urllib2", "urlparse", "uu", "xdrlib", "xmlrpclib",
    }
)  # fmt: skip
# What people call their own modules. An index has distributions of these names too, and none of them is meant.
_USUAL_OWN_NAMES = frozenset(
    {
        "app", "base", "common", "conf", "config", "configs", "constants", "core", "data", "dataloader", "dataset",
        "eval", "features", "functions", "helper", "helpers", "layers", "lib", "libs", "loader", "logger", "losses",
        "main", "metrics", "model", "modeling", "models", "modules", "my_utils", "network", "networks", "nets",
        "params", "pipeline", "plot", "predict", "preprocess", "preprocessing", "processing", "project", "scripts",
        "settings", "source", "src", "test", "tests", "tools", "train", "trainer", "training", "util", "utilities",
        "utils", "visualization",
    }
)  # fmt: skip


@frozen
class Guess:
    """A distribution that an import most likely means, and where the import stands.

    `known` tells that it is well known to have the module, and does not only have its name; `certain` that the code
    cannot start without it.
    """

    module: str
    distribution: str
    known: bool
    certain: bool
    place: Place

    @property
    def is_usual_own_name(self) -> bool:
        """Whether the module is most likely one of the project that is not there."""
        return not self.known and self.module in _USUAL_OWN_NAMES

    def __str__(self) -> str:
        is_named_alike = self.distribution.replace("-", "_") == self.module.lower()
        return f"`{self.distribution}`" if is_named_alike else f"`{self.distribution}` (`{self.module}`)"


def _is_stdlib(top: str) -> bool:
    return top in sys.stdlib_module_names or top in _STDLIB_OF_OTHERS


def _make_guess(name: str, place: Place, *, certain: bool) -> Guess:
    distribution, known = guess_distribution(name)
    return Guess(module=name.partition(".")[0], distribution=distribution, known=known, certain=certain, place=place)


def _is_own(name: str, roots: tuple[Path, ...], *, known: bool) -> bool:
    """Tell whether an import means the project's own code.

    A module or a package of the project wins over what is installed, and a mere directory does not (PEP 420): it is
    meant where it has the module that is asked of it, or where nothing known could be.
    """
    top, _, rest = name.partition(".")
    inside = rest.partition(".")[0]
    for root in roots:
        if has_module(root, top) or (inside and has_module(root / top, inside)):
            return True
    return not known and any((root / top).is_dir() for root in roots)


def _read_source(source: Source, root: Path, roots: tuple[Path, ...]) -> Iterator[Guess]:
    certain = {(each.name, each.line) for each in source.certain}
    file = os.path.relpath(source.path, root)
    for each in source.possible:
        top = each.name.partition(".")[0]
        if top in _OWN or _is_stdlib(top):
            continue
        is_certain = (each.name, each.line) in certain
        guess = _make_guess(each.name, Place(file=file, line=each.line), certain=is_certain)
        if not _is_own(each.name, roots, known=guess.known):
            yield guess


def _merge(guesses: Iterable[Guess]) -> tuple[Guess, ...]:
    """Return one guess for each distribution, by name, at the first place that is certain, else the first."""
    found: dict[str, Guess] = {}
    for each in guesses:
        before = found.get(each.distribution)
        if before is None or (each.certain and not before.certain):
            found[each.distribution] = each
    return tuple(found[name] for name in sorted(found))


def _require_readable(root: Path, script: Path) -> None:
    """Raise ProjectError for a script that is not Python of our version: what it imports cannot be told."""
    from repro.formats.source_code import find_imports

    try:
        find_imports((root / script).read_bytes())
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise ProjectError(
            f"what `{script}` needs cannot be told from its imports: {said}",
            hint="write a requirements.txt, or `--env-manager local`",
        ) from error


def guess_of_scripts(root: Path, scripts: Iterable[Path]) -> tuple[Guess, ...]:
    """Return what scripts, relative to `root`, and the project's modules that they may import need.

    Raises ProjectError for one that is not Python.
    """
    guesses: list[Guess] = []
    for script in scripts:
        _require_readable(root, script)
        roots = list_roots(root, script)
        for source in follow(root, script, deep=True):
            guesses += _read_source(source, root, roots)
    return _merge(guesses)


def guess_of_project(root: Path) -> tuple[Guess, ...]:
    """Return what all Python files and notebooks of a project need, nothing of it for certain."""
    from repro.snapshots.code import scan_code

    guesses = []
    for named in scan_code(root).imports:
        if named.optional or named.local or named.top in _OWN or _is_stdlib(named.top):
            continue
        file, _, line = named.places[0].rpartition(":")
        guess = _make_guess(named.name, Place(file=file, line=int(line)), certain=False)
        guesses += [guess] if guess.known or not named.directory else []
    return _merge(guesses)


def demand_nothing(guesses: tuple[Guess, ...]) -> tuple[Guess, ...]:
    """Return guesses of which none has to be right, since the caller has named what else is needed."""
    return tuple(replace(each, certain=False) for each in guesses)
