"""Lend this checkout and its yaml to an environment, as `repro run` does."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, TestEnvironment

LEND_DIR = REPOSITORY / "repro" / "inside" / "lend"


def lend(environment: TestEnvironment) -> dict[str, str]:
    """Return the variables that lend them to an environment's interpreter."""
    import yaml

    return {
        "PYTHONPATH": str(LEND_DIR),
        "REPRO_LEND_PREFIX": str(environment.path),
        "REPRO_LEND_PACKAGES": f"repro={REPOSITORY / 'repro'}:yaml={os.path.dirname(yaml.__file__)}",
    }


def find_pythons() -> list[object]:
    """Return our Python, and those beside it that can run the light half."""
    others = sorted(Path(sys.base_prefix).parent.glob("3.1[0-9].*/bin/python"))
    marked = [
        pytest.param(str(path), marks=pytest.mark.interpreters, id=path.parents[1].name)
        for path in others
        if not path.is_relative_to(sys.base_prefix)
    ]
    return [pytest.param(sys.executable, id="ours"), *marked]
