"""Ask this machine's R for its version and the packages that are installed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from repro import settings
from repro.errors import ReproError
from repro.formats.r_dependencies import RDependencies, parse_r_dependencies
from repro.process import Runner

_SCRIPT = str(Path(__file__).resolve().parents[1] / "inside" / "r" / "installed.R")


def find_installed_r(runner: Runner, environ: Mapping[str, str]) -> RDependencies | None:
    """Return what the `Rscript` on PATH has, None where there is none. Raises ReproError where it fails."""
    rscript = settings.find_program("Rscript", environ)
    if rscript is None:
        return None
    with tempfile.TemporaryDirectory(prefix="repro-r-") as directory:
        path = os.path.join(directory, "installed")
        done = runner.capture([rscript, "--no-init-file", _SCRIPT, path], env=environ)
        if done.returncode:
            said = done.stderr.strip().splitlines()
            raise ReproError(f"`{rscript}` cannot list its packages", details=tuple(said[-3:]))
        with open(path, encoding="utf-8", errors="replace") as file:
            return parse_r_dependencies(file.read(), where=rscript)
