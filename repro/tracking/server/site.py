"""What every deed of the server works on."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from repro.tracking.file_store import FileStore
from repro.tracking.logged_models import LoggedModels
from repro.tracking.registry import Registry
from repro.tracking.server.guard import Guard
from repro.tracking.server.permit import Permit
from repro.values import field, frozen


@frozen
class Site:
    """A store that is served, and to whom; `log` gets a line for each request.

    `patience_s` is how long a client may take for a request without its body, and be silent within one.
    """

    store: FileStore
    guard: Guard
    permit: Permit
    log: Callable[[str], None] | None
    is_closing: Callable[[], bool]
    patience_s: float
    tag_lock: Lock = field(default_factory=Lock)

    @property
    def registry(self) -> Registry:
        """The registered models beside the store's experiments."""
        return Registry(self.store.root)

    @property
    def models(self) -> LoggedModels:
        """The models that its runs have logged."""
        return LoggedModels(self.store.root)
