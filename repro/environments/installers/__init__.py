"""Installers: what makes an empty environment and puts distributions into it. One file for each.

An installer never chooses a version: it sees exact pins, no dependencies, the hashes, and nobody's configuration but
how an index is reached.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from repro.formats.lockfile import Distribution


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """A directory with those wheels of a lock that the store has, and their hashes (`sha256:...`)."""

    directory: Path
    hashes: frozenset[str]

    def has(self, distribution: Distribution) -> bool:
        """Tell whether a file of the distribution is here."""
        return not self.hashes.isdisjoint(distribution.hashes)


class Installer(Protocol):
    """Three deeds; each raises RestoreError."""

    def create(self, env_dir: str, *, python: str, env: Mapping[str, str]) -> None:
        """Make an environment without any distribution for the base interpreter `python`."""

    def install(
        self, env_dir: str, distributions: Sequence[Distribution], *, links: Links, env: Mapping[str, str]
    ) -> None:
        """Install exactly these files, from `links` or an index; where they have hashes, no other file is accepted."""

    def install_urls(self, env_dir: str, requirements: Sequence[str], *, env: Mapping[str, str]) -> None:
        """Build and install requirements that name a commit (`name @ git+https://...@<commit>`)."""
