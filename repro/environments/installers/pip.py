"""pip: what builds wheels of sdists and commits, and fetches where only an installer is let in."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from repro import settings
from repro.environments.installers.build_faults import Aid, build_with_aid, write_constraint, write_pins
from repro.process import Finished, Runner

_TOO_OLD = "does not support python"  # what pip says of an interpreter that it does not run in any more


class PipBuilder:
    """Build with `pip wheel` for the interpreter `python`, one requirement at a time; `pins` are locked beside it."""

    def __init__(self, *, python: str, runner: Runner, env: Mapping[str, str], pins: Mapping[str, str]) -> None:
        self._python = python
        self._runner = runner
        self._env = env
        self._pins = pins

    def _provide(self, pip: list[str], aid: Aid, directory: str) -> tuple[str, Finished]:
        """Install what a build needs beside it, and what builds: pip builds in isolation from both or from none."""
        place = f"{directory}/needs-{len(aid.needs)}"
        args = [*pip, "install", "--quiet", "--target", place, "-c", write_pins(self._pins, directory)]
        finished = self._runner.capture([*args, aid.setuptools or "setuptools", "wheel", *aid.needs], env=self._env)
        return place, finished

    def _run(self, pip: list[str], requirements: Sequence[str], *, hashed: bool, directory: str, aid: Aid) -> Finished:
        args = [*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", directory, "-r", "/dev/stdin"]
        args += ["--use-pep517", *(["--require-hashes"] if hashed else [])]  # an old pip else wants `wheel` beside it
        constraint = write_constraint(aid, directory)
        env = settings.name_build_constraint(self._env, constraint) if constraint else self._env
        if aid.needs:
            place, provided = self._provide(pip, aid, directory)
            if provided.returncode:
                return provided
            env = settings.name_build_path(env, place)
            args += ["--no-build-isolation"]
        return self._runner.capture(args, env=env, stdin="\n".join(requirements) + "\n")

    def _find_old_pip(self) -> list[str] | None:
        """Return the command of the pip that an old interpreter brings."""
        from repro.snapshots.old_pip import find_old_pip

        caches_dir = os.path.dirname(self._env["PIP_CACHE_DIR"])
        old = find_old_pip(self._python, runner=self._runner, env=self._env, caches_dir=caches_dir)
        return [self._python, "-s", f"{old.pip}/pip", "--disable-pip-version-check"] if old else None

    def _try(self, requirements: Sequence[str], *, hashed: bool, directory: str, aid: Aid) -> Finished:
        ours = [sys.executable, "-m", "pip", "--python", self._python]
        finished = self._run(ours, requirements, hashed=hashed, directory=directory, aid=aid)
        if finished.returncode and _TOO_OLD in finished.stderr and (old := self._find_old_pip()):
            return self._run(old, requirements, hashed=hashed, directory=directory, aid=aid)
        return finished

    def build(self, requirements: Sequence[str], *, hashed: bool, directory: str) -> None:
        """See fetch.Builder."""
        finished = build_with_aid(
            lambda aid: self._try(requirements, hashed=hashed, directory=directory, aid=aid), self._pins
        )
        if finished.returncode:
            from repro.environments.installers.messages import explain, name_build

            raise explain(finished, name_build(requirements, "pip"))
