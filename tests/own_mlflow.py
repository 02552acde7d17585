"""A small program that stands for MLflow where no test is about MLflow itself."""

from __future__ import annotations

import sys
from pathlib import Path

from conftest import LocalIndex

# Its server has a child in its group, as MLflow's has, and answers everything with what it was told.
CODE = """
import http.server, json, os, subprocess, sys

def tell():
    names = ("MLFLOW_", "PYTHON", "VIRTUAL_ENV")
    environ = {name: value for name, value in os.environ.items() if name.startswith(names)}
    return {"args": sys.argv[1:], "prefix": sys.prefix, "environ": environ, "path": os.environ["PATH"]}

def serve():
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    told = {**tell(), "pids": [os.getpid(), worker.pid]}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps(told).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    host, port = sys.argv[sys.argv.index("--host") + 1], int(sys.argv[sys.argv.index("--port") + 1])
    print("it says that it starts", flush=True)
    http.server.HTTPServer((host, port), Handler).serve_forever()

def main():
    if sys.argv[1:2] == ["server"]:
        serve()
    print(json.dumps(tell()))
    sys.exit(7 if "--fail" in sys.argv else 0)
"""


def write_program(path: Path) -> Path:
    """Write the program as a script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{sys.executable}\n{CODE}\nmain()\n")
    path.chmod(0o755)
    return path


def publish(index: LocalIndex, version: str, *, requires: tuple[str, ...] = ()) -> None:
    """Publish the program as a release of MLflow."""
    entry_points = "[console_scripts]\nmlflow = mlflow:main\n"
    files = {"mlflow.py": CODE, f"mlflow-{version}.dist-info/entry_points.txt": entry_points}
    index.add("mlflow", version, files=files, requires=requires)
