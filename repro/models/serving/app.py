"""The HTTP side of a served model: an ASGI application with MLflow's scoring protocol, R's `/predict` and metrics."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from repro.formats.scoring import (
    CSV_TYPE,
    JSON_TYPE,
    PARQUET_TYPE,
    TIMEOUT_TEXT,
    Parquet,
    ScoringBody,
    ScoringError,
    format_error,
    parse_body,
    parse_columns_body,
    parse_content_type,
    read_csv,
)
from repro.models.conform import conform_input, conform_params
from repro.models.serving import metrics as metrics_module
from repro.models.serving.batching import Batcher
from repro.models.serving.door import Door
from repro.models.serving.metrics import Metrics
from repro.models.serving.openapi import describe_api, describe_old_api
from repro.models.serving.page import PAGE, POLICY
from repro.models.serving.served import Served
from repro.values import frozen

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
_Prepared = tuple[bool, Any, dict[str, object] | None]  # whether its answer is not wrapped, the input, the parameters

INVOCATIONS = "/invocations"
_ALIASES = {
    "/invocations": INVOCATIONS, "/invocations/": INVOCATIONS, "/invocation": INVOCATIONS, "/invocation/": INVOCATIONS,
    "/predict": "/predict", "/predict/": "/predict",
}  # fmt: skip
_READ = ("/", "/ping", "/health", "/version", "/swagger.json", "/openapi.json", "/metrics")
_LARGE_BYTES = 1 << 20
_DRAINED_BYTES = 8 << 20
_TEXT_TYPE, _HTML_TYPE = b"text/plain; charset=utf-8", b"text/html; charset=utf-8"
_HELD_BODIES = 16

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class _Gone(Exception):
    """The client went away before its request was whole."""


@frozen
class Limits:
    """How long a request may take from its head to its answer, and how large its body may be."""

    timeout_s: float = 60.0
    max_body_bytes: int = 16 << 20


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    type: bytes = JSON_TYPE.encode()
    more: tuple[tuple[bytes, bytes], ...] = ()


def decode_json(body: bytes | bytearray) -> object:
    """Return what a JSON body says; `NaN` and `Infinity`, which Python writes, are read too. Raises ScoringError."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, RecursionError):
        pass
    try:
        return json.loads(body.decode())
    except RecursionError:
        reason = "it is nested too deeply"
    except ValueError as error:
        reason = str(error)
    raise ScoringError(f"Ensure that input is a valid JSON formatted string. Error: '{reason}'")


def _refuse_to_answer(error: object) -> ScoringError:
    return ScoringError(f"the model's answer cannot be said in JSON: {error}", status=500, error_code="INTERNAL_ERROR")


def _format_refusal(error: ScoringError) -> _Answer:
    more: list[tuple[bytes, bytes]] = []
    if error.retry_after_s is not None:
        more.append((b"retry-after", str(error.retry_after_s).encode()))
    if error.status == 401:
        more.append((b"www-authenticate", b"Bearer"))
    if error.status in (408, 413):
        more.append((b"connection", b"close"))
    if error.is_text:
        return _Answer(error.status, error.message.encode(errors="backslashreplace"), _TEXT_TYPE, tuple(more))
    body = json.dumps(format_error(error)).encode()  # any text at all, lone surrogates too
    return _Answer(error.status, body, more=tuple(more))


def _find_headers(scope: Scope, *names: bytes) -> dict[bytes, bytes]:
    return {name: value for name, value in scope["headers"] if name in names}


class App:
    """Answer requests for one model; `is_ready` tells whether a worker has it."""

    def __init__(
        self,
        served: Served,
        batcher: Batcher,
        metrics: Metrics,
        door: Door,
        *,
        limits: Limits,
        is_ready: Callable[[], bool],
        version: str,
        say: Callable[[str], None] | None = None,
        complain: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._served = served
        self._batcher = batcher
        self._metrics = metrics
        self._door = door
        self._limits = limits
        self._is_ready = is_ready
        self._version = version
        self._say = say
        self._complain = complain
        self._held_bytes = 0
        self._most_held_bytes = _HELD_BODIES * limits.max_body_bytes
        self._common = ((b"x-repro-env", served.environment.encode()), (b"x-content-type-options", b"nosniff"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI 3)."""
        if scope["type"] != "http":
            return
        began = time.perf_counter()
        path: str = scope["path"]
        route = _ALIASES.get(path) or (path if path in _READ else "other")
        try:
            answer = await self._route(route, scope, receive)
        except ScoringError as error:
            answer = _format_refusal(error)
        except _Gone:
            self._metrics.count_answer(route, 499, time.perf_counter() - began)
            return
        except Exception as error:  # a fault of ours: the request still gets its answer
            self._complain(f"{scope['method']} {path!r}: {type(error).__name__}: {error}")
            answer = _format_refusal(ScoringError("the server has failed", status=500, error_code="INTERNAL_ERROR"))
        took_s = time.perf_counter() - began
        self._metrics.count_answer(route, answer.status, took_s)
        if self._say:
            self._say(f"{scope['method']} {path!r} {answer.status} {took_s * 1000:.1f} ms")
        await self._send(answer, send, with_body=scope["method"] != "HEAD")

    async def _send(self, answer: _Answer, send: Send, *, with_body: bool) -> None:
        head = [
            (b"content-type", answer.type), (b"content-length", str(len(answer.body)).encode()),
            *self._common, *answer.more,
        ]  # fmt: skip
        await send({"type": "http.response.start", "status": answer.status, "headers": head})
        await send({"type": "http.response.body", "body": answer.body if with_body else b""})

    async def _route(self, route: str, scope: Scope, receive: Receive) -> _Answer:
        headers = _find_headers(scope, b"host", b"origin", b"authorization", b"content-type", b"content-length")
        self._door.check(
            route if route in _READ else scope["path"],
            host=headers.get(b"host"), origin=headers.get(b"origin"), authorization=headers.get(b"authorization"),
        )  # fmt: skip
        if route == "other":
            return _Answer(404, b'{"detail":"Not Found"}')
        allowed = ("GET", "HEAD") if route in _READ else ("POST",)
        if scope["method"] not in allowed:
            return _Answer(405, b'{"detail":"Method Not Allowed"}', more=((b"allow", ", ".join(allowed).encode()),))
        if route in _READ:
            return self._read(route, scope)
        return await self._invoke(route, headers, receive)

    def _read(self, route: str, scope: Scope) -> _Answer:
        if route == "/":
            return _Answer(200, PAGE, _HTML_TYPE, ((b"content-security-policy", POLICY),))
        if route in ("/ping", "/health"):
            return _Answer(200 if self._is_ready() else 404, b"\n")
        if route == "/metrics":
            return _Answer(200, self._metrics.format().encode(), metrics_module.CONTENT_TYPE.encode())
        if route == "/openapi.json":
            return _Answer(200, _encode(describe_api(self._served, version=self._version)))
        if route == "/swagger.json":
            return _Answer(200, _encode(describe_old_api()), b"application/json; charset=UTF-8")
        return self._tell_version(scope)

    def _tell_version(self, scope: Scope) -> _Answer:
        if b"verbose=1" not in scope["query_string"].split(b"&"):
            return _Answer(200, self._version.encode())
        facts = {
            "version": self._version,
            "model": self._served.name,
            "environment": self._served.environment,
            "ready_workers": self._metrics.ready_workers,
            **self._served.facts,
        }
        return _Answer(200, _encode(facts) + b"\n")

    async def _invoke(self, route: str, headers: Mapping[bytes, bytes], receive: Receive) -> _Answer:
        deadline = time.monotonic() + self._limits.timeout_s
        mime = parse_content_type(headers.get(b"content-type", JSON_TYPE.encode()).decode("latin-1"))
        self._check_length(headers.get(b"content-length"))
        body = await self._receive_whole(receive)
        held = len(body)
        try:
            asked = await self._prepare_aside(route, mime, body)
            del body  # what waits for a worker is what was made of it
            return await self._score(*asked, deadline=deadline)
        finally:
            self._held_bytes -= held

    def _check_length(self, header: bytes | None) -> None:
        """Refuse a body that nobody would read to its end."""
        if header and header.isdigit() and int(header) > _DRAINED_BYTES + self._limits.max_body_bytes:
            raise self._refuse_size()

    def _refuse_size(self) -> ScoringError:
        limit = self._limits.max_body_bytes
        return ScoringError(
            f"the body is larger than {limit} bytes (`--max-body`)", status=413, error_code="REQUEST_LIMIT_EXCEEDED"
        )

    def _hold(self, more_bytes: int, held_bytes: int) -> None:
        """Count what requests keep in memory. Raises ScoringError (413, 503)."""
        self._held_bytes += more_bytes
        if held_bytes > self._limits.max_body_bytes:
            raise self._refuse_size()
        if self._held_bytes > self._most_held_bytes:
            raise ScoringError(
                "the requests that wait are too large together", status=503, error_code="TEMPORARILY_UNAVAILABLE",
                retry_after_s=1,
            )  # fmt: skip

    async def _receive_whole(self, receive: Receive) -> bytearray:
        """Return a body, whose bytes are counted."""
        body = bytearray()
        try:
            async for chunk in self._receive_body(receive):
                body += chunk
                self._hold(len(chunk), len(body))
        except BaseException as error:
            self._held_bytes -= len(body)
            if isinstance(error, ScoringError) and error.status == 413:
                await self._drain(receive)
            raise
        return body

    async def _drain(self, receive: Receive) -> None:
        """Read on for a while: a client that still sends would see a reset connection and not the answer."""
        drained = 0
        try:
            async for chunk in self._receive_body(receive):
                drained += len(chunk)
                if drained > _DRAINED_BYTES:
                    return
        except _Gone:
            return

    @staticmethod
    async def _receive_body(receive: Receive) -> AsyncIterator[bytes]:
        """Hand on the parts of a body; one that is late is cut off below us."""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            more = message.get("more_body", False)
            yield message.get("body", b"")

    def _read_body(self, route: str, mime: str, body: bytearray) -> ScoringBody:
        names = self._served.param_names
        if mime == CSV_TYPE:
            return ScoringBody(format="csv", content=read_csv(bytes(body)))
        if mime == PARQUET_TYPE:
            return ScoringBody(format="parquet", content=Parquet(content=bytes(body)))
        content = decode_json(body)
        if route == INVOCATIONS:
            return parse_body(content, known_params=names)
        return parse_columns_body(content, known_params=names)

    def _prepare(self, route: str, mime: str, body: bytearray) -> _Prepared:
        asked = self._read_body(route, mime, body)
        signature = self._served.signature
        input_ = conform_input(asked, signature, wants_frame=self._served.wants_frame)
        params = conform_params(asked.params, signature.params if signature else None)
        return asked.format == "llm", input_, params

    async def _prepare_aside(self, route: str, mime: str, body: bytearray) -> _Prepared:
        """Return what is asked; nobody else waits for a large body."""
        if len(body) > _LARGE_BYTES:
            return await asyncio.to_thread(self._prepare, route, mime, body)
        return self._prepare(route, mime, body)

    async def _score(self, is_bare: bool, input_: Any, params: dict[str, object] | None, *, deadline: float) -> _Answer:
        timeout_s = deadline - time.monotonic()
        if timeout_s <= 0:
            raise ScoringError(TIMEOUT_TEXT, status=504, error_code="DEADLINE_EXCEEDED", is_text=True)
        answer = await self._batcher.predict(input_, params, timeout_s=timeout_s)
        try:
            return _Answer(200, _encode(answer if is_bare else {"predictions": answer}))
        except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
            raise _refuse_to_answer(error) from error
