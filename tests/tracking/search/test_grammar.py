from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.errors import TrackingError
from repro.tracking.search.clauses import (
    EXPERIMENTS,
    MODEL_VERSIONS,
    REGISTERED_MODELS,
    RUNS,
    Clause,
    Comparator,
    Entity,
    Order,
    Vocabulary,
)
from repro.tracking.search.grammar import parse_filter, parse_order


def clause(entity: Entity, key: str, comparator: Comparator, value: object = None) -> Clause:
    return Clause(entity=entity, key=key, comparator=comparator, value=value)  # type: ignore[arg-type]


ATTRIBUTE, METRIC, PARAM, TAG, DATASET = Entity
EQUAL = Comparator.EQUAL


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("metrics.acc > 0.9", clause(METRIC, "acc", Comparator.MORE, 0.9)),
        ("metric.acc>=-1", clause(METRIC, "acc", Comparator.AT_LEAST, -1.0)),
        ("metrics.acc < 1e-3", clause(METRIC, "acc", Comparator.LESS, 0.001)),
        ("metrics.acc <= .5", clause(METRIC, "acc", Comparator.AT_MOST, 0.5)),
        ("metrics.acc != +2.", clause(METRIC, "acc", Comparator.UNEQUAL, 2.0)),
        ("metrics.`val acc` = 1", clause(METRIC, "val acc", EQUAL, 1.0)),
        ('metrics."val/acc" = 1', clause(METRIC, "val/acc", EQUAL, 1.0)),
        ("`metrics`.`a.b` = 1", clause(METRIC, "a.b", EQUAL, 1.0)),
        ("metrics.val/acc-2 = 1", clause(METRIC, "val/acc-2", EQUAL, 1.0)),
        ("param.lr = '0.1'", clause(PARAM, "lr", EQUAL, "0.1")),
        ("parameters.lr='0.1'", clause(PARAM, "lr", EQUAL, "0.1")),
        ('params.lr = "it\'s"', clause(PARAM, "lr", EQUAL, "it's")),
        ("params.lr = 'it''s'", clause(PARAM, "lr", EQUAL, "it's")),
        ("params.lr = 'a AND b'", clause(PARAM, "lr", EQUAL, "a AND b")),
        ("params.lr like '%x_'", clause(PARAM, "lr", Comparator.LIKE, "%x_")),
        ("tags.mlflow.source.name ILIKE 'Train%'", clause(TAG, "mlflow.source.name", Comparator.ILIKE, "Train%")),
        ("tag.team is  not   null", clause(TAG, "team", Comparator.IS_NOT_NULL)),
        ("params.lr IS NULL", clause(PARAM, "lr", Comparator.IS_NULL)),
        ("status = 'RUNNING'", clause(ATTRIBUTE, "status", EQUAL, "RUNNING")),
        ("run.status = 'RUNNING'", clause(ATTRIBUTE, "status", EQUAL, "RUNNING")),
        ("attr.start_time > 1664067852747", clause(ATTRIBUTE, "start_time", Comparator.MORE, 1664067852747)),
        ("attributes.created > 1.5", clause(ATTRIBUTE, "start_time", Comparator.MORE, 1.5)),
        ("attributes.`Run name` = 'x'", clause(ATTRIBUTE, "run_name", EQUAL, "x")),
        ("\"run name\" != ''", clause(ATTRIBUTE, "run_name", Comparator.UNEQUAL, "")),
        ("run_id IN ('a', 'b')", clause(ATTRIBUTE, "run_id", Comparator.IN, ("a", "b"))),
        ("run_id not in(\"a\" ,'b',)", clause(ATTRIBUTE, "run_id", Comparator.NOT_IN, ("a", "b"))),
        ("datasets.name LIKE 'wine%'", clause(DATASET, "name", Comparator.LIKE, "wine%")),
        ("dataset.context IN ('train')", clause(DATASET, "context", Comparator.IN, ("train",))),
    ],
)
def test_a_clause_of_runs_is_read(text: str, wanted: Clause) -> None:
    assert parse_filter(f"  {text}\n", RUNS) == (wanted,)


def test_clauses_are_joined_by_and_in_any_case_and_over_lines() -> None:
    text = "metrics.a > 1 AND params.b = 'x'and\n tags.c IS NULL aNd run_id IN ('r')"
    assert [each.key for each in parse_filter(text, RUNS)] == ["a", "b", "c", "run_id"]
    assert parse_filter("", RUNS) == parse_filter(" \n", RUNS) == ()


RUN_KEYS = (
    "keys are run_id, run_name, status, user_id, artifact_uri, start_time, end_time, metrics.KEY, parameters.KEY, "
    "tags.KEY, datasets.name, datasets.digest, datasets.context"
)
TEXTS = "=, !=, LIKE, ILIKE"
NUMBERS = "=, !=, <, <=, >, >="


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("acc > 0.9", "`acc > 0.9` has the key `acc`, which is no attribute of a run", RUN_KEYS),
        ("model.x = 'a'", "`model.x = 'a'` has the key `model.x`, and runs are not searched by `model`", RUN_KEYS),
        ("datasets.size = '1'", "`datasets.size = '1'` has the key `datasets.size`, which a dataset has not", RUN_KEYS),
        ("metrics.`` = 1", "`metrics.`` = 1` has the key `metrics.```, which a metric has not", RUN_KEYS),
        ("= 3", "`= 3` does not begin with a key", RUN_KEYS),
        ("metrics.acc", "`metrics.acc` has no comparator after `acc`", f"a metric is compared with {NUMBERS}"),
        ("metrics.acc == 1", "`metrics.acc == 1` compares `acc` with `==`", f"a metric is compared with {NUMBERS}"),
        (
            "metrics.acc LIKE 'a'",
            "`metrics.acc LIKE 'a'` compares `acc` with `LIKE`",
            f"a metric is compared with {NUMBERS}",
        ),
        (
            "params.lr > '1'",
            "`params.lr > '1'` compares `lr` with `>`",
            f"a parameter is compared with {TEXTS}, IS NULL, IS NOT NULL",
        ),
        (
            "status IN ('FAILED')",
            "`status IN ('FAILED')` compares `status` with `IN`",
            f"`status` is compared with {TEXTS}",
        ),
        (
            "end_time IS NULL",
            "`end_time IS NULL` compares `end_time` with `IS NULL`",
            f"`end_time` is compared with {NUMBERS}",
        ),
        (
            "metrics.acc > '0.9'",
            "`metrics.acc > '0.9'` compares `acc` with what is no number",
            "numbers are written without quotes",
        ),
        (
            "metrics.acc > 1.2.3",
            "`metrics.acc > 1.2.3` compares `acc` with what is no number",
            "numbers are written without quotes",
        ),
        (
            "params.lr = 0.1",
            "`params.lr = 0.1` compares `lr` with what is no quoted text",
            "texts are written 'like this'",
        ),
        (
            "params.lr = 'x",
            "`params.lr = 'x` compares `lr` with what is no quoted text",
            "texts are written 'like this'",
        ),
        ("run_id IN ()", "`run_id IN ()` has no list of quoted texts", "a list is written ('one', 'two')"),
        (
            "run_id IN ('a' 'b')",
            "`run_id IN ('a' 'b')` has no list of quoted texts",
            "a list is written ('one', 'two')",
        ),
        ("run_id IN (1)", "`run_id IN (1)` has no list of quoted texts", "a list is written ('one', 'two')"),
        ("run_id IN 'a'", "`run_id IN 'a'` has no list of quoted texts", "a list is written ('one', 'two')"),
        (
            "metrics.a > 1 OR metrics.b > 1",
            "`metrics.a > 1 OR metrics.b > 1` is followed by `OR`",
            "clauses are joined by AND, and only by it",
        ),
        (
            "metrics.a > 1 params.b = '1'",
            "`metrics.a > 1 params.b = '1'` is followed by `params.b`",
            "clauses are joined by AND, and only by it",
        ),
        ("metrics.a > 1 AND ", "`metrics.a > 1` is followed by AND and nothing more", None),
        ("(metrics.a > 1)", "`(metrics.a > 1)` does not begin with a key", RUN_KEYS),
        (
            "tags.a = 'b' AND metrics.a ~ 3",
            "`metrics.a ~ 3` compares `a` with `~`",
            f"a metric is compared with {NUMBERS}",
        ),
    ],
)
def test_a_wrong_filter_is_refused_with_its_clause_and_what_may_stand_there(
    text: str, message: str, hint: str | None
) -> None:
    with pytest.raises(TrackingError) as caught:
        parse_filter(text, RUNS)
    assert caught.value.message == f"the filter's clause {message}"
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("text", "vocabulary", "taken"),
    [
        ("name LIKE 'a%'", EXPERIMENTS, True),
        ("attribute.creation_time > 3", EXPERIMENTS, True),
        ("experiment_id IN ('1')", EXPERIMENTS, True),
        ("tags.team IS NULL", EXPERIMENTS, True),
        ("metrics.a > 3", EXPERIMENTS, False),
        ("name IN ('a')", EXPERIMENTS, False),
        ("name IN ('a')", REGISTERED_MODELS, True),
        ("tags.team IS NULL", REGISTERED_MODELS, False),
        ("creation_timestamp > 1", REGISTERED_MODELS, False),
        ("version_number >= 2", MODEL_VERSIONS, True),
        ("run_id IN ('a') AND source_path = 'x'", MODEL_VERSIONS, True),
    ],
)
def test_other_things_have_keys_of_their_own(text: str, vocabulary: Vocabulary, taken: bool) -> None:
    if taken:
        assert parse_filter(text, vocabulary)
    else:
        with pytest.raises(TrackingError):
            parse_filter(text, vocabulary)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("metrics.acc", Order(entity=METRIC, key="acc")),
        (" metrics.`val acc`  desc ", Order(entity=METRIC, key="val acc", ascending=False)),
        ('params."a b" ASC', Order(entity=PARAM, key="a b")),
        ("tags.mlflow.user DESC", Order(entity=TAG, key="mlflow.user", ascending=False)),
        ("attributes.start_time", Order(entity=ATTRIBUTE, key="start_time")),
        ("Created DESC", Order(entity=ATTRIBUTE, key="start_time", ascending=False)),
    ],
)
def test_an_order_is_read(text: str, wanted: Order) -> None:
    assert parse_order(text, RUNS) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the order `` does not begin with a key"),
        ("metrics.acc down", "the order `metrics.acc down` ends with what is neither ASC nor DESC"),
        (
            "metrics.acc DESC, start_time",
            "the order `metrics.acc DESC, start_time` ends with what is neither ASC nor DESC",
        ),
        ("acc", "the order `acc` has the key `acc`, which is no attribute of a run"),
        (
            "datasets.name",
            "the order `datasets.name` has the key `datasets.name`, and runs are not sorted by `datasets`",
        ),
    ],
)
def test_a_wrong_order_is_refused(text: str, message: str) -> None:
    with pytest.raises(TrackingError) as caught:
        parse_order(text, RUNS)
    assert caught.value.message == message


KEYS = st.text("abc _-./:Ü", min_size=1, max_size=8)
VALUES = st.text(st.characters(codec="utf-8"), max_size=12)


@given(KEYS, VALUES, KEYS, st.floats(allow_nan=False, allow_infinity=False))
def test_any_key_and_any_value_can_be_written(key: str, value: str, metric: str, number: float) -> None:
    quoted = value.replace("'", "''")
    text = f"params.`{key}` = '{quoted}' AND metrics.\"{metric}\" >= {number!r}"
    assert parse_filter(text, RUNS) == (
        clause(PARAM, key, EQUAL, value),
        clause(METRIC, metric, Comparator.AT_LEAST, number),
    )


@given(st.text("metrics.a=<>'\"`() ANDLIKE0 1,", max_size=40))
def test_whatever_is_written_is_read_or_refused_in_words(text: str) -> None:
    for vocabulary in (RUNS, EXPERIMENTS):
        with suppress(TrackingError):
            assert isinstance(parse_filter(text, vocabulary), tuple)
