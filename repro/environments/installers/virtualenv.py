"""virtualenv: what makes empty environments where uv is absent."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from repro.process import Runner


class VirtualenvCreator:
    """Make environments with our own virtualenv, none of the user's configuration, and no seed packages."""

    def __init__(self, *, runner: Runner, app_data_dir: str) -> None:
        self._runner = runner
        self._app_data_dir = app_data_dir

    def create(self, env_dir: str, *, python: str, env: Mapping[str, str], stays: bool = False) -> None:
        """See Creator."""
        args = [sys.executable, "-m", "virtualenv", "--quiet", "--no-seed", "--no-periodic-update", "--no-vcs-ignore"]
        args += ["--app-data", self._app_data_dir, "--python", python, env_dir]
        finished = self._runner.capture(args, env=env)
        if finished.returncode:
            from repro.environments.installers.messages import explain

            raise explain(finished, "making an empty environment with virtualenv")
