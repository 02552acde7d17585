"""Ask an index for the sha256 hashes of pinned versions, through uv, pip or pip-tools.

Each asks in a subprocess and never resolves: the pins are what is installed. One pin that an index does not have makes
every tool fail as a whole, so the named ones are asked for apart.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Protocol

from repro.errors import ReproError
from repro.formats.lockfile import canonicalize_name
from repro.formats.redaction import redact
from repro.process import Finished, Runner
from repro.settings import make_installer_environment, name_caches
from repro.snapshots.indexes import Indexes
from repro.snapshots.pins import Hashes, IndexUnreachableError, Pin
from repro.snapshots.uv import find_uv
from repro.values import frozen

_UNREACHABLE = re.compile(
    r"error sending request|Failed to fetch|dns error|NewConnectionError|ConnectTimeout|ConnectionError|Max retries"
    r"|Network is unreachable|Temporary failure in name resolution|Connection (refused|reset)|network was disabled",
    re.IGNORECASE,
)

_MISSING = re.compile(
    r"No solution found|No matching distribution|Could not find a version|not found in the|ResolutionImpossible"
)


class HashSource(Protocol):
    """A tool that can say the hashes of pins: the finished process and, where it went well, name -> hashes."""

    def ask(self, pins: Sequence[Pin]) -> tuple[Finished, Hashes]:
        """Ask for all `pins` at once."""


def _parse_hashed_requirements(text: str) -> Hashes:
    """Return name -> hashes of the requirements a tool has printed."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        word = line.strip().rstrip("\\").strip()
        if word.startswith("--hash="):
            found[name].append(word.removeprefix("--hash="))
        elif word and not word.startswith(("#", "-")):
            name = canonicalize_name(re.split(r"[=@\[ ]", word, maxsplit=1)[0])
            found[name] = []
    return {name: tuple(hashes) for name, hashes in found.items() if hashes}


@frozen
class UvHashes:
    """`uv pip compile --generate-hashes --no-deps`: every file of a version, from the index's own listing."""

    uv: str
    python: str
    runner: Runner
    env: Mapping[str, str]

    def ask(self, pins: Sequence[Pin]) -> tuple[Finished, Hashes]:
        """See HashSource."""
        args = [self.uv, "pip", "compile", "-", "--quiet", "--no-deps", "--generate-hashes", "--no-header"]
        args += ["--no-annotate", "--no-config", "--python", self.python, "--index-strategy", "unsafe-best-match"]
        finished = self.runner.capture(args, env=self.env, stdin="\n".join(map(str, pins)))
        return finished, _parse_hashed_requirements(finished.stdout)


@frozen
class PipHashes:
    """pip's installation report: the one file it would install for this interpreter."""

    python: str
    runner: Runner
    env: Mapping[str, str]

    def ask(self, pins: Sequence[Pin]) -> tuple[Finished, Hashes]:
        """See HashSource."""
        args = [sys.executable, "-m", "pip", "--python", self.python, "install", "--dry-run", "--ignore-installed"]
        args += ["--no-deps", "--quiet", "--report", "-", "-r", "/dev/stdin"]
        finished = self.runner.capture(args, env=self.env, stdin="\n".join(map(str, pins)))
        return finished, _parse_report(finished.stdout) if finished.returncode == 0 else {}


def _parse_report(text: str) -> Hashes:
    found: Hashes = {}
    for item in json.loads(text)["install"]:
        sha256 = item["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256")
        if sha256:
            found[canonicalize_name(item["metadata"]["name"])] = (f"sha256:{sha256}",)
    return found


@frozen
class PipToolsHashes:
    """`pip-compile --generate-hashes`: every file of a version, most of them downloaded to be hashed (minutes)."""

    runner: Runner
    env: Mapping[str, str]
    cache_dir: str | None

    def ask(self, pins: Sequence[Pin]) -> tuple[Finished, Hashes]:
        """See HashSource."""
        with tempfile.TemporaryDirectory(prefix="repro-hashes-") as directory:
            return self._ask(pins, self.cache_dir or directory)

    def _ask(self, pins: Sequence[Pin], cache_dir: str) -> tuple[Finished, Hashes]:
        args = [sys.executable, "-m", "piptools", "compile", "-", "--output-file", "-", "--quiet", "--generate-hashes"]
        args += [
            "--allow-unsafe",
            "--strip-extras",
            "--no-header",
            "--no-annotate",
            "--no-emit-index-url",
            "--no-config",
        ]
        args += [
            "--no-emit-find-links",
            "--no-emit-trusted-host",
            "--pip-args=--no-deps",
            "--cache-dir",
            cache_dir,
        ]
        finished = self.runner.capture(args, env=self.env, stdin="\n".join(map(str, pins)))
        return finished, _parse_hashed_requirements(finished.stdout)


def _suspects(pins: Sequence[Pin], message: str) -> list[Pin]:
    """Return the pins a failed tool named, else the first half."""
    words = {canonicalize_name(word) for word in re.findall(r"[A-Za-z0-9][A-Za-z0-9._-]*", message)}
    named = [pin for pin in pins if pin.name in words]
    return named if 0 < len(named) < len(pins) else list(pins[: len(pins) // 2])


def ask_each(source: HashSource, pins: Sequence[Pin]) -> Hashes:
    """Return the hashes of those pins the source knows.

    Raises IndexUnreachableError where no index answers.
    """
    if not pins:
        return {}
    finished, hashes = source.ask(pins)
    if finished.returncode == 0:
        return {pin.name: hashes[pin.name] for pin in pins if pin.name in hashes}
    if _UNREACHABLE.search(finished.stderr):
        raise IndexUnreachableError("no package index can be reached, so there are no hashes")
    if not _MISSING.search(finished.stderr):
        lines = tuple(redact(finished.stderr).strip().splitlines()[-5:])
        raise ReproError("the tool that was asked for hashes failed", hint="try another `--engine`", details=lines)
    if len(pins) == 1:
        return {}
    suspects = _suspects(pins, finished.stderr)
    rest = [pin for pin in pins if pin not in suspects]
    return ask_each(source, rest) | ask_each(source, suspects)


def make_sources(
    engine: str | None,
    *,
    python: str,
    runner: Runner,
    environ: Mapping[str, str],
    indexes: Indexes,
    caches_dir: str | None,
) -> list[HashSource]:
    """Return the sources to ask in turn: the engine named, else uv, then pip.

    Their caches lie below `caches_dir`; where that is None, they have none.
    """
    env = make_installer_environment(environ)
    indexes.write_to(env)
    name_caches(env, caches_dir)
    uv = find_uv() if engine in (None, "uv") else None
    if engine == "uv" and uv is None:
        raise ReproError("uv is not installed", hint="pip install 'repro[uv]'")
    if engine == "pip-tools":
        cache_dir = os.path.join(caches_dir, "pip-tools") if caches_dir else None
        return [PipToolsHashes(runner=runner, env=env, cache_dir=cache_dir)]
    sources: list[HashSource] = []
    if uv:
        sources.append(UvHashes(uv=uv, python=python, runner=runner, env=env))
    if engine != "uv":
        sources.append(PipHashes(python=python, runner=runner, env=env))
    return sources


def find_hashes(sources: Sequence[HashSource], pins: Sequence[Pin]) -> Hashes:
    """Return the hashes of those pins that any of the sources knows; every one of them is checked to have some.

    Raises IndexUnreachableError where no index answers.
    """
    found: Hashes = {}
    for source in sources:
        found |= ask_each(source, [pin for pin in pins if pin.name not in found])
    return found
