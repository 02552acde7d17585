"""Keep what a run's code differs in from its commit: the artifact `code.diff`.

It has the changes of tracked files and the text of new ones, and `git apply` takes it on a checkout of the commit. What
is too large, is no text, or looks as if it held a secret is left out, and named at its top.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from repro.patterns import compile_later
from repro.tracking.git_source import GitSource, ask_git, find_git_source
from repro.tracking.store import Store, find_directory, write_text
from repro.values import frozen, replace

FILE_NAME = "code.diff"
MAX_FILE_BYTES = 256 * 1024
MAX_BYTES = 1024 * 1024
MAX_NAMES = 200
MAX_FILES = 500
_SECRET_FILE = compile_later(
    r"(^|/)(\.env(\..*)?|[^/]+\.env|\.envrc|\.netrc|\.pypirc|\.npmrc|\.pgpass|\.my\.cnf|\.s3cfg|\.boto|\.htpasswd"
    r"|\.dockercfg|\.vault-token|kubeconfig|kaggle\.json|rclone\.conf|\.?pip\.conf|\.[^/]*_history"
    r"|id_(rsa|dsa|ecdsa|ed25519)[^/]*|[^/]*\.(pem|key|p12|pfx|jks|keystore|kdbx|ppk|ovpn|tfvars|tfstate)"
    r"|([^/]*[_.-])?(secrets?|credentials?)(\.[a-z]+)?|([^/]*[_.-])?(passwords?|token|api_?keys?)(\.(?!py$|r$|ipynb$)[a-z]+)?)$"
    r"|(^|/)\.(ssh|gnupg|aws|azure|kube|docker)/",
    re.IGNORECASE,
)
_NAMES = r"(passw\w*|passphrase|pwd|secret\w*|token|authtoken|api_?key|access_?key|private_?key|key-data|credential\w*)"
# Shapes that only keys have; an assignment to a name that says so, of a long text in quotes, or without them of what
# has digits among letters, as few of the names have that a program assigns.
_SECRET_TEXT = compile_later(
    r"-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|\b(gh[pousr]_|github_pat_|glpat-|xox[a-z]-|hf_|pypi-|AKIA|ASIA|AIza|ya29\.|sk-)[\w.-]{12,}"
    r"|\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\."
    r"|://[^/\s:@]*:[^/\s@]+@|://[^/\s:@\"'{}]{16,}@"
    rf"|{_NAMES}[\"']?\s*[:=]\s*[\"'][^\"'\s]{{6,}}[\"']"
    rf"|{_NAMES}[\"']?\s*[:=]\s*(?=[\w+/=-]*\d)(?=[\w+/=-]*[a-z])[\w+/=-]{{8,}}([\s;,]|$)",
    re.IGNORECASE,
)
# In a file of settings every value of such a name.
_SETTINGS_FILE = compile_later(r"\.(ya?ml|ini|cfg|conf|toml|properties|sh|bash|zsh|json|txt)$", re.IGNORECASE)
_SECRET_SETTING = compile_later(rf"{_NAMES}[\"']?\s*[:=]\s*[^\s$<{{(\[#]{{6,}}", re.IGNORECASE)
_UNNAMEABLE = compile_later(r"[\x00-\x1f\x7f\"\\\ufffd]|\s$")


@frozen
class LeftOut:
    """A file that is not in the diff, and why."""

    path: str
    why: str


@frozen
class CodeDiff:
    """The text of `code.diff`, and what it leaves out."""

    text: str
    left_out: tuple[LeftOut, ...]


def _find_secret(path: str, text: str) -> str | None:
    """Return why a file's lines should not be shown."""
    if _SECRET_FILE.search(path):
        return "its name says that it holds secrets"
    is_setting = _SETTINGS_FILE.search(path) is not None
    for number, line in enumerate(text.splitlines(), 1):
        if _SECRET_TEXT.search(line) or (is_setting and _SECRET_SETTING.search(line)):
            return f"line {number} of its part looks as if it held a secret"
    return None


def _format_size(size_bytes: int) -> str:
    return f"{size_bytes / 1024:.0f} KiB" if size_bytes < 1024 * 1024 else f"{size_bytes / 1024 / 1024:.1f} MiB"


def _describe_new_file(root: Path, path: str) -> str | LeftOut:
    """Return a file that git does not have as a part of a diff."""
    place = root / path
    if place.is_symlink() or not place.is_file():
        return LeftOut(path=path, why="it is no file of its own")
    if _SECRET_FILE.search(path):
        return LeftOut(path=path, why="its name says that it holds secrets")
    size_bytes = place.stat().st_size
    if size_bytes > MAX_FILE_BYTES:
        return LeftOut(path=path, why=f"it has {_format_size(size_bytes)}")
    try:
        text = place.read_bytes().decode()
    except UnicodeDecodeError:
        return LeftOut(path=path, why="it is no text")
    if "\0" in text:
        return LeftOut(path=path, why="it is no text")
    mode = "100755" if place.stat().st_mode & 0o100 else "100644"
    head = f"diff --git a/{path} b/{path}\nnew file mode {mode}\n"
    if not text:
        return head
    lines = text.removesuffix("\n").split("\n")
    end = "" if text.endswith("\n") else "\n\\ No newline at end of file"
    body = "\n".join(f"+{line}" for line in lines)
    return f"{head}--- /dev/null\n+++ b/{path}\n@@ -0,0 +1,{len(lines)} @@\n{body}{end}\n"


# What a configuration may say otherwise, and `git apply` would not take.
_PLAIN_DIFF = (
    "--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--submodule=short", "--src-prefix=a/",
    "--dst-prefix=b/",
)  # fmt: skip


def _describe_change(root: Path, path: str) -> str | LeftOut:
    if _SECRET_FILE.search(path):
        return LeftOut(path=path, why="its name says that it holds secrets")
    text = ask_git(root, "--literal-pathspecs", "diff", *_PLAIN_DIFF, "HEAD", "--", path)
    if text is None:
        return LeftOut(path=path, why="git does not show how it differs")
    if len(text) > MAX_FILE_BYTES:
        return LeftOut(path=path, why=f"its change has {_format_size(len(text))}")
    if "\ufffd" in text or re.search(r"^Binary files ", text, re.MULTILINE):
        return LeftOut(path=path, why="it is no text")
    return text


def _list_parts(source: GitSource) -> Iterator[tuple[str, str | LeftOut]]:
    """Yield each file with its part of the diff; more files than anybody reads are no code, and take their time."""
    describers = [*((path, _describe_change) for path in source.changed),
                  *((path, _describe_new_file) for path in source.untracked)]  # fmt: skip
    for number, (path, describe) in enumerate(describers):
        if _UNNAMEABLE.search(path):
            yield ascii(path)[1:-1], LeftOut(path=ascii(path)[1:-1], why="its name cannot stand in a diff")
        elif number >= MAX_FILES:
            yield path, LeftOut(path=path, why=f"it is one of more than {MAX_FILES} files")
        else:
            yield path, describe(source.root, path)


@lru_cache(maxsize=8)
def make_code_diff(source: GitSource) -> CodeDiff:
    """Return what the files of a repository differ in from its commit, as they are now; once for each process."""
    parts: list[str] = []
    left_out = []
    total = 0
    for path, part in _list_parts(source):
        if isinstance(part, str):
            size_bytes = len(part.encode())
            why = _find_secret(path, part)
            if why is None and total + size_bytes > MAX_BYTES:
                why = f"the diff would have more than {_format_size(MAX_BYTES)}"
            if why is None:
                parts.append(part)
                total += size_bytes
                continue
            part = LeftOut(path=path, why=why)  # noqa: PLW2901
        left_out.append(part)
    notes = [f"# left out: {each.path} ({each.why})\n" for each in left_out[:MAX_NAMES]]
    if len(left_out) > MAX_NAMES:
        notes.append(f"# left out: {len(left_out) - MAX_NAMES} more\n")
    return CodeDiff(text="".join([*notes, *parts]), left_out=tuple(left_out))


def keep_code_diff(store: Store, run_id: str, directory: Path) -> None:
    """Keep the diff of a directory's repository with a run, where there is any. Raises TrackingError."""
    source = find_git_source(directory)
    if source is None:
        return
    place = find_directory(store.uri, cwd=Path.cwd())
    untracked = [path for path in source.untracked if not (place and (source.root / path).is_relative_to(place))]
    source = replace(source, untracked=tuple(untracked))
    diff = make_code_diff(source)
    if diff.text:
        write_text(store, run_id, FILE_NAME, diff.text)
