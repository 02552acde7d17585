"""Model directories that need nothing but Python, and their processes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from repro.models.directory import describe, read_directory
from repro.models.worker_process import WorkerPlan

LOADER = '''
import os, sys, time

class Odd(Exception):
    """An exception of the model's own."""

class Tiny:
    classes = ["low", "high"]
    sizes_ = (3, 4)

    def predict(self, data, params=None):
        print("a model may say things")
        if isinstance(data, dict) and "deed" in data:
            return getattr(self, data["deed"][0])(params)
        return {"data": data, "params": params}

    def fail(self, params=None): raise ValueError("what it raises")
    def odd(self, params=None): raise Odd("of its own")
    def leave(self, params=None): sys.exit(3)
    def die(self, params=None): os._exit(9)
    def sleep(self, params=None): time.sleep(600)
    def give(self, params=None): return object()
    def fit(self, *args): return self
    def add(self, a, b=1): return a + b
    def where(self): return sys.prefix
    def environ(self): return dict(os.environ)

def _load_pyfunc(path):
    return Tiny()
'''


def make_model(
    directory: Path, loader: str = LOADER, *, signature: dict[str, object] | None = None, **more: object
) -> Path:
    """Make a model whose loader lies under `code/`; `more` are keys of its MLmodel."""
    (directory / "code").mkdir(parents=True)
    name = f"loader_of_{directory.name}"  # several in one process
    (directory / "code" / f"{name}.py").write_text(loader)
    content: dict[str, object] = {"flavors": {"python_function": {"loader_module": name, "code": "code"}}, **more}
    if signature:
        content["signature"] = {key: json.dumps(value) for key, value in signature.items()}
    (directory / "MLmodel").write_text(json.dumps(content))
    return directory


def make_plan(directory: Path, **changes: object) -> WorkerPlan:
    """Return the plan of a process with this Python."""
    found = read_directory(directory)
    settled: dict[str, object] = {
        "python": sys.executable,
        "environ": dict(os.environ),
        "name": found.name,
        "directory": found.path,
        "description": describe(found),
        **changes,
    }
    return WorkerPlan(**settled)  # type: ignore[arg-type]


def is_alive(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(holds: Callable[[], bool], *, most_s: float = 30.0) -> bool:
    """Wait for a moment, and tell whether it has come."""
    import time

    end = time.monotonic() + most_s
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True
