"""Keep what was fetched of a git repository in the store, and find the commit that a ref means.

    <store>/repositories/<sha256 of its URL>/    a bare repository: the commits that were asked for, shallow where the
                                                 server allows; `refs/repro/<commit>` tells that a commit is all there
    <store>/seen/<digest of URL and ref>         the commit that a ref led to, and the branch it is of
    <store>/flocks/repository-<sha256>.lock      held while something is fetched

A fetch that is killed has written no `refs/repro/`, and its commit is fetched again. No credential is kept.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from repro.environments.store import Store
from repro.errors import ReproError, UsageError
from repro.files import hold_lock, unlink, write_atomically
from repro.projects.git import Git, GitError
from repro.projects.location import GitLocation
from repro.values import frozen

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SHORT = re.compile(r"[0-9a-fA-F]{4,64}")
_OURS = "refs/repro"


@frozen
class Resolved:
    """A commit, the branch it was found by where it was one, and what its reader should know."""

    commit: str
    branch: str | None = None
    note: str | None = None


def _parse_listing(text: str) -> tuple[dict[str, str], str | None]:
    """Return what `git ls-remote --symref` lists: the commit of each ref, and the ref that HEAD stands for."""
    refs, head = {}, None
    for line in text.splitlines():
        value, _, name = line.partition("\t")
        if value.startswith("ref: ") and name == "HEAD":
            head = value.removeprefix("ref: ")
        elif _COMMIT.fullmatch(value):
            refs[name] = value
    return refs, head


def _find_ref(refs: dict[str, str], head: str | None, version: str | None) -> Resolved | None:
    """Return the commit of a ref: a branch before a tag, as `git checkout` takes it; of a tag what it stands for."""
    if version is None:
        branch = head.removeprefix("refs/heads/") if head and head.startswith("refs/heads/") else None
        return Resolved(commit=refs["HEAD"], branch=branch) if "HEAD" in refs else None
    for name in (f"refs/heads/{version}", f"refs/tags/{version}", version):
        if name in refs and (name.startswith("refs/") or name == "HEAD"):
            branch = name.removeprefix("refs/heads/") if name.startswith("refs/heads/") else None
            return Resolved(commit=refs.get(f"{name}^{{}}", refs[name]), branch=branch)
    return None


@frozen
class Repository:
    """A repository, and what the store has of it."""

    location: GitLocation
    store: Store
    git: Git
    report: Callable[[str], None]

    @property
    def key(self) -> str:
        """The sha256 of its URL."""
        return hashlib.sha256(os.fsencode(self.location.url)).hexdigest()

    @property
    def path(self) -> Path:
        """Where what was fetched lies."""
        return Path(self.store.room("repositories", self.key))

    def has(self, commit: str) -> bool:
        """Tell whether a commit is all there."""
        return os.path.exists(self.path / _OURS / commit)

    def _explain(self, error: GitError, what: str, known: Resolved | None = None) -> ReproError:
        hint = "check the URL, the network, and that git has your login (a credential helper or an ssh key)"
        if known and self.has(known.commit):
            hint = f"`--offline` runs {known.commit[:12]}, which it was when it was last seen"
        return GitError(f"{what} `{self.location.place}` failed: {error.message}", hint=hint)

    @property
    def _seen_path(self) -> str:
        ref = f"{self.location.url}\0{self.location.version or 'HEAD'}"
        return self.store.room("seen", hashlib.sha256(os.fsencode(ref)).hexdigest())

    def _find_seen(self) -> Resolved | None:
        try:
            words = Path(self._seen_path).read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError):
            return None
        if not words or not _COMMIT.fullmatch(words[0]):
            return None
        return Resolved(commit=words[0], branch=words[1] if len(words) > 1 else None)

    def _keep_seen(self, resolved: Resolved) -> Resolved:
        with suppress(OSError):
            write_atomically(self._seen_path, f"{resolved.commit} {resolved.branch or ''}\n", durable=False)
        return resolved

    def _find_short(self, version: str | None) -> Resolved | None:
        """Return the one commit that is here and begins so."""
        if not version or not _SHORT.fullmatch(version):
            return None
        try:
            found = [name for name in os.listdir(self.path / _OURS) if name.startswith(version.lower())]
        except OSError:
            return None
        return Resolved(commit=found[0]) if len(found) == 1 else None

    def _resolve_offline(self) -> Resolved:
        version = self.location.version
        found = self._find_seen() or self._find_short(version)
        if found is None or not self.has(found.commit):
            what = f"`{version}` of `{self.location.place}`" if version else f"`{self.location.place}`"
            raise UsageError(f"offline, and {what} is not in the cache", hint="run it once without `--offline`")
        note = f"offline: {found.commit[:12]} is run, which `{version or 'HEAD'}` was when it was last seen"
        return Resolved(commit=found.commit, branch=found.branch, note=None if _is_prefix(version, found) else note)

    @contextmanager
    def _holding(self) -> Iterator[None]:
        """Hold the repository's lock, with the bare repository there and nothing of a killed fetch in it."""
        lock = self.store.room("flocks", f"repository-{self.key[:16]}.lock")
        with hold_lock(lock, lambda: self.report(f"waiting: another process fetches `{self.location.place}`")):
            if not (self.path / "HEAD").exists() or not (self.path / "objects").exists():
                self.git.run(self.store.room(), "init", "--quiet", "--bare", "--template=", str(self.path))
            _remove_torn(self.path)
            self.git.run(self.path, "config", "remote.origin.url", self.location.url)
            yield

    def _fetch_all(self) -> None:
        """Fetch every branch and tag with its whole history."""
        unshallow = ["--unshallow"] if (self.path / "shallow").exists() else []
        refspecs = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
        self.git.run(self.path, "fetch", "--quiet", "--no-tags", "--force", *unshallow, "origin", *refspecs)

    def _fetch_commit(self, commit: str) -> None:
        """Fetch one commit, alone where the server allows that. Raises GitError where it has no such commit."""
        self.report(f"fetching {commit[:12]} of {self.location.place}")
        alone = ("fetch", "--quiet", "--no-tags", "--depth=1", "origin", commit)
        if self.git.ask(self.path, *alone).returncode:
            self._fetch_all()
        self.git.run(self.path, "rev-parse", "--quiet", "--verify", f"{commit}^{{commit}}")
        self.git.run(self.path, "update-ref", f"{_OURS}/{commit}", commit)

    def fetch(self, commit: str) -> None:
        """Have a commit; one that is here is not asked for. Raises ReproError."""
        if self.has(commit):
            return
        with self._holding():
            if self.has(commit):  # another process was faster
                return
            try:
                self._fetch_commit(commit)
            except GitError as error:
                raise self._explain(error, f"fetching {commit[:12]} of") from error

    def _search_history(self, version: str, refs: dict[str, str]) -> Resolved:
        """Return the commit that a short or unlisted one means, from the whole history. Raises ReproError."""
        if _SHORT.fullmatch(version):
            with self._holding():
                self.report(f"fetching {self.location.place}, to look for {version}")
                try:
                    self._fetch_all()
                except GitError as error:
                    raise self._explain(error, "fetching") from error
                found = self.git.ask(self.path, "rev-parse", "--quiet", "--verify", f"{version}^{{commit}}")
                commit = found.stdout.strip()
                if found.returncode == 0 and commit.startswith(version.lower()):
                    self.git.run(self.path, "update-ref", f"{_OURS}/{commit}", commit)
                    return Resolved(commit=commit)
        names = sorted({name.split("/", 2)[-1].removesuffix("^{}") for name in refs if name.startswith("refs/")})
        close = difflib.get_close_matches(version, names, n=1)
        raise UsageError(
            f"`{self.location.place}` has no commit, tag or branch `{version}`",
            hint=f"did you mean `--version {close[0]}`?" if close else "give a commit, a tag or a branch of it",
            details=(f"branches and tags: {', '.join(names[:20])}" + (", ..." if len(names) > 20 else ""),),
        )

    def _list_refs(self) -> tuple[dict[str, str], str | None]:
        try:
            with self._holding():
                return _parse_listing(self.git.run(self.path, "ls-remote", "--symref", "origin"))
        except GitError as error:
            raise self._explain(error, "reading", self._find_seen()) from error

    def resolve(self, *, offline: bool = False) -> Resolved:
        """Return the commit that is meant, and have it. A commit that is here is found without the network.

        Raises UsageError where there is none, GitError where the repository cannot be read.
        """
        version = self.location.version
        if version and _COMMIT.fullmatch(version.lower()) and self.has(version.lower()):
            return Resolved(commit=version.lower())
        if offline and not self.location.is_local:
            return self._resolve_offline()
        refs, head = self._list_refs()
        found = _find_ref(refs, head, version)
        if found is None and version is None:
            raise UsageError(f"`{self.location.place}` has no commit yet", hint="name a branch with `--version`")
        if found is None and version and _COMMIT.fullmatch(version.lower()):
            with suppress(GitError):
                self.fetch(version.lower())
                found = Resolved(commit=version.lower())
        if found is None:
            found = self._search_history(version or "", refs)
        self.fetch(found.commit)
        return self._keep_seen(found)


def _is_prefix(version: str | None, found: Resolved) -> bool:
    return bool(version) and found.commit.startswith((version or "").lower())


def _remove_torn(path: Path) -> None:
    """Remove the locks and the half-written packs of a fetch that was killed; the caller holds the repository."""
    for place in (path, path / _OURS, path / "refs" / "remotes" / "origin", path / "refs" / "tags"):
        for lock in place.glob("*.lock"):
            unlink(str(lock))
    for torn in (path / "objects" / "pack").glob("tmp_*"):
        unlink(str(torn))
