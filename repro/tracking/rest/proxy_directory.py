"""A directory that a tracking server hands on (the mlflow-artifacts API), whatever it belongs to: read by its path."""

from __future__ import annotations

import posixpath
from dataclasses import replace
from typing import BinaryIO
from urllib.parse import urlencode

from repro.errors import TrackingNotFoundError
from repro.tracking.entities import Artifact
from repro.tracking.rest.answers import make_refusal, read_object
from repro.tracking.rest.artifacts import PROXY, lies_in
from repro.tracking.rest.transport import Transport, quote_path
from repro.tracking.wire import list_fields, parse_artifact


class ProxyDirectory:
    """Files below a path of a server's proxy; paths are relative to `root`."""

    def __init__(self, transport: Transport, root: str) -> None:
        self._transport = transport
        self.root = root

    @property
    def name(self) -> str:
        """The server and the path."""
        return f"{self._transport.address.uri} {self.root}"

    def download(self, path: str, target: BinaryIO) -> None:
        """Write a file into another. Raises TrackingNotFoundError where there is none."""
        where = PROXY + quote_path(posixpath.join(self.root, path))
        answer = self._transport.send("GET", where, into=target)
        if answer.status == 404:
            raise TrackingNotFoundError(f"`{self._transport.address.uri}` has no artifact `{self.root}/{path}`")
        if not 200 <= answer.status < 300:
            raise make_refusal(self._transport.address, f"GET {where}", answer)

    def list_directory(self, path: str) -> list[Artifact]:
        """Return what the server lists, but for what no directory can hold; nothing where there is no directory."""
        where = PROXY.rstrip("/")
        query = urlencode({"path": posixpath.join(self.root, path) if path else self.root})
        answer = self._transport.send("GET", f"{where}?{query}")
        try:
            listed = list_fields(read_object(self._transport.address, f"GET {where}", answer), "files")
        except TrackingNotFoundError:
            return []
        found = (parse_artifact(each) for each in listed)  # their paths are relative to the directory
        placed = (replace(each, path=posixpath.join(path, each.path)) for each in found if each.path)
        return sorted((each for each in placed if lies_in(each, path)), key=lambda each: each.path)
