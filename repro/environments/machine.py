"""What deeds need of the machine they run on, built once at the edge and handed down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from repro import settings
from repro.environments.interpreters import Finder
from repro.environments.store import Store, locate_store
from repro.process import Runner
from repro.snapshots.memory import Memory
from repro.snapshots.pins import AskHashes, Hashes, Pin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.snapshots.hashes import HashSource


def _say_nothing(stage: str) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The store, a runner of processes, the process environment, and a listener told of each stage of long work."""

    store: Store
    runner: Runner
    environ: Mapping[str, str]
    report: Callable[[str], None] = field(default=_say_nothing)

    @classmethod
    def here(
        cls,
        *,
        cache: str | None = None,
        environ: Mapping[str, str] | None = None,
        echo: Callable[[str], None] | None = None,
        report: Callable[[str], None] = _say_nothing,
    ) -> Machine:
        """Return this machine with the store below `cache`, else where the variables say."""
        environ = settings.own_environment() if environ is None else environ
        store = Store(locate_store(cache or settings.get_cache_dir(environ)))
        return cls(store=store, runner=Runner(echo), environ=environ, report=report)

    @property
    def index_urls(self) -> tuple[str, ...]:
        """The indexes the user has named, as installers need them, credentials included."""
        return settings.get_index_urls(self.environ)

    def make_memory(self) -> Memory:
        """Return the memories of the store."""
        return Memory(Path(self.store.room()), index_urls=self.index_urls)

    def make_finder(self) -> Finder:
        """Return the finder of interpreters."""
        return Finder(self.store, runner=self.runner, environ=self.environ)

    def make_ask(self, engine: str | None, *, python: str) -> AskHashes:
        """Return what asks an index for hashes; the tools are looked for when it is called."""

        def ask(pins: Sequence[Pin]) -> Hashes:
            from repro.snapshots.hashes import find_hashes

            return find_hashes(self.make_hash_sources(engine, python=python), pins)

        return ask

    def make_hash_sources(self, engine: str | None, *, python: str) -> list[HashSource]:
        """Return the tools to ask for hashes."""
        from repro.snapshots.hashes import make_sources

        return make_sources(
            engine, python=python, runner=self.runner, environ=self.environ, caches_dir=self.store.room()
        )
