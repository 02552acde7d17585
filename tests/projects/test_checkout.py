"""Check out commits of real repositories: on disk, and behind git's own HTTP servers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from repositories import GitServer, commit, make_work, run_git

from repro.environments.machine import Machine
from repro.errors import ReproError, UsageError
from repro.files import hold_lock
from repro.projects.checkout import Checkout, check_out
from repro.projects.git import GitError
from repro.projects.location import GitLocation, parse_location
from repro.projects.repository import Repository

SECRET = "se%40cr3t"


class Bench:
    """A repository with two commits, a tag of each kind and a branch, bare copies of it, and a machine with a cache."""

    def __init__(self, tmp_path: Path, cache: Path) -> None:
        self.cache = cache
        self.said: list[str] = []
        self.commands: list[str] = []
        self.work = make_work(tmp_path / "source")
        self.first = commit(self.work, "one", train_py="print(1)\n", sub__train_py="print('sub')\n")
        run_git(self.work, "tag", "v1")
        self.second = commit(self.work, "two", train_py="print(2)\n")
        run_git(self.work, "tag", "--annotate", "v2", "--message", "v2")
        run_git(self.work, "checkout", "--quiet", "-b", "side")
        self.side = commit(self.work, "side", train_py="print('side')\n")
        run_git(self.work, "checkout", "--quiet", "main")
        self.bare = tmp_path / "served" / "wine.git"
        run_git(tmp_path, "clone", "--quiet", "--bare", str(self.work), str(self.bare))
        run_git(self.bare, "update-server-info")

    def push(self) -> None:
        run_git(self.work, "push", "--quiet", "--all", str(self.bare))
        run_git(self.bare, "update-server-info")

    @contextmanager
    def open(
        self, uri: object, version: str | None = None, *, offline: bool = False, patch: str = ""
    ) -> Iterator[Checkout]:
        machine = Machine.here(cache=str(self.cache), report=self.said.append, echo=self.commands.append)
        location = parse_location(str(uri), version=version)
        assert isinstance(location, GitLocation)
        with check_out(machine, location, offline=offline, patch=patch) as checkout:
            yield checkout

    def read(self, uri: object, version: str | None = None, *, offline: bool = False) -> str:
        with self.open(uri, version, offline=offline) as checkout:
            return (checkout.root / "train.py").read_text()

    @property
    def fetched(self) -> list[str]:
        return [each for each in self.said if each.startswith("fetching")]

    def list_trees(self) -> list[Path]:
        return sorted(self.cache.glob("repro/v1/checkouts/*/*/tree"))


@pytest.fixture
def bench(tmp_path: Path, cache: Path, git_config: Path) -> Bench:
    (tmp_path / "served").mkdir(exist_ok=True)
    return Bench(tmp_path, cache)


def test_every_kind_of_ref_is_found_and_the_users_tree_stays(bench: Bench) -> None:
    (bench.work / "train.py").write_text("edited\n")
    before = run_git(bench.work, "status", "--branch", "--porcelain=v2")
    wanted = {
        None: ("print(2)\n", "main"), "main": ("print(2)\n", "main"), "side": ("print('side')\n", "side"),
        "v1": ("print(1)\n", None), "v2": ("print(2)\n", None), "refs/tags/v1": ("print(1)\n", None),
        bench.first: ("print(1)\n", None), bench.first[:8]: ("print(1)\n", None),
        bench.first.upper(): ("print(1)\n", None),
    }  # fmt: skip
    for uri in (bench.work, bench.bare, bench.bare.as_uri()):
        for version, (text, branch) in wanted.items():
            if uri == bench.work and version is None:
                continue
            with bench.open(uri, version) as checkout:
                assert (checkout.root / "train.py").read_text() == text, version
                assert checkout.resolved.branch == branch
                assert run_git(checkout.root, "rev-parse", "HEAD") == checkout.resolved.commit
    assert run_git(bench.work, "status", "--branch", "--porcelain=v2") == before


def test_a_commit_that_is_here_is_a_look_up(bench: Bench) -> None:
    with bench.open(bench.bare, "v1") as checkout:
        root = checkout.root
    bench.bare.rename(bench.bare.with_name("gone"))
    location = GitLocation(url=str(bench.bare), version=bench.first)
    with check_out(Machine.here(cache=str(bench.cache)), location) as checkout:
        assert checkout.root == root


def test_what_a_run_has_left_goes_and_an_edited_file_is_made_anew(bench: Bench) -> None:
    with bench.open(bench.bare) as checkout:
        root = checkout.root
        for name in ("left.txt", "__pycache__/train.pyc", "sub/more/left.txt"):
            (root / name).parent.mkdir(exist_ok=True, parents=True)
            (root / name).write_text("x")
    with bench.open(bench.bare) as checkout:
        assert checkout.root == root
        assert sorted(each.name for each in root.rglob("*") if ".git" not in each.parts) == [
            "sub",
            "train.py",
            "train.py",
        ]
        (root / "train.py").write_text("print(3)\n")
    assert bench.read(bench.bare) == "print(2)\n"
    assert [each for each in bench.said if "anew" in each] == [f"making `{root.parent}` anew: it was edited there"]
    with bench.open(bench.bare) as checkout:
        commit(checkout.root, "mine", train_py="print(4)\n")
    assert bench.read(bench.bare) == "print(2)\n"


def test_two_runs_at_once_have_a_tree_each(bench: Bench) -> None:
    with bench.open(bench.bare) as one, bench.open(bench.bare) as two:
        assert one.root != two.root
        (one.root / "left.txt").touch()
        assert not (two.root / "left.txt").exists()
    assert len(bench.fetched) == 1
    bench.read(bench.bare)
    assert len(bench.list_trees()) == 2


def test_two_processes_at_once_fetch_once(bench: Bench, git_server: GitServer) -> None:
    uri = f"{git_server.url}/smart/wine.git"
    code = (
        "import sys\nfrom repro.environments.machine import Machine\nfrom repro.projects.checkout import check_out\n"
        "from repro.projects.location import parse_location\n"
        "with check_out(Machine.here(cache=sys.argv[1], report=print), parse_location(sys.argv[2])) as made:\n"
        "    print((made.root / 'train.py').read_text())\n"
    )
    command = [sys.executable, "-c", code, str(bench.cache), uri]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [child.communicate(timeout=60)[0] for child in children]
    assert [child.returncode for child in children] == [0, 0, 0]
    assert all("print(2)" in each for each in outputs)
    assert sum(each.count("fetching") for each in outputs) == 1


@pytest.mark.parametrize("kind", ["smart/", ""])
def test_git_is_spoken_over_http_smart_and_dumb(bench: Bench, git_server: GitServer, kind: str) -> None:
    uri = f"{git_server.url}/{kind}wine.git"
    assert bench.read(uri) == "print(2)\n"
    assert bench.read(uri, "v1") == "print(1)\n"
    assert bench.read(uri, "side") == "print('side')\n"
    with bench.open(f"{uri}#sub", bench.first) as checkout:
        assert run_git(checkout.root, "config", "remote.origin.url") == uri
    history = [len(run_git(each, "log", "--format=%H").split()) for each in bench.list_trees()]
    assert max(history) == (1 if kind else 3)


def test_a_login_reaches_its_server_and_nothing_else(bench: Bench, git_server: GitServer) -> None:
    git_server.login = "ada:se@cr3t"
    uri = f"http://ada:{SECRET}@{git_server.host}/smart/wine.git"
    assert bench.read(uri) == "print(2)\n"
    wrong = f"http://ada:wr0ng@{git_server.host}/smart/wine.git"
    with pytest.raises(GitError) as caught:
        bench.read(wrong, "v1")
    assert caught.value.message.startswith(f"reading `{git_server.url}/smart/wine.git` failed: ")
    for secret in ("cr3t", "wr0ng"):
        assert secret not in "\n".join((*bench.said, *bench.commands, str(caught.value)))
        kept = [path for path in bench.cache.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
        assert kept == []


def test_a_token_alone_is_a_login_too(bench: Bench, git_server: GitServer) -> None:
    git_server.login = "t0ken:"
    assert bench.read(f"http://t0ken@{git_server.host}/smart/wine.git") == "print(2)\n"


def test_without_a_login_nobody_is_asked(bench: Bench, git_server: GitServer) -> None:
    git_server.login = "ada:secret"
    with pytest.raises(GitError, match=r"failed: could not read Username.*: terminal prompts disabled"):
        bench.read(f"{git_server.url}/smart/wine.git")


@pytest.mark.parametrize(
    "uri", ["git@example.org:{path}", "ssh://git@example.org{path}", "ssh://ada:secret@example.org{path}"]
)
def test_git_is_spoken_over_ssh(uri: str, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\nfor last; do :; done\nexec sh -c "$last"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(ssh))
    assert bench.read(uri.format(path=bench.bare), "side") == "print('side')\n"
    asked = (tmp_path / "asked").read_text()
    assert "@example.org git-upload-pack" in asked
    assert "secret" not in asked


def test_submodules_come_with_their_commit(bench: Bench, tmp_path: Path) -> None:
    library = make_work(tmp_path / "library")
    commit(library, "one", lib_py="VALUE = 1\n")
    run_git(bench.work, "submodule", "--quiet", "add", str(library), "lib")
    commit(bench.work, "with library")
    commit(library, "two", lib_py="VALUE = 2\n")
    bench.push()
    with bench.open(bench.bare) as checkout:
        root = checkout.root
        assert (root / "lib" / "lib.py").read_text() == "VALUE = 1\n"
        (root / "lib" / "left.txt").touch()
    with bench.open(bench.bare) as checkout:
        assert checkout.root == root
        assert not (root / "lib" / "left.txt").exists()
        (root / "lib" / "lib.py").write_text("VALUE = 3\n")
    with bench.open(bench.bare) as checkout:
        assert (checkout.root / "lib" / "lib.py").read_text() == "VALUE = 1\n"
        assert checkout.root != root


def test_nothing_of_a_repository_runs_when_it_is_checked_out(bench: Bench, tmp_path: Path) -> None:
    (bench.work / ".gitmodules").write_text(
        '[submodule "x"]\npath = x\nurl = ext::sh -c touch% ran\nupdate = !touch ran\n'
    )
    run_git(bench.work, "add", ".gitmodules")
    run_git(bench.work, "update-index", "--add", "--cacheinfo", f"160000,{bench.first},x")
    commit_id = run_git(bench.work, "commit-tree", run_git(bench.work, "write-tree"), "-p", "HEAD", "-m", "evil")
    run_git(bench.work, "update-ref", "refs/heads/evil", commit_id)
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "post-checkout").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (hooks / "post-checkout").chmod(0o755)
    run_git(bench.work, "config", "--global", "core.hooksPath", str(hooks))
    run_git(bench.work, "config", "--global", "protocol.ext.allow", "always")
    with pytest.raises(GitError, match="cannot be checked out at"):
        bench.read(bench.work, "evil")
    assert bench.read(bench.bare) == "print(2)\n"
    assert list(tmp_path.rglob("ran")) == []
    assert len(bench.list_trees()) == 1


def test_variables_of_git_steer_nothing(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"):
        monkeypatch.setenv(name, str(tmp_path / "nowhere"))
    assert bench.read(bench.bare) == "print(2)\n"
    assert not (tmp_path / "nowhere").exists()


def test_offline_what_is_here_runs_and_what_is_not_is_said(bench: Bench, git_server: GitServer) -> None:
    uri = f"{git_server.url}/smart/wine.git"
    with pytest.raises(UsageError) as caught:
        bench.read(uri, offline=True)
    assert caught.value.message == f"offline, and `{uri}` is not in the cache"
    bench.read(uri)
    bench.read(uri, "v1")
    commit(bench.work, "three", train_py="print(3)\n")
    bench.push()
    asked = len(git_server.paths)
    with bench.open(uri, offline=True) as checkout:
        assert checkout.resolved.note == f"offline: {bench.second[:12]} is run, which `HEAD` was when it was last seen"
    assert bench.read(uri, "v1", offline=True) == "print(1)\n"
    assert bench.read(uri, bench.first) == bench.read(uri, bench.first[:10], offline=True) == "print(1)\n"
    with pytest.raises(UsageError, match="offline, and `side` of"):
        bench.read(uri, "side", offline=True)
    assert len(git_server.paths) == asked
    assert bench.read(uri) == "print(3)\n"


def test_a_server_that_is_away_is_one_sentence_with_what_would_run(bench: Bench, git_server: GitServer) -> None:
    uri = f"{git_server.url}/smart/wine.git"
    bench.read(uri)
    git_server.server.shutdown()
    git_server.server.server_close()
    with pytest.raises(GitError) as caught:
        bench.read(uri)
    assert caught.value.message.startswith(f"reading `{uri}` failed: ")
    assert caught.value.hint == f"`--offline` runs {bench.second[:12]}, which it was when it was last seen"
    assert bench.read(uri, bench.second) == "print(2)\n"


def test_what_is_not_there_is_said(bench: Bench, git_server: GitServer) -> None:
    with pytest.raises(GitError, match=r"reading `.*/smart/beer.git` failed: repository .* not found"):
        bench.read(f"{git_server.url}/smart/beer.git")
    with pytest.raises(UsageError) as caught:
        bench.read(bench.bare, "sid")
    assert caught.value.message == f"`{bench.bare.as_uri()}` has no commit, tag or branch `sid`"
    assert caught.value.hint == "did you mean `--version side`?"
    for missing in ("deadbeef", "0" * 40):
        with pytest.raises(UsageError, match=f"has no commit, tag or branch `{missing}`"):
            bench.read(bench.bare, missing)
    empty = bench.bare.with_name("empty.git")
    run_git(bench.bare.parent, "init", "--quiet", "--bare", str(empty))
    with pytest.raises(UsageError, match="has no commit yet"):
        bench.read(empty)


@pytest.mark.parametrize("moment", [1, 2, 3])
def test_a_fetch_that_is_killed_leaves_nothing_that_is_taken_for_good(
    bench: Bench, git_server: GitServer, moment: int
) -> None:
    uri, count, reached = f"{git_server.url}/smart/wine.git", 0, threading.Event()

    def stall(method: str) -> None:
        nonlocal count
        count += 1
        if count == moment:
            reached.set()
            time.sleep(3)

    git_server.on_request = stall
    code = (
        "import sys\nfrom repro.environments.machine import Machine\nfrom repro.projects.checkout import check_out\n"
        "from repro.projects.location import parse_location\n"
        "with check_out(Machine.here(cache=sys.argv[1]), parse_location(sys.argv[2])): pass\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(bench.cache), uri])
    assert reached.wait(30)
    child.send_signal(signal.SIGKILL)
    child.wait()
    git_server.on_request = lambda method: None
    assert bench.list_trees() == []
    assert bench.read(uri) == "print(2)\n"


def test_what_a_killed_fetch_has_left_is_no_hindrance(bench: Bench) -> None:
    bench.read(bench.bare, "v1")
    (mirror,) = bench.cache.glob("repro/v1/repositories/*")
    torn = [mirror / name for name in ("shallow.lock", "config.lock", "packed-refs.lock", "objects/pack/tmp_pack_x")]
    for path in torn:
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    (tree,) = bench.list_trees()
    (tree.parent / "repro-checkout").unlink()
    assert bench.read(bench.bare, "side") == "print('side')\n"
    assert bench.read(bench.bare, "v1") == "print(1)\n"
    assert [path for path in torn if path.exists()] == []


def test_one_waits_for_another_that_fetches(bench: Bench) -> None:
    machine = Machine.here(cache=str(bench.cache))
    machine.store.prepare()
    location = parse_location(str(bench.bare))
    assert isinstance(location, GitLocation)
    key = Repository(location=location, store=machine.store, git=None, report=print).key  # type: ignore[arg-type]
    with hold_lock(machine.store.room("flocks", f"repository-{key[:16]}.lock")):
        thread = threading.Thread(target=bench.read, args=(bench.bare,))
        thread.start()
        while not bench.said and thread.is_alive():
            time.sleep(0.01)
    thread.join()
    assert bench.said[0] == f"waiting: another process fetches `{bench.bare.as_uri()}`"


def test_a_patch_is_on_its_tree_and_edits_beside_it_are_noticed(bench: Bench) -> None:
    (bench.work / "train.py").write_text("print(5)\n")
    patch = run_git(bench.work, "diff", "HEAD") + "\n"
    run_git(bench.work, "checkout", "--quiet", ".")
    roots = []
    for _ in range(2):
        with bench.open(bench.bare, patch=patch) as checkout:
            assert (checkout.root / "train.py").read_text() == "print(5)\n"
            roots.append(checkout.root)
    assert roots[0] == roots[1]
    (roots[0] / "train.py").write_text("print(6)\n")
    run_git(roots[0], "add", "train.py")
    with bench.open(bench.bare, patch=patch) as checkout:
        assert (checkout.root / "train.py").read_text() == "print(5)\n"
    assert bench.read(bench.bare) == "print(2)\n"
    with pytest.raises(ReproError, match="the changes that the run has kept do not apply to its commit"):  # noqa: SIM117
        with bench.open(bench.bare, patch=patch.replace("-print(2)", "-print(9)")):
            pass


def test_a_checkout_says_what_it_is_of(bench: Bench) -> None:
    with bench.open(f"{bench.bare}#sub") as checkout:
        note = json.loads((checkout.root.parent / "repro-checkout").read_text())
    assert (note["commit"], note["uri"]) == (bench.second, bench.bare.as_uri())
    assert os.stat(checkout.root).st_mode & 0o022 == 0
