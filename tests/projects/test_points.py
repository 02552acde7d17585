"""Choose the points of a sweep."""

from __future__ import annotations

import pytest

from repro.errors import UsageError
from repro.formats.axis import parse_axis
from repro.projects.points import choose_points

GRID = {"lr": parse_axis("0.1,0.2"), "depth": parse_axis("range(2,5)"), "name": parse_axis("x")}


def test_a_grid_is_every_combination_and_the_last_axis_turns_fastest() -> None:
    points = choose_points(GRID, sample=None, seed=0)
    assert [tuple(point.values()) for point in points] == [
        ("0.1", "2", "x"), ("0.1", "3", "x"), ("0.1", "4", "x"),
        ("0.2", "2", "x"), ("0.2", "3", "x"), ("0.2", "4", "x"),
    ]  # fmt: skip


def test_a_sample_of_a_grid_has_no_point_twice_and_begins_with_a_smaller_one() -> None:
    all_points = choose_points(GRID, sample=99, seed=7)
    assert sorted(map(str, all_points)) == sorted(map(str, choose_points(GRID, sample=None, seed=0)))
    assert choose_points(GRID, sample=4, seed=7) == all_points[:4]
    assert choose_points(GRID, sample=6, seed=8) != all_points


def test_a_seed_gives_the_same_numbers_for_ever() -> None:
    axes = {"lr": parse_axis("loguniform(0.0001,0.1)"), "kind": parse_axis("a,b,c"), "fixed": parse_axis("1")}
    assert choose_points(axes, sample=3, seed=42) == (
        {"lr": "0.00828476884093", "kind": "a", "fixed": "1"},
        {"lr": "0.000668479287039", "kind": "a", "fixed": "1"},
        {"lr": "0.0161962190734", "kind": "c", "fixed": "1"},
    )


def test_a_huge_range_can_be_sampled_and_not_run() -> None:
    axes = {"seed": parse_axis("range(0,1000000000000)")}
    assert len({point["seed"] for point in choose_points(axes, sample=50, seed=1)}) == 50
    with pytest.raises(UsageError, match="1000000000000 points"):
        choose_points(axes, sample=None, seed=1)


def test_an_axis_without_an_end_needs_a_sample() -> None:
    with pytest.raises(UsageError, match="`lr` has no end of values"):
        choose_points({"lr": parse_axis("uniform(0,1)")}, sample=None, seed=1)
