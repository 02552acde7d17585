"""What the server answers with: JSON, a line of text, a file, or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from repro.tracking.wire import Fields


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonReply:
    """An object."""

    fields: Fields
    status: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class TextReply:
    """A text for people and for those who watch."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReply:
    """A file's bytes; a browser is told to keep it, and never to run it."""

    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class EmptyReply:
    """Nothing: it was done."""


Reply: TypeAlias = JsonReply | TextReply | FileReply | EmptyReply
