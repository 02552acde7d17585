"""Which commit the code of a run is."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from repro.formats.direct_url import clean_url
from repro.values import frozen, replace


@frozen
class GitSource:
    """A commit; `branch` and `repo_url` (without credentials) where there are any.

    `changed` are the tracked files that differ from it, `untracked` those that git neither has nor ignores, relative
    to the repository's `root`.
    """

    root: Path
    commit: str
    branch: str | None
    repo_url: str | None
    changed: tuple[str, ...]
    untracked: tuple[str, ...]

    @property
    def dirty(self) -> bool:
        """Whether a tracked file differs from the commit."""
        return bool(self.changed)


# Everything but what runs are kept in, which is no code and may be much.
_CODE = (".", *(f":(exclude,glob)**/{name}" for name in ("mlruns/**", "mlartifacts/**", "mlflow.db*")))


def find_repository(directory: Path) -> Path | None:
    """Return the work tree that a directory lies in, None where it is in none."""
    return next((each for each in (directory, *directory.parents) if (each / ".git").exists()), None)


def ask_git(root: Path, *args: str) -> str | None:
    """Return what a git command prints, None where it fails or there is no git; no lock is taken for it."""
    from repro.process import Runner

    command = ["git", "--no-optional-locks", "-c", "core.quotePath=false", "-C", str(root), *args]
    try:
        finished = Runner().capture(command, timeout_s=60, brief=True)
    except OSError:  # a TimeoutError is one
        return None
    return finished.stdout if finished.returncode == 0 else None


def _begin_to_ask(root: Path, *args: str) -> Callable[[], str | None]:
    """Ask git beside what is asked next, and return what waits for its answer."""
    from threading import Thread

    answers: list[str | None] = []
    asking = Thread(target=lambda: answers.append(ask_git(root, *args)), daemon=True)
    asking.start()

    def hear() -> str | None:
        asking.join()
        return answers[0] if answers else None

    return hear


def _parse_status(root: Path, text: str) -> GitSource | None:
    """Return what `git status --porcelain=v2 --branch -z` says (git-status(1), "Porcelain Format Version 2")."""
    commit = branch = None
    changed, untracked = [], []
    entries = iter(text.split("\0"))
    for entry in entries:
        kind, _, rest = entry.partition(" ")
        if kind == "#":
            name, _, value = rest.partition(" ")
            if name == "branch.oid":
                commit = value
            elif name == "branch.head":
                branch = value
        elif kind in ("1", "u"):
            changed.append(rest.split(" ", 7 if kind == "1" else 9)[-1])
        elif kind == "2":
            changed += [rest.split(" ", 8)[-1], next(entries, "")]
        elif kind == "?":
            untracked.append(rest)
    if not commit or commit == "(initial)":
        return None
    return GitSource(
        root=root,
        commit=commit,
        branch=None if branch == "(detached)" else branch,
        repo_url=None,
        changed=tuple(sorted({*changed} - {""})),
        untracked=tuple(sorted(untracked)),
    )


@lru_cache(maxsize=8)
def _read_source(root: Path) -> GitSource | None:
    """Ask git once for the many runs of one process: its code is what it was when the process has read it."""
    hear_remote = _begin_to_ask(root, "config", "--get", "remote.origin.url")
    status = ask_git(root, "status", "--porcelain=v2", "--branch", "-z", "--untracked-files=all", "--", *_CODE)
    source = _parse_status(root, status) if status is not None else None
    remote = (hear_remote() or "").strip()
    if source is None:
        return None
    return replace(source, repo_url=(clean_url(remote) if "://" in remote else remote) or None)


def find_git_source(directory: Path) -> GitSource | None:
    """Return the commit that a directory's repository stands at, None without one; no process starts for nothing."""
    root = find_repository(directory.resolve())
    return _read_source(root) if root else None


def format_git_tags(source: GitSource) -> dict[str, str]:
    """Return a commit as MLflow's tags."""
    tags = {"mlflow.source.git.commit": source.commit, "mlflow.source.git.dirty": str(source.dirty).lower()}
    if source.branch:
        tags["mlflow.source.git.branch"] = source.branch
    if source.repo_url:
        tags["mlflow.source.git.repoURL"] = source.repo_url
    return tags
