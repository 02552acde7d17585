"""Serve a model until it is told to stop: the workers, the HTTP side before them, and the loop they run in."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Awaitable, Callable

import uvloop

from repro.models.serving.app import App, Limits
from repro.models.serving.batching import Batcher
from repro.models.serving.door import Door
from repro.models.serving.http import HttpServer
from repro.models.serving.metrics import Metrics
from repro.models.serving.options import Reporter, ServeOptions
from repro.models.serving.pool import Link, Pool
from repro.models.serving.served import Served
from repro.tracking.server.endpoint import is_loopback, open_listener

StartLink = Callable[[], Awaitable[Link]]


def find_own_names(host: str, allowed: tuple[str, ...]) -> frozenset[str]:
    """Return by which names clients may call a server, beside an address in digits."""
    own = {"localhost", host} if is_loopback(host) else {"localhost", host, socket.gethostname()}
    return frozenset(name.lower() for name in (*own, *allowed))


class ModelServer:
    """One server; `stop` may be called from any thread, and a second time to wait no longer.

    `end` is called when it has ended, for what `start` has not taken.
    """

    def __init__(
        self,
        options: ServeOptions,
        start: StartLink,
        describe: Callable[[], Served],
        report: Reporter,
        end: Callable[[], None] = lambda: None,
    ) -> None:
        options.check()
        self._options = options
        self._start = start
        self._describe = describe
        self._report = report
        self._end = end
        self._listener = open_listener(options.host, options.port)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._http: HttpServer | None = None
        self._opening: asyncio.Task[None] | None = None
        self._is_stopped = False
        self._deeds: list[Callable[[], None]] = []
        host = f"[{options.host}]" if ":" in options.host else options.host
        self.url = f"http://{host}:{self._listener.getsockname()[1]}"

    def when_started(self, deed: Callable[[], None]) -> None:
        """Have something done once it answers."""
        self._deeds.append(deed)

    def _announce(self) -> None:
        self._report.started(self.url)
        for deed in self._deeds:
            deed()

    def stop(self) -> None:
        """Answer what has been asked, then end."""
        self._is_stopped = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop_here)

    def _stop_here(self) -> None:
        self._is_stopped = True
        if self._http is not None:
            self._http.stop()
        elif self._opening is not None:
            self._opening.cancel()

    def _hear_signals(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, self._stop_here)

    def _make_app(self, pool: Pool, metrics: Metrics) -> tuple[App, Batcher]:
        from repro import __version__

        options = self._options
        batcher = Batcher(
            pool, metrics, gather=options.gather, most_waiting=options.most_waiting, say=self._report.complain
        )
        pool.wake = batcher.wake
        app = App(
            self._describe(),
            batcher,
            metrics,
            Door(names=find_own_names(options.host, options.allowed_hosts), token=options.token),
            limits=Limits(timeout_s=options.timeout_s, max_body_bytes=options.max_body_bytes),
            is_ready=pool.is_ready,
            version=__version__,
            say=self._report.request,
            complain=self._report.complain,
        )
        return app, batcher

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._hear_signals()
        options, metrics = self._options, Metrics()
        pool = Pool(
            self._start, metrics, workers=options.workers, most_s=options.timeout_s + 1.0, say=self._report.complain
        )
        self._opening = self._loop.create_task(pool.open())
        try:
            if self._is_stopped:
                return
            await self._opening
            app, batcher = self._make_app(pool, metrics)
            self._http = HttpServer(app, timeout_s=options.timeout_s, grace_s=options.timeout_s)
            await self._http.run(self._listener, on_start=self._announce)
            await batcher.drain()
        except asyncio.CancelledError:
            if not self._is_stopped:
                raise
        finally:
            await pool.close()

    def run(self) -> None:
        """Serve until `stop`, and in the main thread until SIGINT or SIGTERM. Raises what a worker's start raises."""
        try:
            uvloop.run(self._run())
        finally:
            self._listener.close()
            self._end()


class Background:
    """A server in a thread of this process; leaving a `with` block stops it."""

    def __init__(self, server: ModelServer) -> None:
        self._server = server
        self._is_up = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="repro-serve", daemon=True)

    @property
    def url(self) -> str:
        """Where it answers."""
        return self._server.url

    def _run(self) -> None:
        try:
            self._server.run()
        except BaseException as error:
            self._error = error
        finally:
            self._is_up.set()

    def start(self) -> Background:
        """Return when it answers. Raises what its start raises."""
        self._server.when_started(self._is_up.set)
        self._thread.start()
        self._is_up.wait()
        if self._error is not None:
            raise self._error
        return self

    def stop(self) -> None:
        """Answer what has been asked, then end."""
        self._server.stop()
        self._thread.join()

    def __enter__(self) -> Background:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
