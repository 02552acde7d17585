"""Which commit the code of a run is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from repro.formats.direct_url import clean_url


@dataclass(frozen=True, slots=True, kw_only=True)
class GitSource:
    """A commit; `branch` and `repo_url` (without credentials) where there are any, `dirty` with uncommitted changes."""

    commit: str
    branch: str | None
    repo_url: str | None
    dirty: bool


def _lies_in_repository(directory: Path) -> bool:
    return any((each / ".git").exists() for each in (directory, *directory.parents))


def find_git_source(directory: Path) -> GitSource | None:
    """Return the commit that a directory's repository stands at, None without one; no process starts for nothing."""
    if not _lies_in_repository(directory.resolve()):
        return None
    from repro.process import Runner

    def ask(*args: str) -> str | None:
        try:
            finished = Runner().capture(["git", "-C", str(directory), *args])
        except OSError:
            return None
        return finished.stdout.strip() if finished.returncode == 0 else None

    commit = ask("rev-parse", "HEAD")
    if not commit:
        return None
    remote = ask("config", "--get", "remote.origin.url")
    return GitSource(
        commit=commit,
        branch=ask("symbolic-ref", "--short", "-q", "HEAD"),
        repo_url=clean_url(remote) if remote and "://" in remote else remote,
        dirty=bool(ask("status", "--porcelain", "--untracked-files=no")),
    )


def format_git_tags(source: GitSource) -> dict[str, str]:
    """Return a commit as MLflow's tags."""
    tags = {"mlflow.source.git.commit": source.commit, "mlflow.source.git.dirty": str(source.dirty).lower()}
    if source.branch:
        tags["mlflow.source.git.branch"] = source.branch
    if source.repo_url:
        tags["mlflow.source.git.repoURL"] = source.repo_url
    return tags
