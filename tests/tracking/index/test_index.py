from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from layout import make_run, write_experiment, write_run

from repro.errors import TrackingError
from repro.formats.run_meta import MetricPoint, RunStatus
from repro.tracking.entities import Batch, Dataset, Run, RunQuery, ViewType
from repro.tracking.file_store import FileStore
from repro.tracking.index.database import INDEX_FILE
from repro.tracking.search.find import find_runs

WINE = Dataset(name="wine", digest="1", source_type="local", source="{}", tags={"mlflow.data.context": "train"})
SETTLED_S = 2.1


def make_runs(root: Path, number: int = 80) -> list[Run]:
    write_experiment(root, "0", "Default")
    runs = [
        make_run(
            each,
            metrics={"acc": each / 100, "val/acc": -each},
            params={"kind": "svm" if each % 2 else "tree"},
            tags={"team": "red" if each % 3 else "blue", "mlflow.runName": f"run-{each}"},
            start_time_ms=1000 + each,
            datasets=(WINE,) if each % 10 == 0 else (),
        )
        for each in range(number)
    ]
    for run in runs:
        write_run(root, run)
    return runs


def ask(clauses: str = "", *order_by: str, ids: tuple[str, ...] = ("0",), **more: object) -> RunQuery:
    return RunQuery(experiment_ids=ids, filter=clauses, order_by=order_by, **more)  # type: ignore[arg-type]


QUERIES = [
    ask(), ask(view=ViewType.DELETED_ONLY), ask("metrics.acc >= 0.2", "metrics.acc DESC", max_results=20),
    ask("params.kind = 'svm' AND tags.team = 'red' AND metrics.`val/acc` < -3"), ask("params.new IS NOT NULL"),
    ask("tags.team IS NULL"), ask("datasets.name = 'wine'", "tags.team", "run_name DESC"), ask("status = 'RUNNING'"),
    ask("run_name LIKE 'run-1%'", "params.kind", "metrics.acc"),
]  # fmt: skip


def read_all(store: FileStore) -> list[Run]:
    """Return every run as its own files say, whatever the index knows."""
    return [store.read_run(run_dir) for run_dir in store.list_run_dirs(store.root / "0")]


def check(store: FileStore) -> None:
    runs = read_all(store)
    for query in QUERIES:
        assert store.search_runs(query) == find_runs(runs, query), query


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> FileStore:
    """A store whose index knows all: each test changes other runs of it."""
    root = tmp_path_factory.mktemp("indexed")
    make_runs(root)
    time.sleep(SETTLED_S)
    store = FileStore(root)
    check(store)
    assert count(root, "run") == 80
    return store


def count(root: Path, table: str) -> int:
    with sqlite3.connect(root / INDEX_FILE) as connection:
        (number,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    connection.close()
    return int(number)


def write_over(path: Path, content: str) -> None:
    """Write into the very file, as MLflow writes a tag."""
    before = path.stat().st_ino
    with path.open("r+") as file:
        file.write(content)
        file.truncate()
    assert path.stat().st_ino == before


def add_to_an_ended_run(store: FileStore, run_dir: Path) -> None:
    with (run_dir / "metrics" / "acc").open("a") as file:
        file.write("2 0.999 1\n")


def change_a_tag_in_place(store: FileStore, run_dir: Path) -> None:
    write_over(run_dir / "tags" / "team", "grey")


def change_a_parameter_in_place_and_its_times(store: FileStore, run_dir: Path) -> None:
    path = run_dir / "params" / "kind"
    before = path.stat()
    write_over(path, path.read_text()[::-1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def log_with_the_store(store: FileStore, run_dir: Path) -> None:
    store.log_batch(run_dir.name, Batch(params={"new": "1", "deep/key": "2"}, tags={"team": "green"}))
    store.log_metric(run_dir.name, "val/acc", MetricPoint(value=3.0, timestamp_ms=2, step=4))


def remove_a_tag(store: FileStore, run_dir: Path) -> None:
    store.delete_tag(run_dir.name, "team")


def end_and_rename(store: FileStore, run_dir: Path) -> None:
    store.update_run(run_dir.name, status=RunStatus.RUNNING, name="run-1 again")


def delete_it(store: FileStore, run_dir: Path) -> None:
    store.delete_run(run_dir.name)


def remove_its_directory(store: FileStore, run_dir: Path) -> None:
    shutil.rmtree(run_dir)


def read_a_dataset(store: FileStore, run_dir: Path) -> None:
    store.log_datasets(run_dir.name, (WINE, Dataset(name="iris", digest="2", source_type="local", source="{}")))


def move_its_start_by_hand(store: FileStore, run_dir: Path) -> None:
    path = run_dir / "meta.yaml"
    path.write_text(path.read_text().replace("start_time: 10", "start_time: 90"))


def add_a_run(store: FileStore, run_dir: Path) -> None:
    write_run(store.root, make_run(1000 + len(run_dir.parent.name), params={"new": "x"}))


def make_a_directory_that_becomes_a_run(store: FileStore, run_dir: Path) -> None:
    made = write_run(store.root, make_run(2000, metrics={"acc": 5.0}))
    (made / "meta.yaml").rename(made / "meta.yaml.later")
    check(store)
    (made / "meta.yaml.later").rename(made / "meta.yaml")


CHANGES = [
    add_to_an_ended_run, change_a_tag_in_place, change_a_parameter_in_place_and_its_times, log_with_the_store,
    remove_a_tag, end_and_rename, delete_it, remove_its_directory, read_a_dataset,
    move_its_start_by_hand, add_a_run,    make_a_directory_that_becomes_a_run,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_is_found(indexed: FileStore, change: Callable[[FileStore, Path], None]) -> None:
    numbers = range(3 * CHANGES.index(change) + 1, 3 * CHANGES.index(change) + 3)
    for number in numbers:
        run_dir = indexed.root / "0" / make_run(number).run_id
        before = [indexed.search_runs(query) for query in QUERIES]
        change(indexed, run_dir)
        check(indexed)
        assert [indexed.search_runs(query) for query in QUERIES] != before
        if change in (add_a_run, make_a_directory_that_becomes_a_run):
            break


def test_what_is_unchanged_is_known_from_the_index_until_it_is_deleted(tmp_path: Path) -> None:
    runs = make_runs(tmp_path)
    time.sleep(SETTLED_S)
    store = FileStore(tmp_path)
    check(store)
    connection = sqlite3.connect(tmp_path / INDEX_FILE)
    connection.execute("UPDATE entry SET value = '1 77.0 0\n' WHERE part = 'metrics' AND key = 'acc'")
    connection.commit()
    connection.close()
    assert len(store.search_runs(ask("metrics.acc = 77"))) == len(runs)
    with (tmp_path / "0" / runs[3].run_id / "metrics" / "acc").open("a") as file:
        file.write("1 0.5 1\n")
    assert len(store.search_runs(ask("metrics.acc = 77"))) == len(runs) - 1
    (tmp_path / INDEX_FILE).unlink()
    check(store)


def test_a_change_right_after_it_was_read_is_found(tmp_path: Path) -> None:
    runs = make_runs(tmp_path)
    store = FileStore(tmp_path)
    path = tmp_path / "0" / runs[0].run_id / "tags" / "team"
    for number in range(30):
        write_over(path, f"{number:04}")
        assert [run.run_id for run in store.search_runs(ask(f"tags.team = '{number:04}'"))] == [runs[0].run_id]


def test_a_few_runs_make_no_index(tmp_path: Path) -> None:
    make_runs(tmp_path, 3)
    time.sleep(SETTLED_S)
    store = FileStore(tmp_path)
    check(store)
    assert not (tmp_path / INDEX_FILE).exists()


def make_foreign(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE run (id INTEGER)")
    connection.commit()
    connection.close()


def make_with_trigger(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TRIGGER evil AFTER INSERT ON run BEGIN DELETE FROM entry; END")
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"no database" * 1000),
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
        lambda path: path.write_bytes(path.read_bytes()[:4096] + os.urandom(len(path.read_bytes()) - 4096)),
        lambda path: path.write_bytes(b""),
        lambda path: (path.unlink(), make_foreign(path)),
        make_with_trigger,
    ],
)
def test_an_index_that_is_damaged_or_not_ours_is_made_anew(indexed: FileStore, damage: Callable[[Path], None]) -> None:
    path = indexed.root / INDEX_FILE
    damage(path)
    for _ in range(2):
        check(indexed)
    assert count(indexed.root, "run") >= 75
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'trigger'").fetchone() == (0,)
    connection.close()


def test_an_index_that_cannot_be_written_or_read_costs_time_only(tmp_path: Path) -> None:
    make_runs(tmp_path)
    time.sleep(SETTLED_S)
    store = FileStore(tmp_path)
    (tmp_path / INDEX_FILE).mkdir()
    check(store)
    (tmp_path / INDEX_FILE).rmdir()
    (tmp_path / INDEX_FILE).symlink_to(tmp_path / "elsewhere")
    check(store)
    assert not (tmp_path / "elsewhere").exists()
    (tmp_path / INDEX_FILE).unlink()
    check(store)
    assert count(tmp_path, "run") == 80


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_directory_is_searched_with_the_index_that_it_has(tmp_path: Path) -> None:
    make_runs(tmp_path)
    store = FileStore(tmp_path)
    tmp_path.chmod(0o555)
    try:
        check(store)
        assert not (tmp_path / INDEX_FILE).exists()
        tmp_path.chmod(0o755)
        time.sleep(SETTLED_S)
        check(store)
        tmp_path.chmod(0o555)
        check(store)
    finally:
        tmp_path.chmod(0o755)


def test_an_index_that_another_process_has_locked_costs_time_only(tmp_path: Path) -> None:
    make_runs(tmp_path)
    time.sleep(SETTLED_S)
    store = FileStore(tmp_path)
    store.search_runs(ask())
    other = sqlite3.connect(tmp_path / INDEX_FILE, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert store.search_runs(QUERIES[3]) == find_runs(read_all(store), QUERIES[3])
    other.execute("ROLLBACK")
    other.execute("BEGIN")
    other.execute("SELECT * FROM run").fetchone()
    assert store.search_runs(QUERIES[3]) == find_runs(read_all(store), QUERIES[3])
    other.close()
    check(store)


SEARCHING = """
import sys
from pathlib import Path
from repro.tracking.entities import RunQuery
from repro.tracking.file_store import FileStore
store = FileStore(Path(sys.argv[1]))
for number in range(12):
    query = RunQuery(experiment_ids=("0",), filter="metrics.acc >= 0.2", order_by=("params.kind",))
    print(len(store.search_runs(query)))
"""


def test_several_processes_search_while_somebody_deletes_the_index(tmp_path: Path) -> None:
    make_runs(tmp_path)
    time.sleep(SETTLED_S)
    args = [sys.executable, "-c", SEARCHING, str(tmp_path)]
    searching = [subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    while any(each.poll() is None for each in searching):
        (tmp_path / INDEX_FILE).unlink(missing_ok=True)
        time.sleep(0.02)
    for each in searching:
        out, errors = each.communicate()
        assert (errors, out.split()) == ("", ["60"] * 12)


def test_hostile_keys_and_files_neither_leave_the_run_nor_stop_a_search(tmp_path: Path) -> None:
    runs = make_runs(tmp_path, 4)
    run_dir = tmp_path / "0" / runs[0].run_id
    (tmp_path / "secret").write_text("x")
    store = FileStore(tmp_path)
    assert len(store.search_runs(ask("params.`../../../secret` = 'x'"))) == 0
    assert len(store.search_runs(ask("params.`../../../secret` IS NULL"))) == 4
    os.mkfifo(run_dir / "metrics" / "pipe")
    (run_dir / "metrics" / "bad").write_text("1 x 2\n1 0.5 3\nhalf")
    (run_dir / "params" / os.fsdecode(b"\xff")).write_text("?")
    (tmp_path / "0" / runs[1].run_id / "meta.yaml").write_text("run_id: [")
    (tmp_path / "0" / runs[2].run_id / "meta.yaml").write_text(
        (run_dir / "meta.yaml").read_text()  # another run's
    )
    assert [run.run_id for run in store.search_runs(ask("metrics.pipe > 0"))] == []
    assert [run.run_id for run in store.search_runs(ask("metrics.bad = 0.5"))] == [runs[0].run_id]
    assert [run.run_id for run in store.search_runs(ask())] == [runs[3].run_id, runs[0].run_id]


def test_runs_of_several_experiments_are_found_also_in_the_trash(tmp_path: Path) -> None:
    make_runs(tmp_path)
    write_experiment(tmp_path, "7", "wine")
    for number in range(70):
        write_run(tmp_path, make_run(number, experiment_id="7", metrics={"acc": number / 50}, start_time_ms=5000))
    time.sleep(SETTLED_S)
    store = FileStore(tmp_path)
    both = ask("metrics.acc > 0.5", "metrics.acc", ids=("0", "7", "0", "nowhere", ".."))
    found = store.search_runs(both)
    assert len(found) == 29 + 44
    store.delete_experiment("7")
    assert len(store.search_runs(both)) == 29
    trashed = store.search_runs(ask("metrics.acc > 0.5", ids=("0", "7"), view=ViewType.DELETED_ONLY))
    assert {run.info.experiment_id for run in trashed} == {"7"}
    assert len(trashed) == 44
    store.restore_experiment("7")
    assert store.search_runs(both) == found


def test_pages_of_a_store_go_on_where_the_last_one_ended(tmp_path: Path) -> None:
    runs = make_runs(tmp_path, 10)
    store = FileStore(tmp_path)
    first = store.search_runs(ask(max_results=4))
    write_run(tmp_path, make_run(99, start_time_ms=9999))
    second = store.search_runs(ask(max_results=4, page_token=first.token))
    third = store.search_runs(ask(max_results=4, page_token=second.token))
    newest_first = [run.run_id for run in reversed(runs)]
    assert [run.run_id for run in (*first, *second, *third)] == newest_first
    assert third.token is None
    with pytest.raises(TrackingError, match="page token of another search"):
        store.search_runs(ask("metrics.acc > 0", page_token=first.token))
