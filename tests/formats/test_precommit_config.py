from __future__ import annotations

import pytest

from repro.errors import ProjectError
from repro.formats.fields import load_mapping
from repro.formats.precommit_config import add_hook, make_hook

ENTRY = "repro snapshot --check 'a: b'"
REPOS = "repos:\n- repo: https://example.org/hooks\n  rev: v1\n  hooks:\n  - id: black  # a comment\n"
INDENTED = "# ours\nrepos:\n  - repo: https://example.org/hooks\n    rev: v1\n    hooks:\n      - id: black\n"


@pytest.mark.parametrize(
    "text",
    [REPOS, INDENTED, f"{REPOS}\n# what follows\nfail_fast: true\n", f"fail_fast: true\n{INDENTED}", INDENTED[:-1]],
)
def test_the_hook_is_added_and_all_else_stays(text: str) -> None:
    before = load_mapping(text, where="x")
    added = add_hook(text, ENTRY, where="x")
    assert isinstance(before["repos"], list)
    assert load_mapping(added, where="x") == {**before, "repos": [*before["repos"], make_hook(ENTRY)]}
    assert [line for line in text.splitlines() if line not in added.splitlines()] == []
    assert add_hook(added, ENTRY, where="x") == added


@pytest.mark.parametrize(
    "text", ["repos: []\n", "fail_fast: true\n", "repos:\n", "repos: [{repo: local, hooks: []}]\n"]
)
def test_a_configuration_that_cannot_be_added_to_is_refused_with_the_lines(text: str) -> None:
    with pytest.raises(ProjectError, match="no hook can be added to") as caught:
        add_hook(text, ENTRY, where="x")
    assert caught.value.details[0] == "- repo: local"
