"""pip: what builds wheels of sdists and commits, and fetches where only an installer is let in."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from repro.process import Runner


class PipBuilder:
    """Build with `pip wheel` for the interpreter `python`, one requirement at a time."""

    def __init__(self, *, python: str, runner: Runner, env: Mapping[str, str]) -> None:
        self._python = python
        self._runner = runner
        self._env = env

    def build(self, requirements: Sequence[str], *, hashed: bool, directory: str) -> None:
        """See fetch.Builder."""
        args = [sys.executable, "-m", "pip", "--python", self._python, "wheel", "--quiet", "--no-deps"]
        args += ["--wheel-dir", directory, "-r", "/dev/stdin", *(["--require-hashes"] if hashed else [])]
        finished = self._runner.capture(args, env=self._env, stdin="\n".join(requirements) + "\n")
        if finished.returncode:
            from repro.environments.installers.messages import explain

            raise explain(finished, "building a wheel with pip")
