"""uv: the fast installer, used where it is importable or on PATH."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from repro.environments.installers import Links
from repro.environments.installers.messages import explain
from repro.formats.lockfile import Distribution, format_requirement
from repro.process import Runner


class UvInstaller:
    """Install with `uv pip install`, from the store's own uv cache, into an environment that can be moved."""

    def __init__(self, uv: str, *, runner: Runner, cache_dir: str, offline: bool) -> None:
        self._uv = uv
        self._runner = runner
        self._options = ["--no-config", "--cache-dir", cache_dir, *(["--offline"] if offline else [])]

    def _run(self, args: Sequence[str], *, env: Mapping[str, str] | None, stdin: str = "", deed: str) -> None:
        finished = self._runner.capture([self._uv, *args, *self._options], env=env, stdin=stdin)
        if finished.returncode:
            raise explain(finished, deed)

    def create(self, env_dir: str, *, python: str, env: Mapping[str, str]) -> None:
        """See Installer."""
        args = [
            "venv",
            "--quiet",
            "--relocatable",
            "--no-project",
            "--no-python-downloads",
            "--python",
            python,
            env_dir,
        ]
        self._run(args, env=env, deed="making an empty environment with uv")

    def install(
        self, env_dir: str, distributions: Sequence[Distribution], *, links: Links, env: Mapping[str, str]
    ) -> None:
        """See Installer."""
        hashed = any(each.hashes for each in distributions)
        args = ["pip", "install", "--quiet", "--no-deps", "--python", f"{env_dir}/bin/python", "-r", "-"]
        args += ["--index-strategy", "unsafe-best-match", *(["--require-hashes"] if hashed else [])]
        args += ["--find-links", str(links.directory)] if links.hashes else []
        args += ["--no-index"] if all(map(links.has, distributions)) else []
        text = "\n".join(map(format_requirement, distributions)) + "\n"
        self._run(args, env=env, stdin=text, deed="installing with uv")

    def install_urls(self, env_dir: str, requirements: Sequence[str], *, env: Mapping[str, str]) -> None:
        """See Installer."""
        args = ["pip", "install", "--quiet", "--no-deps", "--python", f"{env_dir}/bin/python", "-r", "-"]
        self._run(args, env=env, stdin="\n".join(requirements) + "\n", deed="building from version control with uv")
