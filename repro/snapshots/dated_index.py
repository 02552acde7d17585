"""Serve an old pip, which knows no dates, the indexes as they were at a moment: on loopback, for a block.

    http://127.0.0.1:PORT/TOKEN/NAME/          the files that stood there then (PEP 503)
    http://127.0.0.1:PORT/TOKEN/NAME/FILE      the file, read through our own client, which has what lets us in

A file whose index does not say when it came counts as always there.
"""

from __future__ import annotations

import secrets
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote

from repro import settings
from repro.errors import ReproError
from repro.formats.lockfile import canonicalize_name
from repro.formats.moment import read_upload_time
from repro.formats.simple_index import IndexFile
from repro.snapshots.index_client import IndexClient
from repro.snapshots.indexes import Indexes


def format_page(files: tuple[IndexFile, ...], before: datetime) -> str:
    """Return the page of a project as it was before a moment."""
    lines = []
    for file in files:
        uploaded = read_upload_time(file.upload_time)
        if uploaded and uploaded >= before:
            continue
        fragment = f"#sha256={file.sha256}" if file.sha256 else ""
        pythons = f' data-requires-python="{escape(file.requires_python)}"' if file.requires_python else ""
        yanked = f' data-yanked="{escape(file.yanked)}"' if file.yanked is not None else ""
        name = escape(file.filename)
        lines.append(f'<a href="{quote(file.filename)}{fragment}"{pythons}{yanked}>{name}</a><br>\n')
    return f"<!DOCTYPE html><html><body>\n{''.join(lines)}</body></html>\n"


class _DatedIndex:
    """The projects that were asked for, each read once."""

    def __init__(self, client: IndexClient, before: datetime) -> None:
        self._client = client
        self._before = before
        self._known: dict[str, tuple[IndexFile, ...]] = {}

    def _list(self, name: str) -> tuple[IndexFile, ...]:
        if name not in self._known:
            self._known[name] = self._client.list_project(name)
        return self._known[name]

    def read_page(self, name: str) -> bytes | None:
        """Return a project's page, None where no place knows it."""
        files = self._list(canonicalize_name(name))
        return format_page(files, self._before).encode() if files else None

    def find_file(self, name: str, filename: str) -> IndexFile | None:
        """Return a file that stands on a project's page."""
        return next((each for each in self._list(canonicalize_name(name)) if each.filename == filename), None)

    def send_file(self, file: IndexFile, handler: BaseHTTPRequestHandler) -> None:
        """Answer with a whole file."""
        with self._client.open_whole(file) as source:
            handler.send_response(200)
            handler.send_header("Content-Type", "application/octet-stream")
            handler.send_header("Cache-Control", "no-store")
            handler.end_headers()
            shutil.copyfileobj(source, handler.wfile)


def _make_handler(dated: _DatedIndex, token: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _, given, *parts = self.path.partition("?")[0].split("/")
            names = [unquote(part) for part in parts if part]
            if not secrets.compare_digest(given, token) or len(names) not in (1, 2):
                self.send_error(404)
                return
            try:
                self._answer(*names)
            except ReproError as error:
                self.send_error(502, explain=error.message)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def _answer(self, name: str, filename: str | None = None) -> None:
            if filename is None:
                page = dated.read_page(name)
                if page is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)
            elif file := dated.find_file(name, filename):
                dated.send_file(file, self)
            else:
                self.send_error(404)

        def log_message(self, *_: object) -> None:
            """Write nothing to our terminal."""

    return Handler


@contextmanager
def serving_dated_index(
    indexes: Indexes, env: Mapping[str, str], *, environ: Mapping[str, str], before: datetime
) -> Iterator[dict[str, str]]:
    """Give, for the block, what an installer's environment is to be that sees the indexes as they were."""
    token = secrets.token_urlsafe(16)
    with IndexClient(indexes, environ=environ) as client:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _make_handler(_DatedIndex(client, before), token))
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield settings.name_only_index(env, f"http://127.0.0.1:{server.server_address[1]}/{token}/")
        finally:
            server.shutdown()
            server.server_close()
