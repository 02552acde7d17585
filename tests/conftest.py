"""What all tests share: no home directory, no variables of the machine, and real wheels on a real local index."""

from __future__ import annotations

import base64
import hashlib
import http.server
import os
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from repro.snapshots.hashes import find_uv

REPOSITORY = Path(__file__).resolve().parent.parent
TEST_HOME = REPOSITORY / ".test-env"


@pytest.fixture(autouse=True)
def no_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Make the default directories fail, and start in an empty one."""
    for name in list(os.environ):
        if name.startswith(("MLFLOW_", "REPRO_", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE", "UV_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", "/dev/null/home")
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/cache")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)


def make_wheel(
    directory: Path, name: str, version: str, *, files: dict[str, str] | None = None, requires: tuple[str, ...] = ()
) -> Path:
    """Write a pure-Python wheel (PEP 427) with one module and return its path."""
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    content = {
        f"{name.replace('-', '_')}.py": f"VERSION = {version!r}\n",
        **(files or {}),
        f"{info}/METADATA": metadata + "".join(f"Requires-Dist: {each}\n" for each in requires),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = []
    for path, text in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        rows.append(f"{path},sha256={digest},{len(text.encode())}")
    content[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,"]) + "\n"
    wheel = directory / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in content.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return wheel


class LocalIndex:
    """A simple index (PEP 503) on loopback over real wheels; `delay_s` makes its files slow."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.delay_s = 0.0
        self.requests = 0
        index = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                index.requests += 1
                if self.path.endswith(".whl"):
                    time.sleep(index.delay_s)
                super().do_GET()

            def log_message(self, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(root)))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/simple/"

    def add(
        self, name: str, version: str, *, files: dict[str, str] | None = None, requires: tuple[str, ...] = ()
    ) -> Path:
        """Publish a wheel."""
        project = self.root / "simple" / name
        project.mkdir(parents=True, exist_ok=True)
        wheel = make_wheel(project, name, version, files=files, requires=requires)
        links = [
            f'<a href="{each.name}#sha256={hashlib.sha256(each.read_bytes()).hexdigest()}">{each.name}</a>'
            for each in sorted(project.glob("*.whl"))
        ]
        (project / "index.html").write_text("<!doctype html><html><body>" + "\n".join(links) + "</body></html>")
        return wheel

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalIndex]:
    """A local index that pip and uv use instead of any other, with three distributions."""
    (tmp_path / "index").mkdir()
    local = LocalIndex(tmp_path / "index")
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", local.url)
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    local.add("alpha", "1.0", requires=("beta>=1",))
    local.add("beta", "2.0")
    local.add("beta", "2.1")
    local.add("gamma-ray", "0.5")
    yield local
    local.close()


def get_uv() -> str:
    """Return uv, which the test environment always has."""
    uv = find_uv()
    assert uv is not None
    return uv


class TestEnvironment:
    """A private environment to take snapshots of, installed by uv."""

    __test__ = False

    def __init__(self, path: Path, *, python: str = sys.executable) -> None:
        self.path = path
        self.python = str(path / "bin" / "python")
        self._run("venv", "--quiet", "--python", python, str(path))

    def _run(self, *args: str) -> None:
        environ = {**os.environ, "UV_CACHE_DIR": str(TEST_HOME / "uv-cache")}
        if "PIP_INDEX_URL" in environ:
            environ["UV_DEFAULT_INDEX"] = environ["PIP_INDEX_URL"]
        subprocess.run([get_uv(), *args], check=True, env=environ, stdin=subprocess.DEVNULL)

    def install(self, *requirements: str) -> TestEnvironment:
        """Install without dependencies."""
        self._run("pip", "install", "--quiet", "--no-deps", "--python", self.python, *requirements)
        return self

    @property
    def site(self) -> Path:
        """Its site-packages."""
        return next(self.path.glob("lib/python*/site-packages"))


@pytest.fixture
def environment(tmp_path: Path, index: LocalIndex) -> TestEnvironment:
    """An environment with alpha 1.0 and beta 2.0 of the local index."""
    return TestEnvironment(tmp_path / "env").install("alpha==1.0", "beta==2.0")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """An empty cache directory."""
    path = tmp_path / "cache"
    path.mkdir()
    return path


class Cli:
    """The command as a user has it: a process with exit code, stdout and stderr."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache

    def start(self, *args: str) -> subprocess.Popen[str]:
        """Start the command and return the process."""
        return subprocess.Popen(
            [sys.executable, "-m", "repro", *args],
            env={**os.environ, "MLFLOW_SNAPSHOT_CACHE": str(self.cache)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *args: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run the command; never a traceback, and the exit code expected."""
        process = self.start(*args)
        stdout, stderr = process.communicate(timeout=300)
        assert "Traceback" not in stderr + stdout, stderr
        if code is not None:
            assert process.returncode == code, f"exit code {process.returncode}\n{stdout}\n{stderr}"
        return subprocess.CompletedProcess(args, process.returncode, stdout, stderr)


@pytest.fixture
def cli(cache: Path) -> Cli:
    """The command line with a cache of its own."""
    return Cli(cache)


@pytest.fixture(scope="session")
def science() -> TestEnvironment:
    """The environment of the wine project, made once from the real index."""
    import filelock

    path = TEST_HOME / "science"
    TEST_HOME.mkdir(exist_ok=True)
    with filelock.FileLock(TEST_HOME / "science.lock"):
        if (path / "complete").exists():
            return _reopen(path)
        made = TestEnvironment(path)
        subprocess.run(
            [get_uv(), "pip", "install", "--quiet", "--python", made.python, "-r",
             str(REPOSITORY / "fixtures/projects/wine/requirements.in")],
            check=True, env={**os.environ, "UV_CACHE_DIR": str(TEST_HOME / "uv-cache")},
        )  # fmt: skip
        (path / "complete").touch()
    return made


def _reopen(path: Path) -> TestEnvironment:
    made = TestEnvironment.__new__(TestEnvironment)
    made.path = path
    made.python = str(path / "bin" / "python")
    return made
