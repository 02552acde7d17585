"""No secret that stands in a configuration is found in anything that is said or kept."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from conftest import Cli, LocalIndex, TestEnvironment, commit_all, make_project
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from servers import JSON, Answer, Request, serve, serve_directory

# What is between two words that nothing else holds: a leak of either half is found.
ODD = st.text(st.sampled_from("/@%:?#&=+ '\"`)(\\$é~!*;,[]{}<>|^-_.aZ0"), max_size=6)
ONCE_EACH = settings(
    max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


class Secrets:
    """Secrets, each with words of its own, and where none of these words may be."""

    def __init__(self, odd: str) -> None:
        self._odd = odd
        self._words: list[str] = []

    def make(self) -> str:
        """Return a new secret."""
        number = len(self._words)
        self._words += [f"Qx{number}leftzW", f"Wz{number}rightXq"]
        return self._odd.join(self._words[-2:])

    def check(self, text: str, where: str) -> None:
        """Fail where a text holds any of the words."""
        found = [word for word in self._words if word.casefold() in text.casefold()]
        assert not found, f"{where} holds {found}:\n{text[:3000]}"

    def check_tree(self, root: Path, *, skipped: tuple[str, ...] = ()) -> None:
        """Fail where the name or content of a file below a directory does."""
        for path in root.rglob("*"):
            relative = path.relative_to(root)
            if path.is_file() and not any(str(relative).startswith(each) for each in skipped):
                self.check(f"{relative}\n{path.read_bytes().decode('latin-1')}", str(path))


class Scene:
    """A project and a cache of their own, and commands whose every word is checked."""

    def __init__(self, secrets: Secrets, root: Path) -> None:
        self.secrets = secrets
        self.project = root / "project"
        self.project.mkdir()
        self.cache = root / "cache"
        self.home = root / "home"
        self.home.mkdir()

    def run(self, *args: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        done = Cli(self.cache)(*args, code=code)
        self.secrets.check(done.stdout, f"the output of {args}")
        self.secrets.check(done.stderr, f"the messages of {args}")
        return done

    def check(self) -> None:
        """Check everything that was kept; what uv, pip and git keep for themselves is theirs."""
        rooms = tuple(f"repro/v1/{room}" for room in ("uv", "pip", "pip-tools", "virtualenv"))
        self.secrets.check_tree(self.cache, skipped=rooms)
        self.secrets.check_tree(self.project, skipped=("uv.toml", "copy/.git/"))


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Variables that are set anew for each example."""
    with monkeypatch.context() as patch:
        yield patch


def make_scene(odd: str, patch: pytest.MonkeyPatch, root: str) -> Scene:
    patch.undo()
    patch.delenv("PIP_INDEX_URL", raising=False)
    scene = Scene(Secrets(odd), Path(root))
    patch.setenv("HOME", str(scene.home))
    patch.setenv("XDG_CONFIG_HOME", str(scene.home / ".config"))
    patch.delenv("PIP_CONFIG_FILE", raising=False)
    return scene


def plant(scene: Scene, patch: pytest.MonkeyPatch, url: str, host: str) -> str:
    """Put a secret in every place that there is, and return the URL of the index with its own."""
    make = scene.secrets.make
    config = scene.home / ".config" / "pip"
    config.mkdir(parents=True)
    own = url.replace("://", f"://user:{quote(make(), safe='')}@") + f"?key={quote(make(), safe='')}"
    other = f"http://user:{quote(make(), safe='')}@{host}/other/simple"
    config.joinpath("pip.conf").write_text(
        f"[global]\nindex-url = {own}\nextra-index-url = {other}\n"
        f"find-links = http://{quote(make(), safe='')}@{host}/links/?token={quote(make(), safe='')}\n"
    )
    third = quote(make(), safe="")
    (scene.project / "uv.toml").write_text(
        f'[[index]]\nname = "named"\nurl = "http://{host}/named/simple"\n'
        f'[[index]]\nurl = "http://user:{third}@{host}/third/simple"\nexplicit = true\n'
    )
    netrc = make().replace(" ", "_").replace("'", "_").replace('"', "_").replace("\\", "_").replace("#", "_")
    (scene.home / ".netrc").write_text(f"machine example.org login me password {netrc}\n")
    patch.setenv("UV_INDEX_NAMED_PASSWORD", make())
    patch.setenv("HTTP_PROXY", f"http://proxy:{quote(make(), safe='')}@127.0.0.1:9")
    patch.setenv("NO_PROXY", "127.0.0.1")
    return own


def edit_remote(project: Path, secret: str) -> None:
    remote = f"https://user:{secret}@git.example.org/x.git"
    subprocess.run(["git", "-C", str(project), "remote", "add", "origin", remote], check=True)


@ONCE_EACH
@given(odd=ODD)
@example(odd="/@%:")
def test_no_secret_is_in_what_working_commands_say_or_keep(
    odd: str, environment: TestEnvironment, index: LocalIndex, stage: pytest.MonkeyPatch
) -> None:
    files = serve_directory(index.root)
    seen: list[str] = []

    def script(request: Request) -> Answer:
        seen.append(request.headers.get("authorization", ""))
        if request.path.startswith("/simple/") and "authorization" not in request.headers:
            return Answer(status=401)
        return files(request)

    with tempfile.TemporaryDirectory() as root, serve(script) as server:
        scene = make_scene(odd, stage, root)
        plant(scene, stage, server.url, server.host)
        (index.root / "links").mkdir(exist_ok=True)
        working_copy = make_project(scene.project / "copy", "copied", "0.1")
        commit_all(working_copy)
        edit_remote(working_copy, scene.secrets.make().replace("\\", "").replace(" ", ""))
        environment.install("--editable", str(working_copy))
        (scene.project / "train.py").write_text("print('trained')\n")
        where = (str(scene.project), "--python", environment.python)
        scene.run("snapshot", *where, "-v", "--json")
        scene.run("snapshot", *where, "-v", "--prove")
        scene.run("snapshot", *where)
        scene.run("restore", str(scene.project), "-v", "--engine", "uv", "--json")
        scene.run("status", str(scene.project), "-v", code=None)
        (scene.project / "requirements.in").write_text("beta\n")
        scene.run(
            "lock",
            str(scene.project / "requirements.in"),
            "-v",
            "--json",
            "-o",
            str(scene.project / "b.txt"),
            code=None,
        )
        scene.run("export", str(scene.project), "-f", "pylock", "-o", str(scene.project / "pylock.toml"), code=None)
        stage.chdir(working_copy)
        scene.run("run", ".", "-e", "src/copied.py", "--python", environment.python, "-v", code=None)
        stage.chdir(index.root)
        scene.check()
        assert any(seen)
        assert "--hash=sha256:" in (scene.project / "requirements-lock.txt").read_text()


FAILURES = [
    Answer(status=401, headers={"WWW-Authenticate": "Basic realm=x"}),
    Answer(status=500),
    Answer(body=b"<html>", kind=JSON),
    Answer(status=302, headers={"Location": "/simple/"}),
]


def copy_lock(scene: Scene, lock: str) -> None:
    (scene.project / "requirements-lock.txt").write_text(lock)


@pytest.mark.parametrize("answer", FAILURES)
@settings(ONCE_EACH, max_examples=1)
@given(odd=ODD)
@example(odd="@/:%#?'`)")
def test_no_secret_is_in_what_failing_indexes_make_us_say(
    answer: Answer, odd: str, environment: TestEnvironment, index: LocalIndex, stage: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as root, serve(lambda request: answer) as server:
        scene = make_scene(odd, stage, root)
        plant(scene, stage, server.url, server.host)
        where = (str(scene.project), "--python", environment.python, "-v")
        scene.run("snapshot", *where, "--json", code=None)
        copy_lock(scene, f"alpha==1.0 --hash=sha256:{'a' * 64}\n")
        scene.run("restore", str(scene.project), "-v", "--engine", "uv", code=4)
        scene.check()


@pytest.mark.parametrize("quoting", ["quoted", "raw"])
@settings(ONCE_EACH, max_examples=2)
@given(odd=ODD)
@example(odd="/@?#")
def test_no_secret_is_in_what_is_said_of_a_url_that_leads_nowhere(
    quoting: str, odd: str, environment: TestEnvironment, index: LocalIndex, stage: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as root:
        scene = make_scene(odd, stage, root)
        secret = scene.secrets.make().replace(" ", "")
        url = f"http://user:{quote(secret, safe='') if quoting == 'quoted' else secret}@127.0.0.1:9/simple"
        where = (str(scene.project), "--python", environment.python)
        scene.run("snapshot", *where, "--index-url", url, "-v", "--json", code=None)
        stage.setenv("PIP_INDEX_URL", url)
        scene.run("snapshot", *where, "--engine", "uv", code=None)
        copy_lock(scene, f"alpha==1.0 --hash=sha256:{'a' * 64}\n")
        scene.run("restore", str(scene.project), code=None)
        scene.check()


@pytest.mark.parametrize("engine", ["uv", "pip"])
def test_no_secret_is_in_what_an_installer_that_fails_makes_us_say(
    engine: str, environment: TestEnvironment, index: LocalIndex, stage: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as root, serve(lambda request: Answer(status=401)) as server:
        scene = make_scene("@/:%", stage, root)
        stage.setenv("PIP_INDEX_URL", plant(scene, stage, server.url, server.host))
        copy_lock(scene, f"alpha==1.0 --hash=sha256:{'a' * 64}\n")
        scene.run("restore", str(scene.project), "-v", "--engine", engine, "--json", code=4)
        scene.run("snapshot", str(scene.project), "--python", environment.python, "--engine", engine, code=None)
        scene.check()


def test_no_secret_is_in_what_a_malformed_configuration_makes_us_say(
    environment: TestEnvironment, index: LocalIndex, stage: pytest.MonkeyPatch
) -> None:
    for name, text in (
        (".config/pip/pip.conf", "[global]\nindex-url = https://u:{0}@h\nbroken {0}\n"),
        (".config/pip/pip.conf", "index-url = https://u:{0}@h\n"),
        (".config/pip/pip.conf", "[global]\nindex-url = https://u:{0}@h\nindex-url = {0}\n"),
        (".config/uv/uv.toml", 'index-url = "https://u:{0}@h" {0}\n'),
        (".config/uv/uv.toml", 'index-url = "https://u:{0}@h"\nindex-url = 1\n'),
        (".config/uv/uv.toml", '"https://u:{0}@h" = 1\n[https]\n"https://u:{0}@h" = 2\n"https://u:{0}@h" = 2\n'),
        (".netrc", "machine 127.0.0.1 login a password {0} nonsense {0}\n"),
    ):
        with tempfile.TemporaryDirectory() as root:
            scene = make_scene("", stage, root)
            path = scene.home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.format(scene.secrets.make()))
            stage.setenv("UV_DEFAULT_INDEX", index.url) if name == ".netrc" else None
            done = scene.run("snapshot", str(scene.project), "--python", environment.python, "-v", code=None)
            assert name == ".netrc" or str(path) in done.stderr
            scene.check()
