"""Pins and their hashes: what is asked of an index, apart from how, which a snapshot that knows all does not import."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from repro.errors import ReproError
from repro.values import frozen

ENGINES = ("uv", "pip", "pip-tools")

Hashes = dict[str, tuple[str, ...]]


@frozen
class Pin:
    """A distribution to ask for, by canonical name and exact version."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


class IndexUnreachableError(ReproError):
    """No index answered."""


class FetchError(ReproError):
    """A file or page cannot be read from where it should be."""


AskHashes = Callable[[Sequence[Pin]], Hashes]
