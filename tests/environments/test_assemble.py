from __future__ import annotations

import pytest
from installer.scripts import Script

from repro.environments.assemble import _make_script
from repro.environments.trees import EntryPoint


@pytest.mark.parametrize("attribute", ["main", "App.run"])
def test_the_script_of_an_entry_point_is_what_installer_writes(attribute: str) -> None:
    made = _make_script(
        EntryPoint(name="tool", module="tool.cli", attribute=attribute, section="console"), "/env/bin/python"
    )
    _, expected = Script("tool", "tool.cli", attribute, "console").generate("/env/bin/python", "posix")
    assert made == expected
