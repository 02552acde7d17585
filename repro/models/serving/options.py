"""How a model is served, and who is told of it."""

from __future__ import annotations

from collections.abc import Callable

from repro.errors import UsageError
from repro.tracking.server.endpoint import is_loopback
from repro.values import frozen

_MOST_WORKERS = 256


@frozen
class ServeOptions:
    """Where and how a model is served; `port` 0 is one that is free."""

    host: str = "127.0.0.1"
    port: int = 5000
    workers: int = 1
    timeout_s: float = 60.0
    token: str | None = None
    gather: bool = True
    max_body_bytes: int = 16 << 20
    most_waiting: int = 512
    allowed_hosts: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise UsageError for what cannot be."""
        if not self.token and not is_loopback(self.host):
            raise UsageError(
                f"others than this machine reach `{self.host}`: a server there needs a token",
                hint="`--token-file FILE` (`token=`), or the variable REPRO_SERVE_TOKEN",
            )
        if not 1 <= self.workers <= _MOST_WORKERS:
            raise UsageError(f"`--workers {self.workers}`: there can be 1 to {_MOST_WORKERS}")
        if not 0 < self.timeout_s < float("inf"):
            raise UsageError(f"`--timeout {self.timeout_s:g}` is no time", hint="seconds, e.g. `--timeout 60`")
        if self.max_body_bytes < 1 or self.most_waiting < 1:
            raise UsageError("`--max-body` and `--max-waiting` are at least 1")


@frozen
class Reporter:
    """Who is told: of the start with the URL, of what goes wrong, and of each request where that is wanted."""

    started: Callable[[str], None]
    complain: Callable[[str], None] = lambda line: None
    request: Callable[[str], None] | None = None
