"""The fingerprint of a run: what its numbers depend on beside its distributions, as the artifact `environment.json`.

Assembled from what is given; nothing of it names a user, a host or a place below somebody's home directory.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping

from repro.formats.redaction import looks_secret
from repro.inside.process_facts import VARIABLES
from repro.snapshots.hardware import Hardware
from repro.snapshots.trace import Library, Process, Scalar
from repro.values import asdict, frozen

FILE_NAME = "environment.json"
FORMAT_VERSION = 1
_MOST_CHARACTERS = 500
_PUBLIC_PLACES = ("/usr/", "/lib/", "/lib64/", "/opt/")


@frozen
class LoadedLibrary:
    """A numerical library that the run had loaded; `file` is its name, `path` where the system has it.

    `distribution` is `name==version` of the one that owns it.
    """

    kind: str
    file: str
    path: str | None
    distribution: str | None
    version: str | None
    architecture: str | None
    threading: str | None
    threads: int | None


@frozen
class Fingerprint:
    """What a run's numbers depend on; `observed` tells whether its processes told what they had loaded."""

    hardware: Hardware
    observed: bool
    cpus: int | None
    libraries: tuple[LoadedLibrary, ...]
    torch: tuple[tuple[str, Scalar], ...] | None
    variables: tuple[tuple[str, str], ...]
    locale: str | None
    hash_randomization: bool | None
    optimize: int | None


@frozen
class Private:
    """What must not be told: a user's name, a host's, and directories that are a user's."""

    words: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()

    def tells(self, text: str) -> bool:
        """Tell whether a text names any of it."""
        if any(directory in text for directory in self.directories if directory.strip("/")) or "/home/" in text:
            return True
        return any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) for word in self.words if word)


def choose_variables(environ: Mapping[str, str], private: Private) -> tuple[tuple[str, str], ...]:
    """Return the variables that may be told and matter: named in the list, and neither secret nor private."""
    return tuple(
        (name, environ[name])
        for name in sorted(VARIABLES)
        if name in environ
        and len(environ[name]) <= _MOST_CHARACTERS
        and environ[name].isprintable()
        and not looks_secret(name, environ[name])
        and not private.tells(environ[name])
    )


def _is_public(path: str, private: Private) -> bool:
    return os.path.normpath(path).startswith(_PUBLIC_PLACES) and not private.tells(path)


def _describe_library(library: Library, owners: Mapping[str, str], private: Private) -> LoadedLibrary:
    owner = owners.get(library.path)
    return LoadedLibrary(
        kind=library.kind,
        file=os.path.basename(library.path),
        path=library.path if owner is None and _is_public(library.path, private) else None,
        distribution=owner,
        version=_tell(library.version, private),
        architecture=_tell(library.architecture, private),
        threading=_tell(library.threading, private),
        threads=library.threads,
    )


def _tell(text: str | None, private: Private) -> str | None:
    return None if text is None or private.tells(text) or looks_secret("", text) else text


def _choose_torch(processes: Iterable[Process], private: Private) -> tuple[tuple[str, Scalar], ...] | None:
    found = next((process.torch for process in processes if process.torch is not None), None)
    if found is None:
        return None
    return tuple((name, _tell(value, private) if isinstance(value, str) else value) for name, value in found)


def _gather_libraries(
    processes: Iterable[Process], owners: Mapping[str, str], private: Private
) -> tuple[LoadedLibrary, ...]:
    """Return the libraries of all processes; two that used one differently have it twice."""
    found = {_describe_library(each, owners, private) for process in processes for each in process.libraries}
    return tuple(sorted(found, key=lambda each: json.dumps(asdict(each), sort_keys=True)))


def assemble(
    hardware: Hardware,
    processes: tuple[Process, ...],
    *,
    environ: Mapping[str, str],
    library_owners: Mapping[str, str],
    private: Private,
) -> Fingerprint:
    """Return the fingerprint of a run; `environ` is what it was started with, where no process told what it had.

    Of several processes the first that was started speaks for the run, for torch the first that had imported it.
    """
    first = processes[0] if processes else Process()
    return Fingerprint(
        hardware=hardware,
        observed=bool(processes),
        cpus=first.cpus if first.cpus is not None else hardware.cpus,
        libraries=_gather_libraries(processes, library_owners, private),
        torch=_choose_torch(processes, private),
        variables=choose_variables(dict(first.variables) if processes else environ, private),
        locale=_tell(first.locale, private),
        hash_randomization=first.hash_randomization,
        optimize=first.optimize,
    )


def _describe_cpu(fingerprint: Fingerprint) -> dict[str, object]:
    hardware = fingerprint.hardware
    return {
        "model": hardware.cpu,
        "instructions": list(hardware.instructions),
        "usable": fingerprint.cpus,
        "quota": hardware.cpu_quota,
    }


def describe_fingerprint(fingerprint: Fingerprint) -> dict[str, object]:
    """Return the content of `environment.json`; docs/mlflow.md describes it."""
    hardware = fingerprint.hardware
    return {
        "format": FORMAT_VERSION,
        "observed": fingerprint.observed,
        "system": {
            "name": hardware.system,
            "version": hardware.system_version,
            "architecture": hardware.architecture,
            "libc": hardware.libc,
        },
        "cpu": _describe_cpu(fingerprint),
        "memory": {"total_bytes": hardware.memory_bytes, "limit_bytes": hardware.memory_limit_bytes},
        "gpu": {"driver": hardware.gpu_driver, "devices": [asdict(gpu) for gpu in hardware.gpus]},
        "libraries": [
            {key: value for key, value in asdict(each).items() if value is not None} for each in fingerprint.libraries
        ],
        "torch": dict(fingerprint.torch) if fingerprint.torch is not None else None,
        "python": {"hash_randomization": fingerprint.hash_randomization, "optimize": fingerprint.optimize},
        "variables": dict(fingerprint.variables),
        "locale": fingerprint.locale,
        "timezone": hardware.timezone,
    }


def format_fingerprint(fingerprint: Fingerprint) -> str:
    """Return the text of `environment.json`; equal fingerprints give equal text."""
    return json.dumps(describe_fingerprint(fingerprint), indent=2, sort_keys=True) + "\n"
