"""uv: makes empty environments where it is importable or on PATH, and wheels for Pythons that pip has left behind."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from repro import settings
from repro.environments.installers.build_faults import Aid, build_with_aid, write_constraint, write_pins
from repro.process import Finished, Runner


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


class UvBuilder:
    """Build for the interpreter `python` by installing beside it, with a cache of its own: there the wheel lies then.

    uv installs what it builds and hands out no wheel of a commit; its own cache would serve what others have put there.
    """

    def __init__(
        self, uv: str, *, python: str, runner: Runner, env: Mapping[str, str], pins: Mapping[str, str]
    ) -> None:
        self._uv = uv
        self._python = python
        self._runner = runner
        self._env = env
        self._pins = pins

    def _install(self, *args: str, cache_dir: Path, env: Mapping[str, str], requirements: Sequence[str]) -> Finished:
        command = [self._uv, "pip", "install", "--quiet", "--no-config", "--link-mode", "copy", *args]
        command += ["--cache-dir", str(cache_dir), "--python", self._python]
        command += ["--index-strategy", "unsafe-best-match", "-r", "-"]
        return self._runner.capture(command, env=env, stdin="\n".join(requirements) + "\n")

    def _provide(self, aid: Aid, directory: str) -> tuple[str, Finished]:
        """Install what a build needs beside it: uv's builds find what is on the path, and build in isolation."""
        place = f"{directory}/needs-{len(aid.needs)}"
        options = ("--target", place, "-c", write_pins(self._pins, directory))
        cache_dir = Path(f"{directory}/needs-cache")
        return place, self._install(*options, cache_dir=cache_dir, env=self._env, requirements=aid.needs)

    def _run(self, requirements: Sequence[str], *, hashed: bool, directory: str, aid: Aid) -> Finished:
        scratch, env = Path(directory, "uv"), self._env
        if aid.needs:
            place, provided = self._provide(aid, directory)
            if provided.returncode:
                return provided
            env = settings.name_build_path(env, place)
        constraint = write_constraint(aid, directory)
        options = ["--no-deps", "--target", str(scratch / "target"), *(["--require-hashes"] if hashed else [])]
        options += ["--build-constraints", constraint] if constraint else []
        return self._install(*options, cache_dir=scratch / "cache", env=env, requirements=requirements)

    def build(self, requirements: Sequence[str], *, hashed: bool, directory: str) -> None:
        """See fetch.Builder."""
        scratch = Path(directory, "uv")
        finished = build_with_aid(
            lambda aid: self._run(requirements, hashed=hashed, directory=directory, aid=aid), self._pins
        )
        if finished.returncode:
            from repro.environments.installers.messages import explain, name_build

            raise explain(finished, name_build(requirements, "uv"))
        wanted = {path.name for path in (scratch / "target").glob("*.dist-info")}
        for wheel in sorted((scratch / "cache").rglob("*.whl")):
            if wheel.is_file() and "-".join(wheel.name.split("-")[:2]) + ".dist-info" in wanted:
                shutil.copyfile(wheel, Path(directory, wheel.name))
        shutil.rmtree(scratch)
