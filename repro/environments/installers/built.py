"""Remember which wheel was built of a lock's sdist, so that it is built, and its sdist fetched, only once.

<root>/<digest>     the sha256 of the kept wheel, for a distribution, its hashes, and a Python
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from repro.files import make_directory, sha256_file, write_atomically
from repro.formats.lockfile import Distribution, Interpreter, canonicalize_name
from repro.snapshots.wheelhouse import Wheelhouse


class BuiltWheels:
    """The memory below `root` for one interpreter; the wheels themselves are in the wheelhouse."""

    def __init__(self, root: str, *, interpreter: Interpreter, wheelhouse: Wheelhouse) -> None:
        self._root = root
        self._python = (*interpreter.compatibility, interpreter.platform)
        self._wheelhouse = wheelhouse

    def _name(self, distribution: Distribution) -> str:
        facts = [distribution.name, distribution.version, sorted(distribution.hashes), *self._python]
        return os.path.join(self._root, hashlib.sha256(json.dumps(facts).encode()).hexdigest())

    def link(self, distribution: Distribution, directory: Path) -> bool:
        """Put the wheel that was built of a distribution's files before into `directory`; tell whether there is one."""
        try:
            with open(self._name(distribution), encoding="ascii") as file:
                sha256 = file.read()
        except (OSError, UnicodeDecodeError):
            return False
        return bool(distribution.hashes and self._wheelhouse.link([sha256], directory))

    def keep(self, distributions: Mapping[str, Distribution], fetched: Path) -> None:
        """Remember of each wheel in `fetched` that is none of its distribution's own files what it was built of."""
        for wheel in fetched.glob("*.whl"):
            distribution = distributions.get(canonicalize_name(wheel.name.partition("-")[0]))
            sha256 = sha256_file(wheel)
            if distribution is None or not distribution.hashes or f"sha256:{sha256}" in distribution.hashes:
                continue
            with contextlib.suppress(OSError):
                make_directory(self._root)
                write_atomically(self._name(distribution), sha256, durable=False)
