"""`.pre-commit-config.yaml`: a hook added at the end of `repos`, all else left as it is written."""

from __future__ import annotations

import re

from repro.errors import ProjectError
from repro.formats.fields import load_mapping

HOOK_ID = "repro-snapshot"


def make_hook(entry: str) -> dict[str, object]:
    """Return a repository of pre-commit with one hook that runs `entry` at every commit."""
    hook = {
        "id": HOOK_ID,
        "name": "requirements-lock.txt is that of the environment",
        "entry": entry,
        "language": "system",
        "pass_filenames": False,
        "always_run": True,
    }
    return {"repo": "local", "hooks": [hook]}


def _format_hook(entry: str, indent: str) -> list[str]:
    import json

    return [
        f"{indent}{line}"
        for line in (
            "- repo: local",
            "  hooks:",
            f"  - id: {HOOK_ID}",
            "    name: requirements-lock.txt is that of the environment",
            f"    entry: {json.dumps(entry)}",
            "    language: system",
            "    pass_filenames: false",
            "    always_run: true",
        )
    ]


def _has_hook(repos: list[object]) -> bool:
    hooks = [hook for repo in repos if isinstance(repo, dict) for hook in repo.get("hooks") or () if hook]
    return any(isinstance(hook, dict) and hook.get("id") == HOOK_ID for hook in hooks)


def _find_end(lines: list[str]) -> tuple[int, str]:
    """Return the line behind the block of `repos`, and how its items are indented."""
    start = next((number for number, line in enumerate(lines) if re.match(r"repos\s*:", line)), len(lines))
    end, indent = start + 1, None
    for number in range(start + 1, len(lines)):
        line = lines[number]
        if re.match(r"[^\s#-]", line) or line.startswith(("---", "...")):
            break
        if line.strip() and not line.lstrip().startswith("#"):
            end = number + 1
            item = re.match(r"(\s*)- ", line)
            indent = item[1] if item and indent is None else indent
    return end, indent or ""


def add_hook(text: str, entry: str, *, where: str) -> str:
    """Return a configuration that has the hook. Raises ProjectError where it is written so that it cannot be added."""
    content = load_mapping(text, where=where)
    repos = content.get("repos")
    if isinstance(repos, list) and _has_hook(repos):
        return text
    lines = text.splitlines()
    if isinstance(repos, list):
        end, indent = _find_end(lines)
        added = "\n".join([*lines[:end], *_format_hook(entry, indent), *lines[end:]]) + "\n"
        try:
            if load_mapping(added, where=where) == {**content, "repos": [*repos, make_hook(entry)]}:
                return added
        except ProjectError:
            pass
    raise ProjectError(
        f"`{where}` is written in a way that no hook can be added to",
        hint="add these lines to `repos` yourself",
        details=tuple(_format_hook(entry, "")),
    )
