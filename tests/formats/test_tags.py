from __future__ import annotations

from repro.formats.tags import expand_tags


def test_a_compressed_set_of_tags_is_expanded() -> None:
    assert expand_tags("py2.py3-none-any") == {"py2-none-any", "py3-none-any"}
    assert len(expand_tags("cp39-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64")) == 2
