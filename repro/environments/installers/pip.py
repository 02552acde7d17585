"""virtualenv and pip: what serves where uv is absent. Slower, and needs the network only to fetch."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from repro.environments.installers import Links
from repro.environments.installers.built import BuiltWheels
from repro.environments.installers.messages import explain
from repro.errors import RestoreError
from repro.formats.lockfile import Distribution, format_requirement
from repro.process import Runner
from repro.snapshots.wheelhouse import Wheelhouse


class PipInstaller:
    """Fetch with `pip wheel` into the store's `wheels/`, install from there with no index at all."""

    def __init__(
        self,
        *,
        runner: Runner,
        wheelhouse: Wheelhouse,
        built: BuiltWheels,
        app_data_dir: str,
        tmp_dir: str,
        offline: bool,
    ) -> None:
        self._runner = runner
        self._wheelhouse = wheelhouse
        self._built = built
        self._app_data_dir = app_data_dir
        self._tmp_dir = tmp_dir
        self._offline = offline

    def _run(self, args: Sequence[str], *, env: Mapping[str, str], stdin: str = "", deed: str) -> None:
        finished = self._runner.capture([sys.executable, "-m", *args], env=env, stdin=stdin)
        if finished.returncode:
            raise explain(finished, deed)

    def create(self, env_dir: str, *, python: str, env: Mapping[str, str]) -> None:
        """See Installer."""
        args = ["virtualenv", "--quiet", "--no-seed", "--no-periodic-update", "--no-vcs-ignore"]
        args += ["--app-data", self._app_data_dir, "--python", python, env_dir]
        self._run(args, env=env, deed="making an empty environment with virtualenv")

    def _fetch(
        self, python: str, distributions: Sequence[Distribution], directory: str, env: Mapping[str, str]
    ) -> None:
        hashed = any(each.hashes for each in distributions)
        args = [
            "pip",
            "--python",
            python,
            "wheel",
            "--quiet",
            "--no-deps",
            "--wheel-dir",
            directory,
            "-r",
            "/dev/stdin",
        ]
        args += ["--require-hashes"] if hashed else []
        text = "\n".join(map(format_requirement, distributions)) + "\n"
        self._run(args, env=env, stdin=text, deed="fetching with pip")
        for name in os.listdir(directory):
            self._wheelhouse.keep(Path(directory, name))
        self._built.keep({each.name: each for each in distributions}, Path(directory))

    def install(
        self, env_dir: str, distributions: Sequence[Distribution], *, links: Links, env: Mapping[str, str]
    ) -> None:
        """See Installer."""
        python = f"{env_dir}/bin/python"
        absent = [each for each in distributions if not links.has(each)]
        missing = [each for each in absent if not self._built.link(each, links.directory)]
        if missing and self._offline:
            raise RestoreError(
                "offline, and the cache does not have every file of the lock",
                hint="restore once without `--offline`",
                details=tuple(f"{each.name}=={each.version}" for each in missing),
            )
        if missing:
            with tempfile.TemporaryDirectory(dir=self._tmp_dir) as fetched:
                self._fetch(python, missing, fetched, env)
                for name in os.listdir(fetched):
                    os.link(os.path.join(fetched, name), links.directory / name)
        args = ["pip", "--python", python, "install", "--quiet", "--no-deps", "--no-compile", "--no-index"]
        args += ["--find-links", str(links.directory), "-r", "/dev/stdin"]
        pins = "".join(f"{each.name}=={each.version}\n" for each in distributions)
        offline_env = {**env, "PIP_CONFIG_FILE": os.devnull}
        self._run(args, env=offline_env, stdin=pins, deed="installing with pip")

    def install_urls(self, env_dir: str, requirements: Sequence[str], *, env: Mapping[str, str]) -> None:
        """See Installer."""
        args = ["pip", "--python", f"{env_dir}/bin/python", "install", "--quiet", "--no-deps", "--no-compile"]
        args += ["-r", "/dev/stdin"]
        self._run(args, env=env, stdin="\n".join(requirements) + "\n", deed="building from version control with pip")
