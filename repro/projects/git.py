"""Run git for projects: without prompts, hooks, or anything that steers it from outside."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from repro import settings
from repro.errors import ReproError
from repro.formats.redaction import redact
from repro.process import Finished, Runner
from repro.projects.location import GitLocation
from repro.values import frozen

_STALLED_S = 60
_OF_SERVERS = ("http", "https", "ssh", "git")
# A user's configuration says how servers are reached; none of it may run a program of the repository's, hand out other
# bytes than those of the commit, or work on behind our back.
_CONFIG = {
    "protocol.ext.allow": "never",
    "protocol.fd.allow": "never",
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.autocrlf": "false",
    "core.quotePath": "false",
    "core.untrackedCache": "false",
    "core.excludesFile": os.devnull,
    "core.attributesFile": os.devnull,
    "advice.detachedHead": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "fetch.recurseSubmodules": "false",
    "submodule.recurse": "false",
    "http.lowSpeedLimit": "1",
    "http.lowSpeedTime": str(_STALLED_S),
}
_HELPER = (
    '!f() { test "$1" = get && printf \'username=%s\\npassword=%s\\n\' "$REPRO_GIT_USER" "$REPRO_GIT_PASSWORD"; }; f'
)


class GitError(ReproError):
    """Git could not do what it was asked for; the message has what it said, without credentials."""


def _configure_login(location: GitLocation) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """Return the configuration and the variables that give a URL's login to its server, and to no other.

    Without a password git's own helpers are asked for it first; a token that stands for both is taken then.
    """
    login = location.login
    if login is None:
        return [], {}
    scheme, _, rest = location.url.partition("://")
    place = f"credential.{scheme}://{rest.partition('/')[0]}"
    reset = [(f"{place}.helper", "")] if login.password is not None else [(f"{place}.username", login.user)]
    secrets = {"REPRO_GIT_USER": login.user, "REPRO_GIT_PASSWORD": login.password or ""}
    return [*reset, (f"{place}.helper", _HELPER)], secrets


def _find_reason(text: str) -> str:
    """Return git's own sentence of why it failed."""
    lines = [redact(line.strip()) for line in text.splitlines() if line.strip()]
    fatal = [line.partition(": ")[2] for line in lines if line.startswith(("fatal: ", "error: "))]
    chosen = (fatal or lines or ["it says nothing"])[0]
    return "".join(each for each in chosen if each.isprintable())[:300]


@frozen
class Git:
    """Git with an environment of its own."""

    runner: Runner
    environ: Mapping[str, str]

    @classmethod
    def make(cls, location: GitLocation, *, runner: Runner, environ: Mapping[str, str], offline: bool = False) -> Git:
        """Return git for a repository, with the login of its URL; offline it asks no server."""
        config, secrets = _configure_login(location)
        config += [(f"protocol.{name}.allow", "never") for name in _OF_SERVERS if offline]
        made = settings.make_git_environment(environ, [*_CONFIG.items(), *config])
        return cls(runner=runner, environ={**made, **secrets})

    def ask(self, directory: Path | str, *args: str, stdin: str = "") -> Finished:
        """Run a git command in a directory. Raises GitError where there is no git."""
        try:
            return self.runner.capture(["git", "-C", str(directory), *args], env=self.environ, stdin=stdin)
        except OSError as error:
            raise GitError(
                f"git cannot be started ({error.strerror})", hint="install git, or name a directory or a zip"
            ) from error

    def run(self, directory: Path | str, *args: str, stdin: str = "") -> str:
        """Return what a git command prints. Raises GitError where it fails."""
        finished = self.ask(directory, *args, stdin=stdin)
        if finished.returncode:
            raise GitError(_find_reason(finished.stderr))
        return finished.stdout
