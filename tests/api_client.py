"""A client of the tracking server that does what a test says, over real HTTP on loopback."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

API = "/api/2.0/mlflow"
PROXY = "/api/2.0/mlflow-artifacts/artifacts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the server answered; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def error_code(self) -> str:
        """MLflow's word for what is wrong."""
        return str(self.json["error_code"])


class Api:
    """Calls of one server; each has a connection of its own."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.host = str(urlsplit(uri).hostname)
        self.port = int(urlsplit(uri).port or 0)

    def ask(self, method: str, path: str, *, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Send one request, its path as it stands; a dict is sent as JSON."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        content = json.dumps(body).encode() if isinstance(body, dict) else body
        try:
            kind = {"Content-Type": "application/json"} if isinstance(body, dict) else {}
            connection.request(method, path, body=content, headers={**kind, **(headers or {})})
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(status=response.status, headers=found, body=response.read())
        finally:
            connection.close()

    def post(self, path: str, /, **fields: Any) -> Any:
        """Post fields to a place of the API and return the answer's, which must be a good one."""
        return self._check(self.ask("POST", f"{API}/{path}", body=fields))

    def change(self, method: str, path: str, /, **fields: Any) -> Any:
        """As `post`, with another method."""
        return self._check(self.ask(method, f"{API}/{path}", body=fields))

    def get(self, path: str, /, **query: Any) -> Any:
        """Get a place of the API and return the answer's fields, which must be a good one."""
        return self._check(self.ask("GET", f"{API}/{path}?{urlencode(query, doseq=True)}"))

    def refuse(self, path: str, /, **fields: Any) -> str:
        """Post what must be refused, and return the error code."""
        answer = self.ask("POST", f"{API}/{path}", body=fields)
        assert answer.status >= 400, answer
        return answer.error_code

    def put(self, path: str, content: bytes) -> Answer:
        """Upload an artifact."""
        return self.ask("PUT", f"{PROXY}/{quote(path)}", body=content)

    def fetch(self, path: str) -> Answer:
        """Download an artifact."""
        return self.ask("GET", f"{PROXY}/{quote(path)}")

    def create_run(self, experiment_id: str = "0", **fields: Any) -> str:
        """Make a run and return its id."""
        made = self.post("runs/create", experiment_id=experiment_id, **fields)
        return str(made["run"]["info"]["run_id"])

    def send_raw(self, content: bytes) -> bytes:
        """Send bytes and return all that comes until the server hangs up."""
        with socket.create_connection((self.host, self.port), timeout=30) as connection:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            received = b""
            while block := connection.recv(1 << 16):
                received += block
        return received

    def _check(self, answer: Answer) -> Any:
        assert answer.status == 200, answer
        return answer.json
