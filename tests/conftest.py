"""What all tests share: no home directory, no variables of the machine, and real wheels on a real local index."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from api_client import Api
from hypothesis import settings as hypothesis_settings
from mlflow_server import MlflowServer
from repositories import GitServer, serving_git
from servers import LoopbackServer

from repro.formats.tags import expand_tags
from repro.snapshots.uv import find_uv
from repro.tracking.file_store import FileStore
from repro.tracking.server import serve_in_background

hypothesis_settings.register_profile("repro", deadline=None)  # no test asserts a time
hypothesis_settings.load_profile("repro")

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
    directory: Path,
    name: str,
    version: str,
    *,
    files: dict[str, str] | None = None,
    requires: tuple[str, ...] = (),
    tag: str = "py3-none-any",
    build: str = "",
) -> Path:
    """Write a wheel (PEP 427) with one module and return its path; `tag` may be a compressed set."""
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    tags = "".join(f"Tag: {each}\n" for each in sorted(expand_tags(tag)))
    content = {
        f"{name.replace('-', '_')}.py": f"VERSION = {version!r}\n",
        **(files or {}),
        f"{info}/METADATA": metadata + "".join(f"Requires-Dist: {each}\n" for each in requires),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n{tags}",
    }
    rows = []
    for path, text in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        rows.append(f"{path},sha256={digest},{len(text.encode())}")
    content[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,"]) + "\n"
    wheel = directory / f"{stem}-{f'{build}-' if build else ''}{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in content.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return wheel


class LocalIndex:
    """A simple index on loopback over real files, HTML (PEP 503) or with `json` JSON (PEP 691), and a file server.

    `delay_s` makes its files slow, `failures` lets that many next requests end with 503, `login` (`user:password`) is
    demanded where it is set, `yanked` has reasons by file name, `uploaded` times (in JSON), `has_metadata` tells the
    sha256 of METADATA (PEP 714), without `ranges` a part of a file cannot be had, and one that `cuts_off` sends half of
    each wheel it promises.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.delay_s = 0.0
        self.requests = 0
        self.paths: list[str] = []
        self.json = False
        self.failures = 0
        self.login: str | None = None
        self.yanked: dict[str, str] = {}
        self.uploaded: dict[str, str] = {}
        self.has_metadata = False
        self.ranges = True
        self.cuts_off = False
        index = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                index.requests += 1
                index.paths.append(self.path)
                if not self._is_let_in():
                    return
                if self.path.endswith(".whl"):
                    time.sleep(index.delay_s)
                project = index.root / self.path.strip("/")
                if index.cuts_off and self.path.endswith(".whl"):
                    self._answer_half(project.read_bytes())
                    return
                if self.path.startswith("/simple/") and self.path.endswith("/") and project.is_dir():
                    self._answer(*index.format_page(project))
                elif index.ranges and self.headers.get("Range") and project.is_file():
                    self._answer_range(project.read_bytes(), self.headers["Range"])
                else:
                    super().do_GET()

            def _is_let_in(self) -> bool:
                if index.failures > 0:
                    index.failures -= 1
                    self._answer(b"", "text/plain", 503, {"Retry-After": "0"})
                    return False
                if (
                    index.login
                    and self.headers.get("Authorization") != "Basic " + base64.b64encode(index.login.encode()).decode()
                ):
                    self._answer(b"", "text/plain", 401, {"WWW-Authenticate": 'Basic realm="index"'})
                    return False
                return True

            def _answer_half(self, content: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2])
                self.close_connection = True

            def _answer_range(self, content: bytes, stated: str) -> None:
                first, _, last = stated.removeprefix("bytes=").partition("-")
                start = int(first) if first else max(len(content) - int(last), 0)
                end = int(last) + 1 if first and last else len(content)
                where = f"bytes {start}-{min(end, len(content)) - 1}/{len(content)}"
                self._answer(content[start:end], "application/octet-stream", 206, {"Content-Range": where})

            def _answer(
                self, content: bytes, kind: str, status: int = 200, headers: dict[str, str] | None = None
            ) -> None:
                self.send_response(status)
                for name, value in {
                    "Content-Type": kind,
                    "Content-Length": str(len(content)),
                    **(headers or {}),
                }.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: object) -> None:
                pass

        self._server = LoopbackServer(("127.0.0.1", 0), partial(Handler, directory=str(root)))
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.host}/simple/"

    def format_page(self, project: Path) -> tuple[bytes, str]:
        """Return a project's page and its type."""
        files = [each for each in sorted(project.iterdir()) if each.suffix in (".whl", ".gz")]
        return self._format_json(files) if self.json else self._format_html(files)

    def _format_html(self, files: list[Path]) -> tuple[bytes, str]:
        links = []
        for each in files:
            sha256 = hashlib.sha256(each.read_bytes()).hexdigest()
            yanked = f' data-yanked="{self.yanked[each.name]}"' if each.name in self.yanked else ""
            metadata = f' data-core-metadata="sha256={_hash_metadata(each)}"' if self._tells_metadata(each) else ""
            links.append(f'<a href="{each.name}#sha256={sha256}"{yanked}{metadata}>{each.name}</a>')
        return ("<!doctype html><html><body>" + "\n".join(links) + "</body></html>").encode(), "text/html"

    def _format_json(self, files: list[Path]) -> tuple[bytes, str]:
        entries = [
            {
                "filename": each.name,
                "url": each.name,
                "hashes": {"sha256": hashlib.sha256(each.read_bytes()).hexdigest()},
                "size": each.stat().st_size,
                "yanked": self.yanked.get(each.name, False),
                **({"upload-time": self.uploaded[each.name]} if each.name in self.uploaded else {}),
                **({"core-metadata": {"sha256": _hash_metadata(each)}} if self._tells_metadata(each) else {}),
            }
            for each in files
        ]
        page = {"meta": {"api-version": "1.1"}, "name": "x", "files": entries}
        return json.dumps(page).encode(), "application/vnd.pypi.simple.v1+json"

    def _tells_metadata(self, file: Path) -> bool:
        return self.has_metadata and file.suffix == ".whl"

    def add(
        self,
        name: str,
        version: str,
        *,
        files: dict[str, str] | None = None,
        requires: tuple[str, ...] = (),
        tag: str = "py3-none-any",
        build: str = "",
    ) -> Path:
        """Publish a wheel."""
        project = self.root / "simple" / name
        project.mkdir(parents=True, exist_ok=True)
        return make_wheel(project, name, version, files=files, requires=requires, tag=tag, build=build)

    def add_sdist(self, source: Path, name: str, version: str) -> Path:
        """Publish the sdist of a directory, as it is."""
        project = self.root / "simple" / name
        project.mkdir(parents=True, exist_ok=True)
        path = project / f"{name.replace('-', '_')}-{version}.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            archive.add(source, arcname=f"{name.replace('-', '_')}-{version}")
        return path

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _hash_metadata(wheel: Path) -> str:
    with zipfile.ZipFile(wheel) as archive:
        name = next(each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        return hashlib.sha256(archive.read(name)).hexdigest()


BACKEND = """
import base64, hashlib, zipfile
from pathlib import Path

def build_wheel(directory, config_settings=None, metadata_directory=None):
    name, version, generator = Path("NAME").read_text().split()
    info = f"{name}-{version}.dist-info/"
    files = {str(p.relative_to("src")): p.read_bytes() for p in sorted(Path("src").rglob("*.py"))}
    files[info + "METADATA"] = f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n".encode()
    files[info + "WHEEL"] = (
        f"Wheel-Version: 1.0\\nGenerator: {generator}\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n".encode()
    )
    rows = []
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        rows.append(f"{path},sha256={digest},{len(content)}")
    files[info + "RECORD"] = ("\\n".join(rows) + f"\\n{info}RECORD,,\\n").encode()
    wheel = f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(Path(directory, wheel), "w") as archive:
        for path, content in files.items():
            archive.writestr(zipfile.ZipInfo(path), content)
    return wheel

def build_editable(directory, config_settings=None, metadata_directory=None):
    name, version, generator = Path("NAME").read_text().split()
    info = f"{name}-{version}.dist-info/"
    wheel = f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(Path(directory, wheel), "w") as archive:
        archive.writestr(f"{name}.pth", str(Path("src").absolute()))
        archive.writestr(info + "METADATA", f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
        archive.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr(info + "RECORD", f"{name}.pth,,\\n{info}METADATA,,\\n{info}WHEEL,,\\n{info}RECORD,,\\n")
    return wheel
"""


def make_project(directory: Path, name: str, version: str, *, files: dict[str, str] | None = None) -> Path:
    """Write a project that builds itself, with no build requirement and so with no network, and return it."""
    source = {f"{name}.py": f"VERSION = {version!r}\n", **(files or {})}
    for path, text in source.items():
        place = directory / "src" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    (directory / "NAME").write_text(f"{name} {version} local-build")
    (directory / "backend.py").write_text(BACKEND)
    (directory / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        f'[project]\nname = "{name}"\nversion = "{version}"\n'
    )
    return directory


def commit_all(directory: Path) -> str:
    """Make a directory a git repository, commit what is in it, and return the commit."""
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(directory)]
    for args in (["init", "-q"], ["add", "."], ["commit", "-qm", "a commit"]):
        subprocess.run([*git, *args], check=True)
    return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


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
        # Ports of local indexes come again, and tests write into files that would be links to the cache's.
        environ = {**os.environ, "UV_NO_CACHE": "1"}
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


def make_once(name: str, *requirements: str, python: str = sys.executable, with_pip: bool = False) -> TestEnvironment:
    """Make an environment from the real index, with dependencies, for all tests of this and later sessions.

    It is made `with_pip` where pip's own configuration may have files at hand that are too large to download.
    """
    import filelock

    path = TEST_HOME / name
    TEST_HOME.mkdir(exist_ok=True)
    with filelock.FileLock(TEST_HOME / f"{name}.lock"):
        if (path / "complete").exists():
            return _reopen(path)
        shutil.rmtree(path, ignore_errors=True)
        made = TestEnvironment(path, python=python)
        if with_pip:
            made.install("pip")
        installer = [made.python, "-m", "pip", "install"]
        if not with_pip:
            installer = [get_uv(), "pip", "install", "--python", made.python]
        subprocess.run(
            [*installer, "--quiet", *requirements],
            check=True, env={**os.environ, "UV_CACHE_DIR": str(TEST_HOME / "uv-cache")},
        )  # fmt: skip
        (path / "complete").touch()
    return made


@pytest.fixture(scope="session")
def science() -> TestEnvironment:
    """The environment of the wine project."""
    return make_once("science", "-r", str(REPOSITORY / "fixtures/projects/wine/requirements.in"))


@pytest.fixture(scope="session")
def mlflow() -> TestEnvironment:
    """The newest MLflow, with scikit-learn and pandas."""
    return make_once("mlflow", "mlflow==3.17.2", "scikit-learn", "pandas")


@pytest.fixture(scope="session")
def ipython() -> TestEnvironment:
    """IPython with this checkout."""
    return make_once("ipython", "ipython>=9", "-e", str(REPOSITORY))


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    """An empty directory of runs."""
    return FileStore(tmp_path / "mlruns")


@pytest.fixture
def api(store: FileStore) -> Iterator[Api]:
    """A tracking server over it that lets everybody in."""
    endpoint = serve_in_background(store, token=None)
    yield Api(endpoint.uri)
    endpoint.close()


@pytest.fixture(scope="session")
def mlflow_server(mlflow: TestEnvironment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """A real MLflow server on SQLite; a test that stops it starts it again."""
    server = MlflowServer(mlflow.python, tmp_path_factory.mktemp("mlflow-server"))
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def mlflow_file_server(mlflow: TestEnvironment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """A real MLflow server on plain files, which keeps a point twice that it is sent twice."""
    server = MlflowServer(mlflow.python, tmp_path_factory.mktemp("mlflow-file-server"), files=True)
    try:
        yield server.start()
    finally:
        server.stop()


def _reopen(path: Path) -> TestEnvironment:
    made = TestEnvironment.__new__(TestEnvironment)
    made.path = path
    made.python = str(path / "bin" / "python")
    return made


@pytest.fixture
def git_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make git know an author, and nothing of this machine; submodules may be on it, which git else refuses."""
    path = tmp_path / "gitconfig"
    path.write_text(
        '[user]\nname = ada\nemail = ada@example.org\n[protocol "file"]\nallow = always\n[init]\ndefaultBranch = main\n'
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    return path


@pytest.fixture
def git_server(tmp_path: Path) -> Iterator[GitServer]:
    """A server of `tmp_path / "served"`."""
    root = tmp_path / "served"
    root.mkdir(exist_ok=True)
    with serving_git(root) as server:
        yield server
