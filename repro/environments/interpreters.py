"""Find a Python on this machine. Nothing is ever downloaded or compiled.

In order: the one asked for, our own, pyenv's version directories, PATH without shims, the usual directories, and last
python-discovery, which is slow and looks into no version manager.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from repro import settings
from repro.digests import sha256_hex
from repro.environments.ready import Stamp, find_python_stamp
from repro.environments.store import Store
from repro.errors import InterpreterNotFoundError
from repro.files import make_directory, write_atomically
from repro.formats.lockfile import Interpreter
from repro.values import asdict, frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.process import Runner

_USUAL_DIRS = ("/usr/local/bin", "/usr/bin", "/bin")
_MINORS = range(8, 16)  # 3.8 is the oldest that guest scripts run in


@frozen
class Candidate:
    """An interpreter of this machine: the real path of its base and what it said of itself."""

    path: str
    interpreter: Interpreter


def _list_paths(minor: str, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield places where a Python `minor` may be, best first."""
    yield settings.own_python()
    versions = Path(settings.get_pyenv_root(environ), "versions")
    if versions.is_dir():
        yield from (str(path / "bin" / "python") for path in sorted(versions.glob(f"{minor}*"), reverse=True))
    directories = [each for each in settings.get_search_path(environ) if os.path.basename(each) != "shims"]
    for directory in dict.fromkeys((*directories, *_USUAL_DIRS)):
        for name in (f"python{minor}", "python3", "python"):
            yield os.path.join(directory, name)


class Finder:
    """Find interpreters, asking each only once: the store keeps what it said."""

    def __init__(self, store: Store, *, runner: Runner, environ: Mapping[str, str]) -> None:
        self._store = store
        self._runner = runner
        self._environ = environ

    def examine(self, path: str) -> Candidate:
        """Return what the interpreter at `path`, or the base of its environment, says of itself.

        It is asked again where it is not the one it was. Raises InterpreterNotFoundError.
        """
        stamp = find_python_stamp(path)
        note = self._name_note(path, stamp) if stamp else None
        if note and (known := _read_note(note)):
            return known
        from repro.snapshots.probe import probe

        report = probe(path, runner=self._runner, environ=self._environ, scope="interpreter")
        candidate = Candidate(path=report.base_executable, interpreter=report.interpreter)
        if note:
            with contextlib.suppress(OSError):
                make_directory(os.path.dirname(note))
                write_atomically(note, json.dumps(asdict(candidate)), durable=False)
        return candidate

    def _name_note(self, path: str, stamp: Stamp) -> str:
        name = sha256_hex(json.dumps([path, str(stamp)]).encode())
        return self._store.room("interpreters", name)

    def _list_found(self, minor: str) -> Iterator[Candidate]:
        seen: set[str] = set()
        for path in _list_paths(minor, self._environ):
            real = os.path.realpath(path)
            if real in seen or not os.access(real, os.X_OK):
                continue
            seen.add(real)
            try:
                yield self.examine(path)
            except InterpreterNotFoundError:
                continue
        if discovered := _discover(minor):
            yield self.examine(discovered)

    def list_all(self) -> list[Candidate]:
        """Return the interpreters of this machine that a restore would look at, each once, oldest Python first."""
        found: dict[str, Candidate] = {}
        seen: set[str] = set()
        for number in _MINORS:
            for path in _list_paths(f"3.{number}", self._environ):
                real = os.path.realpath(path)
                if real in seen or not os.access(real, os.X_OK) or os.path.isdir(real):
                    continue
                seen.add(real)
                with contextlib.suppress(InterpreterNotFoundError):
                    candidate = self.examine(path)
                    found.setdefault(os.path.realpath(candidate.path), candidate)
        return sorted(found.values(), key=lambda each: (int(each.interpreter.minor.split(".")[1]), each.path))

    def find_version(self, version: str, *, implementation: str) -> Candidate | None:
        """Return the interpreter of a version (`3.11` or `3.11.7`): this one, else the highest patch of its X.Y."""
        minor = ".".join(version.split(".")[:2])
        found = [
            each
            for each in self._list_found(minor)
            if each.interpreter.minor == minor and each.interpreter.implementation == implementation
        ]
        exact = (each for each in found if each.interpreter.version == version)
        return next(exact, None) or max(found, key=lambda each: _patch_of(each.interpreter), default=None)

    def find(self, wanted: Interpreter | None, *, given: str | None) -> Candidate:
        """Return the interpreter for a lock: the exact version, else the highest patch of the same X.Y and ABI.

        Raises InterpreterNotFoundError, which lists what was found.
        """
        if given:
            candidate = self.examine(settings.locate_python(given, self._environ))
            if wanted and candidate.interpreter.compatibility != wanted.compatibility:
                raise _not_found(wanted, [candidate], f"`{given}` is another Python than the lock needs")
            return candidate
        if wanted is None:
            return self.examine(settings.choose_python(None, self._environ))
        found: list[Candidate] = []
        for candidate in self._list_found(wanted.minor):
            found.append(candidate)
            if candidate.interpreter.compatibility == wanted.compatibility and (
                candidate.interpreter.version == wanted.version
            ):
                return candidate
        fitting = [each for each in found if each.interpreter.compatibility == wanted.compatibility]
        if not fitting:
            raise _not_found(wanted, found, "no Python on this machine fits the lock")
        return max(fitting, key=lambda each: _patch_of(each.interpreter))


def _read_note(path: str) -> Candidate | None:
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        candidate = Candidate(path=content["path"], interpreter=Interpreter(**content["interpreter"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return candidate if os.path.exists(candidate.path) else None


def _discover(minor: str) -> str | None:
    from python_discovery import get_interpreter

    found = get_interpreter(minor)
    return str(found.executable) if found and found.executable else None


def _patch_of(python: Interpreter) -> int:
    digits = "".join(char if char.isdigit() else " " for char in python.version.split(".")[-1]).split()
    return int(digits[0]) if digits else 0


def _not_found(wanted: Interpreter, found: list[Candidate], why: str) -> InterpreterNotFoundError:
    return InterpreterNotFoundError(
        f"{why}: it needs {wanted.implementation} {wanted.minor} ({wanted.abi})",
        hint=f"install Python {wanted.version}, or name one with `--python PATH`",
        details=tuple(f"found {each.interpreter.version} ({each.interpreter.abi}) at {each.path}" for each in found),
    )
