"""Make the variables that a run's processes get."""

from __future__ import annotations

import importlib.util
import os
from functools import cache
from pathlib import Path

from repro import settings
from repro.formats.run_meta import RunInfo
from repro.projects.asked import Asked
from repro.projects.endpoint import Tracking
from repro.projects.prepared import Prepared
from repro.projects.r_record import R_PROFILE
from repro.projects.request import RunRequest

_PACKAGE_DIR = Path(__file__).resolve().parents[1]
_LEND_DIR = str(_PACKAGE_DIR / "inside" / "lend")


@cache
def _list_lent() -> dict[str, str]:
    """Return the packages that a run's processes can import wherever they run, with their directories."""
    yaml = importlib.util.find_spec("yaml")
    lent = {"repro": str(_PACKAGE_DIR)}
    return {**lent, "yaml": os.path.dirname(yaml.origin)} if yaml and yaml.origin else lent


def make_child_environment(
    request: RunRequest,
    asked: Asked,
    prepared: Prepared,
    info: RunInfo,
    tracking: Tracking,
    *,
    observe_dir: str | None,
) -> dict[str, str]:
    """Return the child's environment: its calls land in the run, and it can import repro."""
    environ = settings.name_run_options(
        dict(tracking.environ), storage_dir=request.storage_dir, lenient_types=request.lenient_types
    )
    if asked.environment.manager:
        environ = settings.name_env_manager(environ, asked.environment.manager.value, as_of=asked.environment.as_of)
    if prepared.environment:
        bin_dir = os.path.dirname(prepared.python)
        environ = settings.make_sealed_environment(environ, bin_dir=bin_dir, prefix=prepared.prefix)
    environ = settings.make_run_environment(
        environ,
        python=prepared.python,
        run_id=info.run_id,
        experiment_id=info.experiment_id,
        tracking_uri=tracking.uri,
    )
    settings.set_record(environ, snapshot=prepared.held is not None, observe_dir=observe_dir)
    settings.lend_packages(environ, prefix=prepared.prefix, lend_dir=_LEND_DIR, packages=_list_lent())
    settings.lend_r(environ, R_PROFILE)
    return environ
