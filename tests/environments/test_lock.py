"""Locking loose requirements and the locks of other tools, with real resolvers on real local indexes."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from conftest import Cli, LocalIndex, get_uv, make_wheel

from repro.environments.lock import LockRequest, lock_requirements
from repro.environments.machine import Machine
from repro.errors import ReproError
from repro.formats.direct_url import Archive, Index, Vcs
from repro.formats.lockfile import Snapshot
from repro.snapshots.load import load_lock

ENGINES = ("uv", "pip-tools")


@pytest.fixture(autouse=True)
def python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lock for the Python that runs the tests."""
    monkeypatch.setenv("MLFLOW_PYTHON_BIN", sys.executable)


def lock(*files: str, cache: Path, **choices: object) -> Snapshot:
    machine = Machine.here(cache=str(cache))
    request = LockRequest(files=tuple(map(Path, files)), **choices)  # type: ignore[arg-type]
    return lock_requirements(machine, request).snapshot


def get_pins(snapshot: Snapshot) -> dict[str, str]:
    return {each.name: each.version for each in snapshot.distributions}


def serve(directory: Path, handler: type[http.server.SimpleHTTPRequestHandler]) -> http.server.ThreadingHTTPServer:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(directory)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Files, without a log."""

    def log_message(self, *args: object) -> None:
        pass


class JsonIndex(Quiet):
    """A simple index with upload times (PEP 691, PEP 700): `<version>` was uploaded in the year 2000 + its major."""

    def do_GET(self) -> None:
        project = Path(self.directory, self.path.strip("/").removeprefix("simple/"))
        if not project.is_dir():
            return super().do_GET()
        files = [
            {
                "filename": wheel.name,
                "url": f"/{wheel.relative_to(self.directory)}",
                "hashes": {"sha256": hashlib.sha256(wheel.read_bytes()).hexdigest()},
                "upload-time": f"20{int(wheel.name.split('-')[1].split('.')[0]):02}-06-01T12:00:00.5Z",
                "yanked": "it is bad" if "-9.0-" in wheel.name else False,
                "size": wheel.stat().st_size,
            }
            for wheel in sorted(project.glob("*.whl"))
        ]
        body = json.dumps({"meta": {"api-version": "1.1"}, "name": project.name, "files": files}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.pypi.simple.v1+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return None


@pytest.fixture
def timed_index(tmp_path: Path, index: LocalIndex) -> Iterator[str]:
    """The URL of an index that says when its files were uploaded: delta 10.0, 11.0 and 12.0."""
    root = tmp_path / "timed"
    (root / "delta").mkdir(parents=True)
    for version in ("9.0", "10.0", "11.0", "12.0"):
        make_wheel(root / "delta", "delta", version)
    server = serve(root, JsonIndex)
    yield f"http://127.0.0.1:{server.server_address[1]}/simple"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("engine", ENGINES)
def test_requirements_become_pins_with_hashes_and_who_requires_them(
    engine: str, index: LocalIndex, cache: Path
) -> None:
    Path("r.in").write_text("Alpha\n-c c.txt\n")
    Path("c.txt").write_text("beta<2.1\n")
    snapshot = lock("r.in", cache=cache, engine=engine)
    assert get_pins(snapshot) == {"alpha": "1.0", "beta": "2.0"}
    alpha, beta = snapshot.distributions
    wheel = index.root / "simple" / "alpha" / "alpha-1.0-py3-none-any.whl"
    assert alpha.hashes == (f"sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}",)
    assert (alpha.requested, beta.requested, beta.via) == (True, False, ("alpha",))
    assert {(each.record, each.proof, each.file) for each in snapshot.distributions} == {(None, None, None)}


def test_both_engines_write_the_same_bytes(index: LocalIndex, cli: Cli) -> None:
    Path("r.in").write_text("alpha\ngamma-ray\n")
    for engine in ENGINES:
        cli("lock", "r.in", "--engine", engine, "-o", f"{engine}.txt")
    assert Path("uv.txt").read_bytes() == Path("pip-tools.txt").read_bytes()


def test_a_lock_restores_and_a_snapshot_of_that_adds_what_only_files_can_tell(index: LocalIndex, cli: Cli) -> None:
    Path("r.in").write_text("alpha\n")
    assert "written: 2 distributions of Python" in cli("lock", "r.in").stdout
    made = json.loads(cli("restore", "--json").stdout)
    cli("snapshot", "--python", made["python"])
    taken = load_lock(".").snapshot
    assert all(each.record for each in taken.distributions)
    assert "up to date" in cli("lock", "r.in", "--check").stdout
    cli("lock", "r.in")
    assert [each.record for each in load_lock(".").snapshot.distributions] == [
        each.record for each in taken.distributions
    ]


def test_what_changes_is_said_and_check_only_answers(index: LocalIndex, cli: Cli) -> None:
    Path("r.in").write_text("alpha\nbeta<2.1\n")
    cli("lock", "r.in")
    before = Path("requirements-lock.txt").read_bytes()
    assert "nothing changed since the last lock" in cli("lock", "r.in", "--check").stdout
    Path("r.in").write_text("alpha\n")
    assert "~ beta 2.0 -> 2.1" in cli("lock", "r.in", "--check", code=1).stdout
    assert Path("requirements-lock.txt").read_bytes() == before
    done = json.loads(cli("lock", "r.in", "--json").stdout)
    assert (done["would_change"], done["written"], done["counts"]) == (True, True, {"hashed": 2})
    assert cli("lock", "r.in", "--json").stdout != ""
    assert Path("requirements-lock.txt").read_bytes() != before


def test_new_files_of_an_old_version_are_no_change(index: LocalIndex, cli: Cli) -> None:
    Path("r.in").write_text("beta==2.0\n")
    cli("lock", "r.in")
    before = Path("requirements-lock.txt").read_bytes()
    wheel = index.root / "simple" / "beta" / "beta-2.0-py3-none-any.whl"
    other = wheel.with_name("beta-2.0-1-py3-none-any.whl")
    other.write_bytes(wheel.read_bytes() + b"\n")
    index.add("beta", "2.2")
    cli("lock", "r.in", "--check")
    cli("lock", "r.in")
    assert Path("requirements-lock.txt").read_bytes() == before


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("date", "version"), [("2010-06-01", "10.0"), ("2011-06-01T12:00:00Z", "10.0"), ("2030-01-01", "12.0")]
)
def test_a_date_leaves_out_what_came_later(
    engine: str, date: str, version: str, timed_index: str, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("r.in").write_text(f"--index-url {timed_index}\ndelta\n")
    cli("lock", "r.in", "--as-of", date, "--engine", engine)
    snapshot = load_lock(".").snapshot
    assert get_pins(snapshot) == {"delta": version}
    assert snapshot.index_urls == (timed_index,)
    assert date not in Path("requirements-lock.txt").read_text()


def test_a_yanked_version_is_warned_about(timed_index: str, cli: Cli) -> None:
    Path("r.in").write_text("delta==9.0\n")
    done = cli("lock", "r.in", "--index-url", timed_index)
    assert "warning: `delta` 9.0 was yanked: it is bad" in done.stderr


def test_hashes_that_stand_in_the_file_are_the_ones_that_are_allowed(index: LocalIndex, cache: Path) -> None:
    wheel = index.root / "simple" / "beta" / "beta-2.0-py3-none-any.whl"
    good = hashlib.sha256(wheel.read_bytes()).hexdigest()
    Path("r.in").write_text(f"beta==2.0 --hash=sha256:{good} --hash=sha256:{'0' * 64}\n")
    assert lock("r.in", cache=cache).distributions[0].hashes == (f"sha256:{good}",)
    Path("r.in").write_text(f"\nbeta==2.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(ReproError, match=r"r\.in, line 2: no file of `beta` has a hash that stands there"):
        lock("r.in", cache=cache)


@pytest.mark.parametrize("engine", ENGINES)
def test_no_secret_of_an_index_reaches_a_lock_or_a_message(
    engine: str, index: LocalIndex, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "s3cret")
    with_secret = index.url.replace("http://", "http://user:${TOKEN}@")
    Path("r.in").write_text(f"-i {with_secret}\nbeta\n")
    done = cli("lock", "r.in", "--engine", engine, "-v")
    assert "s3cret" not in done.stdout + done.stderr + Path("requirements-lock.txt").read_text()
    assert load_lock(".").snapshot.index_urls == (index.url,)
    Path("r.in").write_text(f"-i {with_secret}\nbeta\nnope>1\n")
    done = cli("lock", "r.in", "--engine", engine, "-v", code=5)
    assert "s3cret" not in done.stdout + done.stderr
    assert "error: no versions fit these requirements" in done.stderr
    assert "nope" in done.stderr
    hidden = index.url.replace("/simple", "/${TOKEN}/../simple")
    Path("r.in").write_text(f"-i {index.url}\n--extra-index-url {hidden}\nbeta\n")
    cli("lock", "r.in", "--engine", engine)
    assert "s3cret" not in Path("requirements-lock.txt").read_text()


@pytest.mark.parametrize("engine", ENGINES)
def test_an_index_that_cannot_be_reached_is_told(engine: str, index: LocalIndex, cli: Cli) -> None:
    Path("r.in").write_text("beta\n")
    done = cli("lock", "r.in", "--engine", engine, "--index-url", "http://127.0.0.1:9/simple", code=5)
    assert "no package index can be reached, so no versions can be chosen" in done.stderr


@pytest.fixture
def repository(tmp_path: Path, index: LocalIndex) -> Iterator[tuple[str, str]]:
    """The URL of a git repository over HTTP, and the commit of its branch `main`."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "mine"\nversion = "0.3"\ndependencies = ["beta"]\n'
    )
    (source / "backend.py").write_text(
        "import pathlib\n"
        "def prepare_metadata_for_build_wheel(directory, config_settings=None):\n"
        "    info = pathlib.Path(directory, 'mine-0.3.dist-info')\n"
        "    info.mkdir()\n"
        "    text = 'Metadata-Version: 2.1\\nName: mine\\nVersion: 0.3\\nRequires-Dist: beta\\n'\n"
        "    (info / 'METADATA').write_text(text)\n"
        "    return info.name\n"
    )
    environ = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}

    def git(*args: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        done = subprocess.run(["git", *who, *args], check=True, env=environ, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "--quiet", "-b", "main", str(source))
    git("-C", str(source), "add", "-A")
    git("-C", str(source), "commit", "--quiet", "-m", "first")
    served = tmp_path / "served"
    git("clone", "--quiet", "--bare", str(source), str(served / "mine.git"))
    git("-C", str(served / "mine.git"), "update-server-info")
    server = serve(served, Quiet)
    yield f"http://127.0.0.1:{server.server_address[1]}/mine.git", git("-C", str(source), "rev-parse", "HEAD")
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_branch_becomes_its_commit(engine: str, repository: tuple[str, str], cache: Path) -> None:
    url, commit = repository
    Path("r.in").write_text(f"mine @ git+{url.replace('//', '//user:s3cret@')}@main\n")
    snapshot = lock("r.in", cache=cache, engine=engine)
    assert get_pins(snapshot) == {"beta": "2.1", "mine": "0.3"}
    assert snapshot.distributions[1].source == Vcs(vcs="git", url=url, commit=commit)
    assert snapshot.distributions[0].via == ("mine",)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_archive_is_locked_by_its_hash(engine: str, index: LocalIndex, cache: Path) -> None:
    wheel = index.root / "simple" / "beta" / "beta-2.0-py3-none-any.whl"
    url = f"{index.url}beta/{wheel.name}"
    Path("r.in").write_text(f"{url.replace('//', '//user:s3cret@')}?token=s3cret\n")
    (beta,) = lock("r.in", cache=cache, engine=engine).distributions
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert (beta.version, beta.source) == ("2.0", Archive(url=url, sha256=sha256))
    assert beta.hashes == (f"sha256:{sha256}",)


def test_files_beside_the_project_are_found_and_an_index_of_one_distribution_is_named(
    index: LocalIndex, tmp_path: Path, cache: Path
) -> None:
    Path("links").mkdir()
    make_wheel(Path("links"), "local-one", "1.0")
    more = LocalIndex(tmp_path / "more")
    try:
        more.add("delta", "3.0+cpu")
        Path("r.in").write_text(f"local-one\ndelta\n-f links\n--extra-index-url {more.url}\n")
        snapshot = lock("r.in", cache=cache)
    finally:
        more.close()
    assert get_pins(snapshot) == {"delta": "3.0+cpu", "local-one": "1.0"}
    assert [each.source for each in snapshot.distributions] == [Index(url=more.url), Index()]
    assert snapshot.index_urls == (index.url, more.url)


def test_the_python_that_is_asked_for_is_the_one_that_is_locked_for(index: LocalIndex, cli: Cli) -> None:
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    Path("python_env.yaml").write_text(f"python: '{minor}.999'\ndependencies: [beta]\n")
    assert f"asks for Python {minor}.999; the lock is for {minor}." in cli("lock", "python_env.yaml").stderr
    Path("python_env.yaml").write_text("python: '2.7.18'\ndependencies: [beta]\n")
    done = cli("lock", "python_env.yaml", code=4)
    assert "python_env.yaml, line 1: Python 2.7.18" in done.stderr
    Path("pyproject.toml").write_text("[project]\nname = 'x'\nrequires-python = '<3'\n")
    assert "pyproject.toml, line 3: Python <3" in cli("lock", "pyproject.toml", code=4).stderr


@pytest.mark.interpreters
@pytest.mark.parametrize("engine", ENGINES)
def test_another_python_is_locked_for_with_its_own_markers(engine: str, index: LocalIndex, cache: Path) -> None:
    Path("conda.yaml").write_text("dependencies:\n- python=3.12\n- pip:\n  - beta; python_version == '3.12'\n")
    snapshot = lock("conda.yaml", cache=cache, engine=engine)
    assert snapshot.interpreter is not None
    assert (snapshot.interpreter.minor, get_pins(snapshot)) == ("3.12", {"beta": "2.1"})


PROJECT = """\
[project]
name = "mine"
version = "1"
requires-python = ">=3.10"
dependencies = ["alpha", "beta<2.1; python_version < '3'"]
[project.optional-dependencies]
ray = ["gamma-ray"]
[dependency-groups]
dev = ["gamma-ray<1"]
"""


def run_uv(*args: str, index: LocalIndex) -> None:
    environ = {**os.environ, "UV_DEFAULT_INDEX": index.url, "UV_CACHE_DIR": str(Path("uv-cache").absolute())}
    subprocess.run([get_uv(), *args, "--quiet"], check=True, env=environ)


@pytest.mark.parametrize("choice", [(), ("--extra", "ray"), ("--group", "dev")])
def test_uv_and_its_locks_lead_to_the_same_lock_as_the_project(
    choice: tuple[str, ...], index: LocalIndex, cli: Cli
) -> None:
    Path("pyproject.toml").write_text(PROJECT)
    run_uv("lock", "--python", sys.executable, index=index)
    run_uv("export", "--frozen", "--no-emit-project", "--no-default-groups", *choice, "-o", "pylock.toml", index=index)
    cli("lock", "pyproject.toml", *choice, "-o", "project.txt")
    cli("lock", "uv.lock", *choice, "-o", "uv.txt")
    cli("lock", "pylock.toml", "-o", "pylock.txt")
    project = load_lock("project.txt").snapshot
    assert set(get_pins(project)) == {"alpha", "beta", *(["gamma-ray"] if choice else [])}
    assert load_lock("uv.txt").snapshot == project
    taken_over = load_lock("pylock.txt").snapshot
    assert [(each.name, each.hashes) for each in taken_over.distributions] == [
        (each.name, each.hashes) for each in project.distributions
    ]


@pytest.mark.parametrize(
    ("args", "code", "sentence"),
    [
        (("gone.txt",), 2, "there is no file `gone.txt`"),
        (("r.in", "--as-of", "yesterday"), 2, "`yesterday` is no date"),
        (("r.in", "--extra", "x"), 2, "none of these files has extras or groups"),
        (("r.in", "--engine", "poetry"), 2, "invalid choice: 'poetry'"),
        (("uv.lock", "r.in"), 2, "`uv.lock` is a lock already, and is read alone"),
        (("uv.lock", "--as-of", "2026-01-01"), 2, "no date changes what it chose"),
        (("uv.lock",), 3, "`uv.lock` has format `None`; this repro reads 1"),
        (("pylock.toml",), 3, "`pylock.toml` is not a pylock.toml: Missing required value in 'lock-version'"),
        (("pylock.dirs.toml",), 5, "pylock.dirs.toml: `x` is a local path"),
        (("bad.in",), 5, "bad.in, line 1: `mlflow == 2..7.1` is not a requirement"),
        (("r.in", "-o", "/dev/null/lock"), 5, "`/dev/null/lock` cannot be written"),
        (("r.in", "--python", "/no/python"), 4, "`/no/python` cannot be run"),
    ],
)
def test_each_bad_input_gets_one_sentence_and_its_exit_code(
    args: tuple[str, ...], code: int, sentence: str, index: LocalIndex, cli: Cli
) -> None:
    Path("r.in").write_text("beta\n")
    Path("bad.in").write_text("mlflow == 2..7.1\n")
    Path("uv.lock").write_text("")
    Path("pylock.toml").write_text("")
    Path("pylock.dirs.toml").write_text(
        "lock-version = '1.0'\ncreated-by = 'x'\n[[packages]]\nname = 'x'\ndirectory = {path = 'x'}\n"
    )
    assert sentence in cli("lock", *args, code=code).stderr
    assert not Path("requirements-lock.txt").exists()


def test_nothing_wanted_is_an_empty_lock(index: LocalIndex, cli: Cli) -> None:
    Path("r.in").write_text("# nothing yet\n")
    assert "0 distributions" in cli("lock", "r.in").stdout
    assert load_lock(".").snapshot.distributions == ()
