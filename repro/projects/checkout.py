"""Check a commit out into a tree of the store, and look one over that was checked out before."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from repro.environments.machine import Machine
from repro.errors import ReproError
from repro.files import hold_shared
from repro.projects.git import Git, GitError
from repro.projects.location import GitLocation
from repro.projects.pool import Note, Recipe, lend_tree
from repro.projects.repository import Repository, Resolved
from repro.values import frozen


@frozen
class Checkout:
    """A commit's files in `root`, which are this run's alone, and the commit with what is known of it."""

    root: Path
    resolved: Resolved


def _fill(repository: Repository, tree: Path, commit: str) -> None:
    """Check a commit out into an empty directory, which borrows the objects that were fetched."""
    git = repository.git
    git.run(tree, "init", "--quiet", "--template=")
    (tree / ".git" / "objects" / "info").mkdir(exist_ok=True)
    (tree / ".git" / "objects" / "info" / "alternates").write_text(f"{repository.path / 'objects'}\n")
    if (repository.path / "shallow").exists():
        shutil.copyfile(repository.path / "shallow", tree / ".git" / "shallow")
    git.run(tree, "config", "remote.origin.url", repository.location.url)
    git.run(tree, "config", "remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*")
    git.run(tree, "checkout", "--quiet", "--force", "--detach", commit)


def _update_submodules(git: Git, tree: Path) -> None:
    """Fetch and check out submodules, alone where their servers allow that. Raises GitError."""
    update = ("submodule", "--quiet", "update", "--init", "--recursive", "--force")
    if git.ask(tree, *update, "--depth=1").returncode:
        git.run(tree, *update)


def _apply(git: Git, tree: Path, patch: str) -> None:
    """Apply a run's `code.diff`. Raises ReproError where it does not fit its commit."""
    try:
        git.run(tree, "apply", "--index", "--whitespace=nowarn", "-", stdin=patch)
    except GitError as error:
        raise ReproError(
            f"the changes that the run has kept do not apply to its commit: {error.message}",
            hint="look at the run's `code.diff` with `repro artifacts download`",
        ) from error


def _make(repository: Repository, tree: Path, commit: str, patch: str) -> Note:
    try:
        _fill(repository, tree, commit)
        if (tree / ".gitmodules").exists():
            repository.report(f"fetching the submodules of {repository.location.place}")
            _update_submodules(repository.git, tree)
    except GitError as error:
        raise GitError(
            f"`{repository.location.place}` cannot be checked out at {commit[:12]}: {error.message}", hint=error.hint
        ) from error
    if patch:
        _apply(repository.git, tree, patch)
    index = repository.git.run(tree, "write-tree").strip()
    return {"commit": commit, "index": index, "repository": repository.key, "uri": repository.location.place}


def _read_status(text: str) -> tuple[str, bool, bool]:
    """Return the commit, whether a file differs from the index, and whether there are files that git does not know."""
    commit, edited, foreign = "", False, False
    entries = iter(text.split("\0"))
    for entry in entries:
        if entry.startswith("# branch.oid "):
            commit = entry.removeprefix("# branch.oid ")
        elif entry.startswith(("1 ", "2 ")):
            submodule = entry[5:9]
            edited |= entry[3] != "." and not (entry[3] == "M" and submodule == "S..U")
            foreign |= submodule == "S..U"
            if entry.startswith("2 "):
                next(entries, None)
        elif entry.startswith("u "):
            edited = True
        elif entry.startswith(("? ", "! ")):
            foreign = True
    return commit, edited, foreign


def _refresh(git: Git, tree: Path, note: Note) -> bool:
    """Make a tree as it was checked out: files that git does not know go. False where it was edited."""
    if not (tree / ".git").is_dir():
        return False
    status = git.ask(
        tree, "status", "--porcelain=v2", "--branch", "-z", "--untracked-files=all", "--ignored=matching",
        "--ignore-submodules=none",
    )  # fmt: skip
    commit, edited, foreign = _read_status(status.stdout)
    if status.returncode or edited or commit != note.get("commit"):
        return False
    has_submodules = (tree / ".gitmodules").exists()
    cleaning = ["clean", "-ffdxq"]
    if foreign and git.ask(tree, *cleaning).returncode:
        return False
    if (
        has_submodules
        and git.ask(tree, "submodule", "--quiet", "foreach", "--recursive", "git clean -ffdxq").returncode
    ):
        return False
    written = git.ask(tree, "write-tree")
    return written.returncode == 0 and written.stdout.strip() == note.get("index")


@contextmanager
def check_out(machine: Machine, location: GitLocation, *, offline: bool = False, patch: str = "") -> Iterator[Checkout]:
    """Have a commit's files, with a patch on them, for the block. Raises UsageError and ReproError."""
    store, report = machine.store, machine.report
    git = Git.make(location, runner=machine.runner, environ=machine.environ, offline=offline)
    repository = Repository(location=location, store=store, git=git, report=report)
    store.prepare()
    with hold_shared(store.room("flocks", f"mirror-{repository.key[:16]}.lock")):
        resolved = repository.resolve(offline=offline)
        facts = "\0".join(("git", location.url, resolved.commit, hashlib.sha256(patch.encode()).hexdigest()))
        recipe = Recipe(
            key=hashlib.sha256(facts.encode("utf-8", "surrogateescape")).hexdigest()[:16],
            make=lambda tree: _make(repository, tree, resolved.commit, patch),
            refresh=lambda tree, note: _refresh(git, tree, note),
        )
        with lend_tree(store, recipe, report=report) as tree:
            yield Checkout(root=tree, resolved=resolved)
