"""What other tools do for a restore: make an empty environment (uv, else virtualenv) and build wheels (pip).

They never choose a version: they see exact pins, no dependencies, the hashes, and nobody's configuration but how an
index is reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Creator(Protocol):
    """A tool that makes environments."""

    def create(self, env_dir: str, *, python: str, env: Mapping[str, str], stays: bool = False) -> None:
        """Make an environment without any distribution for the base interpreter `python`.

        One that `stays` where it is has scripts for every shell, which name that place; its directory may be there
        already. Raises RestoreError.
        """
