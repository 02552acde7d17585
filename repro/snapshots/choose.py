"""Choose versions for loose requirements, through uv or pip-tools: the only place that does.

Each runs in a subprocess and sees indexes through variables alone, so that no credential stands on a command line or
in what it prints. Hashes come from the index client, so both give the same lock.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from repro.errors import ReproError
from repro.formats.compiled import Compiled, parse_compiled
from repro.formats.direct_url import Source, parse_direct_url
from repro.formats.lockfile import canonicalize_name
from repro.formats.moment import format_moment
from repro.formats.redaction import redact
from repro.formats.wanted import Required
from repro.process import Finished, Runner
from repro.settings import name_build_path
from repro.snapshots.pins import IndexUnreachableError
from repro.snapshots.setup_needs import ask_with_needs, find_missing_module
from repro.snapshots.uv import find_uv
from repro.values import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

ENGINES = ("uv", "pip-tools")
_OLDEST_FOR_PIP_TOOLS = (3, 10)
_SHOWN_LINES = 12
# Runs our pip-tools in the interpreter that is locked for: it resolves for the Python that runs it.
_START_PIP_TOOLS = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); sys.argv[0] = 'pip-compile'; "
    "from piptools.scripts.compile import cli; cli()"
)
_UNREACHABLE = re.compile(
    r"error sending request|Failed to fetch|dns error|NewConnectionError|ConnectTimeout|ConnectionError|Max retries"
    r"|Network is unreachable|Temporary failure in name resolution|Connection (refused|reset)|network was disabled",
    re.IGNORECASE,
)

_NONE_FIT = re.compile(r"No matching distribution|ResolutionImpossible|No solution found|NoCandidateFound")

_BAD_METADATA = re.compile(r"has invalid metadata|could not be parsed", re.IGNORECASE)
_NOT_BUILT = re.compile(
    r"Failed to (?:download and )?build `?([\w.=-]+)`?|Discarding \S*/([\w.-]+?)\.(?:tar\.gz|zip)\S* .*egg_info"
)


class BadMetadataError(ReproError):
    """A distribution that is needed says what it requires in a way that tools of today refuse to read."""


class NotBuiltError(ReproError):
    """A distribution that a tool looked at while it chose says what it requires only when built, and cannot be."""


@frozen
class Question:
    """What a resolver is asked: requirements within constraints, as of `before`, and which files.

    `no_binary` and `only_binary` are names or `:all:`.
    """

    required: tuple[Required, ...]
    constraints: tuple[Required, ...] = ()
    no_binary: tuple[str, ...] = ()
    only_binary: tuple[str, ...] = ()
    prereleases: bool = False
    before: datetime | None = None

    @property
    def asked(self) -> dict[str, str]:
        """What is asked for by canonical name, without what comes from a URL."""
        return {each.name: each.text for each in self.required if " @ " not in each.text}

    def format_requirements(self) -> str:
        """Return the requirements file that both resolvers read."""
        options = [f"--no-binary {each}" for each in self.no_binary]
        options += [f"--only-binary {each}" for each in self.only_binary]
        return "".join(f"{line}\n" for line in (*options, *(each.text for each in self.required)))

    def format_constraints(self) -> str:
        """Return the constraints file."""
        return "".join(f"{each.text}\n" for each in self.constraints)


class Resolver(Protocol):
    """A tool that chooses versions. Raises ReproError where no versions fit, IndexUnreachableError."""

    name: str

    def resolve(self, question: Question) -> tuple[Compiled, ...]:
        """Return a pin for each distribution that is needed."""


@contextmanager
def write_question(question: Question) -> Iterator[tuple[str, list[str]]]:
    """Give a private directory with the question's files, and the arguments that name them."""
    with tempfile.TemporaryDirectory(prefix="repro-") as directory:
        Path(directory, "requirements.in").write_text(question.format_requirements(), encoding="utf-8")
        Path(directory, "constraints.txt").write_text(question.format_constraints(), encoding="utf-8")
        yield directory, ["requirements.in", "--constraint", "constraints.txt"]


def explain_failure(finished: Finished, tool: str) -> ReproError:
    said = redact(finished.stderr.strip() or finished.stdout.strip())
    lines = tuple(line.rstrip() for line in said.splitlines() if line.strip())
    if _UNREACHABLE.search(said):
        return IndexUnreachableError(
            "no package index can be reached, so no versions can be chosen",
            hint="check the network",
            details=lines[-3:],
        )
    if _BAD_METADATA.search(said):
        return BadMetadataError(
            "no versions fit these requirements that can be read: the metadata of old ones is malformed",
            hint="ask for newer versions, or lock on a Python that comes with pip older than 24.1",
            details=_shorten(lines),
        )
    if found := _NOT_BUILT.search(said):
        module = find_missing_module(said)
        why = f": its setup.py wants `{module}` already" if module else ""
        return NotBuiltError(
            f"no versions fit: `{found[1] or found[2]}` must be built to know what it requires, and that fails{why}",
            hint="ask for newer versions, or for an older Python",
            details=_shorten(lines),
        )
    if "Traceback" in said and not _NONE_FIT.search(said):
        return ReproError(f"`{tool}` failed", hint="try the other `--engine`", details=lines[-1:])
    return ReproError(
        "no versions fit these requirements", hint="loosen what excludes each other", details=_shorten(lines)
    )


def _shorten(lines: tuple[str, ...]) -> tuple[str, ...]:
    """Return the lines that say why nothing fits: the last ones, without pip-tools' traceback."""
    start = next((at for at, line in enumerate(lines) if line.startswith("Traceback")), None)
    if start is None:
        return lines[-_SHOWN_LINES:]
    named = [line for line in lines[:start] if line.startswith("ERROR: ")]
    return tuple(named[-_SHOWN_LINES:]) or (lines[-1].partition(": ")[2] or lines[-1],)


def _read(finished: Finished, tool: str) -> tuple[Compiled, ...]:
    if finished.returncode:
        raise explain_failure(finished, tool)
    return parse_compiled(finished.stdout)


@frozen
class UvResolver:
    """`uv pip compile` for the interpreter `python`."""

    name = "uv"
    uv: str
    python: str
    runner: Runner
    env: Mapping[str, str]

    def _ask(self, deed: str, *args: str, question: Question, env: Mapping[str, str], directory: str) -> Finished:
        command = [self.uv, "pip", deed, *args, "--quiet", "--no-config", "--python", self.python]
        command += ["--no-python-downloads", "--index-strategy", "unsafe-best-match"]
        command += ["--prerelease", "allow"] if question.prereleases else []
        command += ["--exclude-newer", format_moment(question.before)] if question.before else []
        return self.runner.capture(command, env=env, cwd=directory)

    def _provide(self, needs: tuple[str, ...], question: Question, directory: str) -> dict[str, str] | None:
        """Install what a build needs that it does not declare, and return an environment in which it finds it."""
        place = os.path.join(directory, f"needs-{len(needs)}")
        args = ("--target", place, "--constraint", "constraints.txt", *needs)
        finished = self._ask("install", *args, question=question, env=self.env, directory=directory)
        return None if finished.returncode else name_build_path(self.env, place)

    def resolve(self, question: Question) -> tuple[Compiled, ...]:
        """See Resolver.

        What must be built to know what it requires, and imports something for that, is tried again with that.
        """
        with write_question(question) as (directory, files):
            args = (*files, "--no-header", "--annotation-style", "split")
            finished = ask_with_needs(
                lambda env, _: self._ask("compile", *args, question=question, env=env, directory=directory),
                lambda needs: self._provide(needs, question, directory),
                env=self.env,
                known=question.asked,
            )
            return _read(finished, self.name)


@frozen
class PipToolsResolver:
    """`pip-compile`, run by the interpreter `python` (3.10 or newer) with our own copy of pip-tools."""

    name = "pip-compile"
    python: str
    version: str
    runner: Runner
    env: Mapping[str, str]
    cache_dir: str

    def resolve(self, question: Question) -> tuple[Compiled, ...]:
        """See Resolver."""
        numbers = tuple(int(part) for part in self.version.split(".")[:2])
        if numbers < _OLDEST_FOR_PIP_TOOLS:
            raise ReproError(
                f"pip-tools resolves for the Python that runs it, and does not run on {self.version}",
                hint="install uv (`pip install 'repro[uv]'`)",
            )
        with write_question(question) as (directory, files):
            args = [self.python, "-I", "-c", _START_PIP_TOOLS, _find_site_dir(), *files, "--output-file", "-"]
            args += ["--quiet", "--no-header", "--annotate", "--annotation-style", "split", "--strip-extras"]
            args += ["--allow-unsafe", "--no-config", "--no-emit-options", "--no-emit-index-url"]
            args += ["--no-emit-find-links", "--no-emit-trusted-host", "--cache-dir", self.cache_dir]
            args += ["--pre"] if question.prereleases else []
            args += ["--uploaded-prior-to", format_moment(question.before)] if question.before else []
            return _read(self.runner.capture(args, env=self.env, cwd=directory), self.name)


def _find_site_dir() -> str:
    """Return the directory our own pip-tools lies in."""
    from importlib.util import find_spec

    spec = find_spec("piptools")
    if spec is None or spec.origin is None:
        raise ReproError("pip-tools is not installed", hint="pip install pip-tools")
    return os.path.dirname(os.path.dirname(spec.origin))


def make_resolver(
    engine: str | None, *, python: str, version: str, runner: Runner, env: Mapping[str, str], caches_dir: str
) -> Resolver:
    """Return the resolver named, else uv where it is, else pip-tools. Raises ReproError where uv is not there."""
    env = {**env, "UV_CACHE_DIR": os.path.join(caches_dir, "uv"), "PIP_CACHE_DIR": os.path.join(caches_dir, "pip")}
    uv = find_uv() if engine in (None, "uv") else None
    if uv:
        return UvResolver(uv=uv, python=python, runner=runner, env=env)
    if engine == "uv":
        raise ReproError("uv is not installed", hint="pip install 'repro[uv]', or take `--engine pip-tools`")
    cache_dir = os.path.join(caches_dir, "pip-tools")
    return PipToolsResolver(python=python, version=version, runner=runner, env=env, cache_dir=cache_dir)


@frozen
class Direct:
    """What a URL or a commit of a repository turned out to be."""

    version: str
    source: Source


def describe_direct(
    pins: Sequence[Compiled], *, python: str, runner: Runner, env: Mapping[str, str]
) -> dict[str, Direct]:
    """Return what pins with URLs are, by canonical name: pip fetches each and reads its metadata (PEP 610).

    Raises ReproError where one cannot be fetched or built.
    """
    if not pins:
        return {}
    args = [sys.executable, "-m", "pip", "--python", python, "install", "--dry-run", "--ignore-installed"]
    args += ["--no-deps", "--quiet", "--report", "-", "-r", "/dev/stdin"]
    lines = "".join(f"{each.name} @ {each.url}\n" for each in pins)
    finished = runner.capture(args, env=env, stdin=lines)
    if finished.returncode:
        said = redact(finished.stderr).strip().splitlines()
        raise ReproError(
            "what a URL leads to cannot be read",
            hint="check the lines with ` @ `",
            details=tuple(line for line in said if line.strip())[-_SHOWN_LINES:],
        )
    found = {}
    for item in json.loads(finished.stdout)["install"]:
        source = parse_direct_url(json.dumps(item["download_info"]))
        found[canonicalize_name(item["metadata"]["name"])] = Direct(version=item["metadata"]["version"], source=source)
    return found
