"""Tags of wheels, as their file names have them (PEP 425)."""

from __future__ import annotations


def expand_tags(compressed: str) -> frozenset[str]:
    """Return the tags in a compressed set, e.g. `py2.py3-none-any`."""
    python, abi, platform = (part.split(".") for part in compressed.split("-"))
    return frozenset(f"{each}-{a}-{p}" for each in python for a in abi for p in platform)
