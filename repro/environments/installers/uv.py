"""uv: makes empty environments where it is importable or on PATH, and wheels for Pythons that pip has left behind."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from repro.environments.installers.build_faults import build_with_its_setuptools
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

    def __init__(self, uv: str, *, python: str, runner: Runner, env: Mapping[str, str]) -> None:
        self._uv = uv
        self._python = python
        self._runner = runner
        self._env = env

    def _run(self, requirements: Sequence[str], *, hashed: bool, scratch: Path, constraints: str | None) -> Finished:
        args = [self._uv, "pip", "install", "--quiet", "--no-config", "--no-deps", "--link-mode", "copy"]
        args += ["--cache-dir", str(scratch / "cache"), "--target", str(scratch / "target"), "--python", self._python]
        args += ["--index-strategy", "unsafe-best-match", *(["--require-hashes"] if hashed else [])]
        args += ["--build-constraints", constraints] if constraints else []
        args += ["-r", "-"]
        return self._runner.capture(args, env=self._env, stdin="\n".join(requirements) + "\n")

    def build(self, requirements: Sequence[str], *, hashed: bool, directory: str) -> None:
        """See fetch.Builder."""
        scratch = Path(directory, "uv")
        finished = build_with_its_setuptools(
            lambda constraints: self._run(requirements, hashed=hashed, scratch=scratch, constraints=constraints),
            directory,
        )
        if finished.returncode:
            from repro.environments.installers.messages import explain, name_build

            raise explain(finished, name_build(requirements, "uv"))
        wanted = {path.name for path in (scratch / "target").glob("*.dist-info")}
        for wheel in sorted((scratch / "cache").rglob("*.whl")):
            if wheel.is_file() and "-".join(wheel.name.split("-")[:2]) + ".dist-info" in wanted:
                shutil.copyfile(wheel, Path(directory, wheel.name))
        shutil.rmtree(scratch)
