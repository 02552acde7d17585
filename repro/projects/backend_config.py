"""Read the configuration that a caller has for a backend: a file's, or one that is written where it is named.

It may hold secrets, so no run and no sweep keeps it: a sweep keeps its sha256.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from repro.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.formats.backend_config import Config

_MOST_SHOWN = 60
_HINT = """`--backend-config '{"queue": "night"}'`, or the name of a .json file"""


def _is_written_out(value: str) -> bool:
    return not value.endswith(".json") and value.lstrip()[:1] in ("{", "[", '"')


def _parse(text: str, shown: str) -> Config:
    from repro.formats.backend_config import parse_backend_config

    try:
        return parse_backend_config(text)
    except ValueError as error:
        raise UsageError(f"the backend's configuration `{shown}` cannot be read: {error}", hint=_HINT) from error


def _read_file(value: str) -> str:
    try:
        with open(value, encoding="utf-8-sig") as file:
            return file.read()
    except FileNotFoundError:
        raise UsageError(f"there is no file `{value}` with a backend's configuration", hint=_HINT) from None
    except UnicodeDecodeError as error:
        raise UsageError(f"the backend's configuration `{value}` is not text ({error.reason})") from error
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"the backend's configuration `{value}` cannot be read: {said}") from error


def read_backend_config(value: str | os.PathLike[str] | Mapping[str, object] | None) -> Config:
    """Return what a file or a JSON text says, or a mapping as JSON has it; nothing for None. Raises UsageError."""
    if value is None:
        return {}
    if isinstance(value, Mapping):
        from repro.formats.backend_config import format_backend_config

        try:
            return _parse(format_backend_config(value), "backend_config")
        except (TypeError, ValueError, RecursionError) as error:
            raise UsageError(f"`backend_config` is nothing that JSON has: {error}") from error
    name = os.fspath(value)
    if not _is_written_out(name):
        return _parse(_read_file(name), name)
    return _parse(name, name if len(name) <= _MOST_SHOWN else f"{name[:_MOST_SHOWN]}…")


def hash_backend_config(config: Config) -> str | None:
    """Return the sha256 of a configuration, None for an empty one."""
    if not config:
        return None
    from repro.digests import sha256_hex
    from repro.formats.backend_config import format_backend_config

    return sha256_hex(format_backend_config(config).encode())
