"""What serving needs beside repro itself: the extra `serve`."""

from __future__ import annotations

from importlib.util import find_spec

from repro.errors import ReproError

_MODULES = ("uvicorn", "uvloop", "httptools", "msgspec")


def require_extra() -> None:
    """Raise ReproError where what serving needs is not installed."""
    missing = [f"`{name}`" for name in _MODULES if find_spec(name) is None]
    if missing:
        raise ReproError(
            f"serving needs what is not installed here ({', '.join(missing)})", hint="pip install 'repro[serve]'"
        )
