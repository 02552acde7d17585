"""Read TOML: the only user of tomllib (tomli on Python 3.10)."""

from __future__ import annotations

import sys

from repro.errors import ReproError


def parse_toml(text: str, *, where: str) -> dict[str, object]:
    """Return the table a TOML text holds. Raises ReproError with `where`, line and column."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return dict(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ReproError(f"`{where}` is not valid TOML: {error}") from error
