"""Real git repositories for tests, on disk and behind real HTTP servers."""

from __future__ import annotations

import base64
import http.server
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from servers import LoopbackServer


def run_git(directory: Path, *args: str) -> str:
    """Run a git command and return what it prints."""
    done = subprocess.run(["git", "-C", str(directory), *args], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(work: Path, message: str, **files: str) -> str:
    """Commit files, named with `__` for `/` and `_py` for `.py`, and return the commit."""
    for name, content in files.items():
        path = work / name.replace("__", "/").replace("_py", ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    run_git(work, "add", "--all")
    run_git(work, "commit", "--quiet", "--message", message)
    return run_git(work, "rev-parse", "HEAD")


def make_work(path: Path) -> Path:
    """Make an empty repository with a work tree."""
    path.mkdir(parents=True)
    run_git(path, "init", "--quiet", "--initial-branch=main")
    return path


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Files below a directory, and below `/smart/` git's own CGI program over it."""

    def __init__(self, *args: object, server_of: GitServer, **options: object) -> None:
        self.git_server = server_of
        super().__init__(*args, **options)  # type: ignore[arg-type]

    def _is_let_in(self) -> bool:
        self.git_server.paths.append(self.path)
        login = self.git_server.login
        if login is None or self.headers.get("Authorization") == "Basic " + base64.b64encode(login.encode()).decode():
            return True
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="git"')
        self.send_header("Content-Length", "0")
        self.end_headers()
        return False

    def _run_backend(self) -> None:
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        environ = {
            **os.environ, "GIT_PROJECT_ROOT": str(self.git_server.root), "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path.removeprefix("/smart"), "QUERY_STRING": query, "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""), "REMOTE_ADDR": "127.0.0.1",
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }  # fmt: skip
        self.git_server.on_request(self.command)
        done = subprocess.run(["git", "http-backend"], input=body, env=environ, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in {**fields, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        if self._is_let_in():
            if self.path.startswith("/smart/"):
                self._run_backend()
            else:
                super().do_GET()

    def do_POST(self) -> None:
        if self._is_let_in():
            self._run_backend()

    def log_message(self, *args: object) -> None:
        pass


class GitServer:
    """Serve files (git's dumb protocol, zips) and git's smart protocol; `login` is demanded where it is set."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.login: str | None = None
        self.paths: list[str] = []
        self.on_request: Callable[[str], None] = lambda method: None
        handler = partial(_Handler, directory=str(root), server_of=self)
        self.server = LoopbackServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        self.url = f"http://{self.host}"


@contextmanager
def serving_git(root: Path) -> Iterator[GitServer]:
    """Serve a directory for the block."""
    server = GitServer(root)
    try:
        yield server
    finally:
        server.server.shutdown()
        server.server.server_close()
