"""uv: what makes empty environments where it is importable or on PATH."""

from __future__ import annotations

from collections.abc import Mapping

from repro.process import Runner


class UvCreator:
    """Make environments that can be moved, unless they stay; uv's cache holds what it knows of interpreters."""

    def __init__(self, uv: str, *, runner: Runner, cache_dir: str) -> None:
        self._uv = uv
        self._runner = runner
        self._cache_dir = cache_dir

    def create(self, env_dir: str, *, python: str, env: Mapping[str, str], stays: bool = False) -> None:
        """See Creator."""
        args = [
            self._uv,
            "venv",
            "--quiet",
            "--allow-existing" if stays else "--relocatable",
            "--no-project",
            "--no-python-downloads",
            "--offline",
        ]
        args += ["--no-config", "--cache-dir", self._cache_dir, "--python", python, env_dir]
        finished = self._runner.capture(args, env=env)
        if finished.returncode:
            from repro.environments.installers.messages import explain

            raise explain(finished, "making an empty environment with uv")
