from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from repositories import GitServer, serving_git


@pytest.fixture
def git_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make git know an author, and nothing of this machine; submodules may be on it, which git else refuses."""
    path = tmp_path / "gitconfig"
    path.write_text(
        '[user]\nname = ada\nemail = ada@example.org\n[protocol "file"]\nallow = always\n[init]\ndefaultBranch = main\n'
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    return path


@pytest.fixture
def git_server(tmp_path: Path) -> Iterator[GitServer]:
    """A server of `tmp_path / "served"`."""
    root = tmp_path / "served"
    root.mkdir(exist_ok=True)
    with serving_git(root) as server:
        yield server
