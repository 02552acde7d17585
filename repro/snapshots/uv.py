"""uv: where its binary is."""

from __future__ import annotations


def find_uv() -> str | None:
    """Return the uv binary: the importable package's, else the one on PATH."""
    try:
        import uv
    except ImportError:
        import shutil

        return shutil.which("uv")
    try:
        return str(uv.find_uv_bin())
    except FileNotFoundError:
        return None
