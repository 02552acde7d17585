"""What comes back from a process that scores: answers, or nothing that is believed."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from repro.models.scored import read_answers


def test_answers_are_read_in_their_order() -> None:
    array = {"array": {"dtype": "<f8", "shape": [2], "buffer": 0}}
    found = read_answers({"answers": [array, {"json": 1}]}, [struct.pack("<2d", 1.5, 2), b'{"a": 1}'], 2)
    assert found == [[1.5, 2.0], {"a": 1}]


@pytest.mark.parametrize(
    "header",
    [
        {}, {"answers": None}, {"answers": []}, {"answers": [1]}, {"answers": [{}]}, {"answers": [{"error": None}]},
        {"answers": [{"json": 7}]}, {"answers": [{"json": 0}]}, {"answers": [{"json": "0"}]},
        {"answers": [{"array": {"dtype": "O", "shape": [1], "buffer": 0}}]},
        {"answers": [{"array": {"dtype": "<f8", "shape": [1 << 60], "buffer": 0}}]},
        {"answers": [{"array": {"dtype": "<f8", "shape": 1, "buffer": 0}}]},
    ],
)  # fmt: skip
def test_what_is_no_answer_is_an_error_of_one_kind(header: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_answers(header, [b"\xff" * 8], 1)
