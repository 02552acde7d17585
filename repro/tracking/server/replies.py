"""What the server answers with: JSON, a line of text, a file, or nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from repro.tracking.wire import Fields
from repro.values import frozen


@frozen
class JsonReply:
    """An object."""

    fields: Fields
    status: int = 200


@frozen
class TextReply:
    """A text for people and for those who watch."""

    text: str


@frozen
class FileReply:
    """A file's bytes; a browser is told to keep it, and never to run it."""

    path: Path


@frozen
class EmptyReply:
    """Nothing: it was done."""


Reply: TypeAlias = JsonReply | TextReply | FileReply | EmptyReply
