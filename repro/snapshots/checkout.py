"""The working copy an editable or directory install came from: its state, and the wheel of exactly that state."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from repro.errors import ReproError
from repro.files import BLOCK_BYTES
from repro.formats.direct_url import Checkout, clean_url
from repro.formats.redaction import redact
from repro.process import Runner
from repro.values import frozen

_SKIPPED_DIRS = frozenset(
    {".git", ".hg", ".svn", "__pycache__", ".venv", "venv", "node_modules", ".tox", ".nox", ".mypy_cache",
     ".pytest_cache", ".ruff_cache"}
)  # fmt: skip
_SKIPPED_AT_TOP = frozenset({"build", "dist", "mlruns"})
_SKIPPED_SUFFIXES = (".pyc", ".egg-info")
_EPOCH = "315532800"  # 1980-01-01, the earliest a zip file knows
_GIT_TIMEOUT_S = 60.0


@frozen
class WorkingCopy:
    """A directory, what identifies its state, and the files that belong to it, by their relative paths.

    `state` is a sha256 (64 hex digits) over all those files; `checkout` says where they are from.
    """

    directory: Path
    checkout: Checkout
    state: str
    files: tuple[str, ...]


def _run_git(directory: Path, *args: str, runner: Runner, environ: Mapping[str, str]) -> str | None:
    """Return what git prints, None where it fails or there is none; it changes nothing, not even its index."""
    env = {**environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    command = ["git", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false", "-C", str(directory), *args]
    try:
        finished = runner.capture(command, env=env, timeout_s=_GIT_TIMEOUT_S)
    except (OSError, TimeoutError):
        return None
    return finished.stdout if finished.returncode == 0 else None


def _walk(directory: Path) -> Iterator[str]:
    """Yield the files of a directory without version control, what is built or cached left out."""
    for root, names, files in os.walk(directory):
        skipped = _SKIPPED_DIRS | _SKIPPED_AT_TOP if root == str(directory) else _SKIPPED_DIRS
        names[:] = sorted(each for each in names if each not in skipped and not each.endswith(_SKIPPED_SUFFIXES))
        for name in sorted(files):
            if not name.endswith(_SKIPPED_SUFFIXES):
                yield os.path.relpath(os.path.join(root, name), directory)


def _is_source(directory: Path, name: str) -> bool:
    """Tell whether an untracked file is one of the project's, not what builds and runs have left."""
    parts = name.split("/")
    made = any(part in _SKIPPED_DIRS or part.endswith(_SKIPPED_SUFFIXES) for part in parts)
    return not (made or parts[0] in _SKIPPED_AT_TOP or (directory / name).is_dir())


def _hash_files(directory: Path, files: tuple[str, ...]) -> str:
    """Return a sha256 over the names, modes and contents of files; a link counts as what it says."""
    digest = hashlib.sha256()
    for name in files:
        path = directory / name
        mode = path.lstat().st_mode
        executable = bool(mode & stat.S_IXUSR)
        digest.update(f"{name}\0{stat.S_IFMT(mode):o} {executable}\0".encode("utf-8", "surrogateescape"))
        if stat.S_ISLNK(mode):
            digest.update(os.fsencode(os.readlink(path)))
        elif stat.S_ISREG(mode):
            with path.open("rb") as file:
                while block := file.read(BLOCK_BYTES):
                    digest.update(block)
        digest.update(b"\0")
    return digest.hexdigest()


def _describe_git(
    directory: Path, untracked: tuple[str, ...], *, runner: Runner, environ: Mapping[str, str]
) -> Checkout | None:
    """Return commit, remote without credentials, and a digest of what is not committed; None without a commit."""
    commit = _run_git(directory, "rev-parse", "--verify", "HEAD", runner=runner, environ=environ)
    if commit is None:
        return None
    diff = _run_git(
        directory, "diff", "HEAD", "--binary", "--no-color", "--no-ext-diff", "--no-textconv", "--", ".",
        runner=runner, environ=environ,
    ) or ""  # fmt: skip
    url = _run_git(directory, "remote", "get-url", "origin", runner=runner, environ=environ)
    dirty = hashlib.sha256(diff.encode("utf-8", "surrogateescape"))
    dirty.update(_hash_files(directory, untracked).encode())
    return Checkout(
        commit=commit.strip(),
        url=_clean_remote(url.strip()) if url else None,
        diff=dirty.hexdigest() if diff or untracked else None,
        untracked=len(untracked),
    )


def _clean_remote(url: str) -> str | None:
    """Return a remote without credentials, None where it is a path of this machine."""
    if "://" in url and not url.startswith("file:"):
        return clean_url(url)
    return url if re.fullmatch(r"[\w.-]+@[\w.-]+:[^@]*", url) else None


def examine(directory: Path, *, runner: Runner, environ: Mapping[str, str]) -> WorkingCopy:
    """Return the state of a working copy: with git its tracked and untracked files, those it ignores left out.

    Raises ReproError where the directory is gone.
    """
    if not directory.is_dir():
        raise ReproError(f"the working copy `{directory.name}` is gone")
    ask = partial(_run_git, directory, "ls-files", "-z", runner=runner, environ=environ)
    listed = ask("--cached", "--recurse-submodules")
    others = ask("--others", "--exclude-standard")
    if listed is None or others is None:
        files = tuple(_walk(directory))
        state = _hash_files(directory, files)
        return WorkingCopy(directory=directory, checkout=Checkout(diff=state), state=state, files=files)
    untracked = tuple(sorted(name for name in others.split("\0") if name and _is_source(directory, name)))
    tracked = (name for name in listed.split("\0") if name)
    files = tuple(sorted({*(name for name in tracked if os.path.lexists(directory / name)), *untracked}))
    files = tuple(name for name in files if not (directory / name).is_dir() or (directory / name).is_symlink())
    state = _hash_files(directory, files)
    checkout = _describe_git(directory, untracked, runner=runner, environ=environ) or Checkout(diff=state)
    return WorkingCopy(directory=directory, checkout=checkout, state=state, files=files)


def _copy(copy: WorkingCopy, target: Path) -> None:
    for name in copy.files:
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(copy.directory / name, place, follow_symlinks=False)


def build_wheel(
    copy: WorkingCopy,
    *,
    version: str,
    python: str,
    uv: str | None,
    runner: Runner,
    env: Mapping[str, str],
    target_dir: Path,
) -> Path:
    """Build the wheel of a working copy's files, in a copy of them, into `target_dir`, and return its path.

    The user's directory is not touched. Tools that read the version from version control are told it. Raises
    ReproError with the last lines of the build.
    """
    source = target_dir / "source"
    out = target_dir / "out"
    _copy(copy, source)
    env = {
        **env,
        "SOURCE_DATE_EPOCH": _EPOCH,
        "SETUPTOOLS_SCM_PRETEND_VERSION": version,
        "PBR_VERSION": version,
        "UV_DYNAMIC_VERSIONING_BYPASS": version,
    }
    if uv:
        command = [uv, "build", "--quiet", "--wheel", "--no-config", "--python", python, "--out-dir", str(out)]
    else:
        command = [sys.executable, "-m", "pip", "--python", python, "wheel", "--quiet", "--no-deps"]
        command += ["--wheel-dir", str(out)]
    command.append(str(source))
    finished = runner.capture(command, env=env)
    wheels = sorted(out.glob("*.whl")) if out.is_dir() else []
    if finished.returncode or len(wheels) != 1:
        said = redact(finished.stderr or finished.stdout).replace(str(target_dir), "...")
        raise ReproError(
            f"no wheel can be built of the working copy `{copy.directory.name}`",
            hint="make its build work (`python -m build`), or install it as a wheel",
            details=tuple(line for line in said.strip().splitlines() if line.strip())[-8:],
        )
    return wheels[0]
