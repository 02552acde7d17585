"""Lend this checkout and its yaml to an environment, as `repro run` does."""

from __future__ import annotations

import os

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
