"""What deeds need of the machine they run on, built once at the edge and handed down."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from repro import settings
from repro.environments.store import Store, UnwritableStoreError, locate_store
from repro.files import hold_shared
from repro.process import Runner
from repro.values import field, frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.environments.interpreters import Finder
    from repro.snapshots.hashes import HashSource
    from repro.snapshots.indexes import Indexes
    from repro.snapshots.keep import Keeper
    from repro.snapshots.memory import Memory
    from repro.snapshots.pins import Hashes, Pin
    from repro.snapshots.resolve import Resolve
    from repro.snapshots.sweep import SweepAhead
    from repro.snapshots.work import Tools


def _say_nothing(stage: str) -> None:
    pass


@frozen
class Machine:
    """The store, a runner of processes, the process environment, and a listener told of each stage of long work.

    `indexes` are those that options name; `ahead` is what was begun for the run's snapshot before all else.
    """

    store: Store
    runner: Runner
    environ: Mapping[str, str]
    report: Callable[[str], None] = field(default=_say_nothing)
    indexes: Indexes | None = None
    ahead: SweepAhead | None = None

    @classmethod
    def here(
        cls,
        *,
        cache: str | None = None,
        environ: Mapping[str, str] | None = None,
        echo: Callable[[str], None] | None = None,
        report: Callable[[str], None] = _say_nothing,
        indexes: Indexes | None = None,
        ahead: SweepAhead | None = None,
    ) -> Machine:
        """Return this machine with the store below `cache`, else where the variables say."""
        environ = settings.own_environment() if environ is None else environ
        store = Store(locate_store(cache or settings.get_cache_dir(environ)))
        return cls(store=store, runner=Runner(echo), environ=environ, report=report, indexes=indexes, ahead=ahead)

    def find_indexes(self, project: Path, *, python: str | None = None) -> Indexes:
        """Return where files may come from: what the user has named for a project, and in the environment of `python`.

        Raises ReproError.
        """
        from repro.snapshots.index_configuration import find_indexes

        prefix = settings.find_prefix(python) if python else None
        return find_indexes(self.environ, project=project, prefix=prefix, given=self.indexes)

    def hold_store(self) -> contextlib.AbstractContextManager[None]:
        """Hold the store's gate for a block: what is found in the store stays, for a prune waits until it ends.

        The store is prepared; a lock of a key, a tree or a place is taken inside, never around it. One that cannot be
        written is used as it is.
        """
        if not self.store.is_writable():
            return contextlib.nullcontext()
        return hold_shared(self.store.gate, lambda: self.report("waiting: the cache is being pruned"))

    def make_memory(self) -> Memory:
        """Return the memories of the store; one that cannot be written only costs time.

        Raises RestoreError where somebody else could have filled it.
        """
        from repro.snapshots.memory import Memory

        with contextlib.suppress(UnwritableStoreError):
            self.store.prepare()
        return Memory(Path(self.store.room()))

    def _find_caches_dir(self) -> str | None:
        """Return where the installers' own caches lie, None where the store cannot be written: they then have none.

        Raises RestoreError where somebody else could have filled the store.
        """
        try:
            self.store.prepare()
        except UnwritableStoreError:
            return None
        return self.store.room()

    def make_finder(self) -> Finder:
        """Return the finder of interpreters."""
        from repro.environments.interpreters import Finder

        return Finder(self.store, runner=self.runner, environ=self.environ)

    def make_keeper(self, indexes: Indexes) -> Keeper:
        """Return what keeps wheels in the store. Raises RestoreError where somebody else could have filled it."""
        from repro.snapshots.keep import Keeper
        from repro.snapshots.uv import find_uv

        build_env = settings.make_installer_environment(self.environ)
        settings.name_caches(build_env, self._find_caches_dir())
        indexes.write_to(build_env)
        return Keeper(
            wheelhouse=self.store.open_wheelhouse(),
            memory=self.make_memory(),
            runner=self.runner,
            environ=self.environ,
            build_env=build_env,
            uv=find_uv(),
        )

    def make_tools(self, *, project: Path, python: str, engine: str | None, must_prove: bool) -> Tools:
        """Return what a snapshot of `python` for a project may need."""
        from repro.snapshots.work import Tools

        indexes = cache(lambda: self.find_indexes(project, python=python))

        def ask(pins: Sequence[Pin]) -> Hashes:
            from repro.snapshots.hashes import find_hashes

            return find_hashes(self.make_hash_sources(engine, python=python, project=project), pins)

        def make_resolver(keeper: Keeper) -> Resolve:
            from repro.snapshots.resolve import make_resolver

            return make_resolver(
                indexes=indexes(),
                environ=self.environ,
                keeper=keeper,
                must_prove=must_prove,
                ask=ask,
                ask_first=engine is not None,
            )

        return Tools(
            make_keeper=lambda: self.make_keeper(indexes()),
            make_resolver=make_resolver,
            scope=lambda: indexes().id,
            report=self.report,
        )

    def make_hash_sources(self, engine: str | None, *, python: str, project: Path) -> list[HashSource]:
        """Return the tools to ask for hashes."""
        from repro.snapshots.hashes import make_sources

        return make_sources(
            engine,
            python=python,
            runner=self.runner,
            environ=self.environ,
            indexes=self.find_indexes(project, python=python),
            caches_dir=self._find_caches_dir(),
        )
