from __future__ import annotations

import itertools
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from layout import make_run

from repro.errors import TrackingError
from repro.formats.run_meta import Experiment
from repro.tracking.entities import Dataset, ExperimentQuery, Run, RunQuery, ViewType
from repro.tracking.search.find import find_experiments, find_runs
from repro.tracking.search.match import make_like


def ask(clauses: str = "", *order_by: str, **more: object) -> RunQuery:
    return RunQuery(experiment_ids=("0",), filter=clauses, order_by=order_by, **more)  # type: ignore[arg-type]


def find_names(runs: list[Run], query: RunQuery) -> list[str]:
    return [run.info.run_name for run in find_runs(runs, query)]


@given(st.text("ab%_\n", max_size=6), st.text("ab\n", max_size=6))
def test_like_is_what_a_backtracking_pattern_says(pattern: str, text: str) -> None:
    plain = "".join({"%": ".*", "_": "."}.get(each, re.escape(each)) for each in pattern)
    assert make_like(pattern)(text) == bool(re.fullmatch(plain, text, re.DOTALL))
    assert make_like(pattern.upper(), ignore_case=True)(text) == make_like(pattern)(text)


def test_what_has_no_value_comes_last_in_both_directions_and_nan_before_it() -> None:
    values = {"low": -math.inf, "nan": math.nan, "none": None, "high": math.inf, "mid": 0.5}
    runs = [make_run(0, name=name, metrics={} if value is None else {"m": value}) for name, value in values.items()]
    assert find_names(runs, ask("", "metrics.m")) == ["low", "mid", "high", "nan", "none"]
    assert find_names(runs, ask("", "metrics.m DESC")) == ["high", "mid", "low", "nan", "none"]


def test_without_an_order_the_newest_is_first_and_ties_are_broken_by_run_id() -> None:
    runs = [make_run(number, start_time_ms=number // 3) for number in range(9)]
    found = [(-run.info.start_time_ms, run.run_id) for run in find_runs(runs, ask())]
    assert found == sorted(found)
    ordered = find_runs(runs, ask("", "attributes.status DESC", "tags.none"))
    assert [run.run_id for run in ordered] == [run_id for _, run_id in found]


def test_the_first_order_decides_first() -> None:
    runs = [
        make_run(0, name=f"{a}{b}", params={"a": a}, metrics={"b": b}) for a, b in itertools.product("xy", (1.0, 2.0))
    ]
    assert find_names(runs, ask("", "params.a DESC", "metrics.b")) == ["y1.0", "y2.0", "x1.0", "x2.0"]


def test_a_missing_value_matches_nothing_but_is_null() -> None:
    runs = [make_run(1, name="with", tags={"t": "x"}), make_run(2, name="without")]
    assert find_names(runs, ask("tags.t != 'y'")) == ["with"]
    assert find_names(runs, ask("tags.t IS NULL")) == ["without"]
    assert find_names(runs, ask("tags.t IS NOT NULL")) == ["with"]


def test_one_of_the_datasets_is_enough() -> None:
    wine = Dataset(name="wine", digest="1", source_type="local", source="{}", tags={"mlflow.data.context": "train"})
    iris = Dataset(name="iris", digest="2", source_type="local", source="{}")
    runs = [make_run(1, name="both", datasets=(wine, iris)), make_run(2, name="iris", datasets=(iris,)), make_run(3)]
    assert find_names(runs, ask("datasets.name = 'wine'")) == ["both"]
    assert sorted(find_names(runs, ask("datasets.name != 'wine'"))) == ["both", "iris"]
    assert find_names(runs, ask("datasets.context LIKE 'tr%' AND datasets.digest IN ('1', '3')")) == ["both"]


def test_deleted_runs_are_found_where_the_view_shows_them() -> None:
    runs = [make_run(1, name="kept"), make_run(2, name="gone", stage="deleted")]
    assert find_names(runs, ask()) == ["kept"]
    assert find_names(runs, ask(view=ViewType.DELETED_ONLY)) == ["gone"]
    assert sorted(find_names(runs, ask(view=ViewType.ALL))) == ["gone", "kept"]


@given(st.integers(0, 12), st.integers(1, 5))
def test_pages_give_every_run_once(number: int, size: int) -> None:
    runs = [make_run(each, metrics={"m": each % 3}) for each in range(number)]
    seen: list[str] = []
    token = None
    while True:
        page = find_runs(runs, ask("", "metrics.m", max_results=size, page_token=token))
        seen += [run.run_id for run in page]
        token = page.token
        if not token:
            break
        assert len(page) == size
    assert seen == [run.run_id for run in find_runs(runs, ask("", "metrics.m"))]
    assert len(seen) == number


def test_a_page_goes_on_after_the_last_run_also_where_a_newer_one_has_come() -> None:
    runs = [make_run(each, start_time_ms=each) for each in range(6)]
    first = find_runs(runs[:5], ask(max_results=2))
    second = find_runs(runs, ask(max_results=2, page_token=first.token))
    assert [run.info.start_time_ms for run in (*first, *second)] == [4, 3, 2, 1]
    without_last = [run for run in runs[:5] if run.run_id != first.items[-1].run_id]
    third = find_runs(without_last, ask(max_results=2, page_token=first.token))
    assert [run.info.start_time_ms for run in third] == [1, 0]


@pytest.mark.parametrize("token", ["x", "eyJvZmZzZXQiOiAxfQ==", "W10=", "é"])
def test_what_is_no_page_token_is_refused(token: str) -> None:
    with pytest.raises(TrackingError) as caught:
        find_runs([], ask(page_token=token))
    assert caught.value.message == f"`{token}` is no page token"


def test_the_token_of_another_search_is_refused() -> None:
    token = find_runs([make_run(1), make_run(2)], ask(max_results=1)).token
    with pytest.raises(TrackingError, match="is the page token of another search"):
        find_runs([], ask("metrics.m > 1", page_token=token))


@pytest.mark.parametrize("number", [0, -1, 50_001])
def test_a_page_of_no_possible_size_is_refused(number: int) -> None:
    with pytest.raises(TrackingError) as caught:
        find_runs([], ask(max_results=number))
    assert (caught.value.message, caught.value.hint) == (f"`max_results` is {number}", "ask for 1 to 50000")


def make_experiment(experiment_id: str, name: str, created: int, **tags: str) -> Experiment:
    return Experiment(
        experiment_id=experiment_id, name=name, artifact_location="", creation_time_ms=created,
        last_update_time_ms=created + 10, tags=tags,
    )  # fmt: skip


def test_experiments_are_found_by_name_time_and_tag() -> None:
    experiments = [make_experiment("0", "Default", 1), make_experiment("11", "wine", 2, team="red"),
                   make_experiment("9", "Wine 2", 2)]  # fmt: skip

    def ids(clauses: str = "", *order_by: str) -> list[str]:
        query = ExperimentQuery(filter=clauses, order_by=order_by)
        return [each.experiment_id for each in find_experiments(experiments, query)]

    assert ids() == ["11", "9", "0"]
    assert ids("", "last_update_time") == ["0", "9", "11"]
    assert ids("name LIKE 'wine%'") == ["11"]
    assert ids("attribute.name ILIKE 'wine%' AND tags.team IS NULL") == ["9"]
    assert ids("creation_time >= 2 AND tags.team = 'red'") == ["11"]
    with pytest.raises(TrackingError, match="experiments are not sorted by `tags`"):
        ids("", "tags.team")
