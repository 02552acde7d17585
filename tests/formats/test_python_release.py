from __future__ import annotations

from datetime import date

import pytest

from repro.formats.python_release import find_release_day, is_in_use


@pytest.mark.parametrize(
    ("version", "day"),
    [
        ("3.6", date(2016, 12, 23)),
        ("3.11.7", date(2022, 10, 24)),
        ("3.14.0rc1", date(2025, 10, 1)),
        ("3.15", date(2026, 10, 1)),
        ("3.5", None),
        ("2.7.18", None),
        ("3", None),
    ],
)
def test_the_day_a_python_came_out_is_known(version: str, day: date | None) -> None:
    assert find_release_day(version) == day


@pytest.mark.parametrize(
    ("version", "day", "expected"),
    [
        ("3.11.7", date(2022, 8, 15), False),
        ("3.11.7", date(2023, 4, 21), False),
        ("3.11.7", date(2023, 4, 22), True),
        ("3.10.1", date(2022, 8, 15), True),
        ("2.7", date(2010, 1, 1), True),
    ],
)
def test_a_python_is_in_use_half_a_year_after_it_came_out(version: str, day: date, expected: bool) -> None:
    assert is_in_use(version, day=day) is expected
