"""A real `mlflow server` on SQLite, which can be stopped and started again at the same port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path


def find_free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class MlflowServer:
    """The server of one directory, on SQLite or with `files` on plain files; it takes 10 to 40 s to start.

    On SQLite it drops a point that it has; on plain files a point that is sent twice is there twice.
    """

    def __init__(self, python: str, directory: Path, *options: str, files: bool = False) -> None:
        self.directory = directory
        self.port = find_free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        backend = str(directory / "mlruns") if files else f"sqlite:///{directory}/mlflow.db"
        self._command = [
            str(Path(python).parent / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(self.port),
            "--workers", "1", "--backend-store-uri", backend,
            "--artifacts-destination", str(directory / "artifacts"), *options,
        ]  # fmt: skip

    def start(self) -> MlflowServer:
        """Start it, and return when it answers."""
        self.directory.mkdir(parents=True, exist_ok=True)
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "REPRO_"))}
        environ |= {"HOME": str(self.directory), "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ALLOW_FILE_STORE": "true"}
        with open(self.directory / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self.directory, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + 120
        while not self._answers():
            assert self._process.poll() is None, (self.directory / "server.log").read_text()
            assert time.monotonic() < deadline, (self.directory / "server.log").read_text()
            time.sleep(0.2)
        return self

    def _answers(self) -> bool:
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
                f"{self.url}/health", timeout=5
            ) as it:
                return it.status == 200
        except (OSError, urllib.error.URLError):
            return False

    def stop(self) -> None:
        """End it and all its processes."""
        if self._process:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
