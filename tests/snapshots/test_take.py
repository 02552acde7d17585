"""Snapshots of real environments, hashes from a real (local) index."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import Cli, LocalIndex, TestEnvironment

from repro.environments.machine import Machine
from repro.environments.snapshot import take_for
from repro.errors import InterpreterNotFoundError
from repro.formats.direct_url import Editable, Vcs
from repro.formats.lockfile import Distribution, Snapshot, format_snapshot
from repro.formats.record import digest_record
from repro.snapshots.drift import compare
from repro.snapshots.hashes import IndexUnreachableError, Pin, ask_each, find_hashes
from repro.snapshots.load import load_lock


def take(environment: TestEnvironment, cache: Path, *, engine: str | None = None) -> Snapshot:
    machine = Machine.here(cache=str(cache))
    return take_for(machine, environment.python, path=cache / "none.txt", engine=engine).taken.snapshot


def get(snapshot: Snapshot, name: str) -> Distribution:
    return next(each for each in snapshot.distributions if each.name == name)


@pytest.mark.parametrize("engine", ["uv", "pip", "pip-tools"])
def test_every_engine_finds_the_hashes_of_the_installed_versions(
    engine: str, environment: TestEnvironment, index: LocalIndex, cache: Path
) -> None:
    snapshot = take(environment, cache, engine=engine)
    assert [(each.name, each.version, len(each.hashes)) for each in snapshot.distributions] == [
        ("alpha", "1.0", 1),
        ("beta", "2.0", 1),
    ]
    assert get(snapshot, "beta").via == ("alpha",)
    assert snapshot.count() == {"hashed": 2}


def test_the_record_digest_is_that_of_the_wheel(environment: TestEnvironment, cache: Path) -> None:
    record = (environment.site / "alpha-1.0.dist-info" / "RECORD").read_text()
    assert get(take(environment, cache), "alpha").record == digest_record(record)


def test_two_snapshots_are_equal_bytes_and_the_second_asks_no_index(
    environment: TestEnvironment, index: LocalIndex, cache: Path
) -> None:
    first = format_snapshot(take(environment, cache))
    asked = index.requests
    assert format_snapshot(take(environment, cache)) == first
    assert index.requests == asked


def test_a_distribution_no_index_has_is_kept_as_a_wheel_and_the_lock_stays_hashed(
    environment: TestEnvironment, index: LocalIndex, cache: Path
) -> None:
    index.add("delta", "3.0")
    environment.install("delta==3.0", "gamma-ray==0.5")
    shutil.rmtree(index.root / "simple" / "delta")
    snapshot = take(environment, cache)
    assert snapshot.count() == {"hashed": 3, "kept": 1}
    assert f"\ndelta==3.0 \\\n    --hash={get(snapshot, 'delta').hashes[0]}\n" in format_snapshot(snapshot)


def test_without_a_network_the_lock_has_plain_pins_and_says_so(
    environment: TestEnvironment, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    machine = Machine.here(cache=str(cache))
    taken = take_for(machine, environment.python, path=cache / "none.txt").taken
    assert taken.snapshot.count() == {"plain": 2}
    assert any("plain pins only" in note for note in taken.notes)
    assert "\nalpha==1.0\n" in format_snapshot(taken.snapshot)


def test_an_unchanged_entry_keeps_the_hashes_of_the_old_lock(
    environment: TestEnvironment, cache: Path, tmp_path: Path
) -> None:
    text = format_snapshot(take(environment, cache))
    old_hash = get(take(environment, cache), "alpha").hashes[0]
    lock = tmp_path / "requirements-lock.txt"
    lock.write_text(text.replace(old_hash, "sha256:" + "e" * 64))
    outcome = take_for(Machine.here(cache=str(tmp_path / "other")), environment.python, path=lock)
    assert get(outcome.taken.snapshot, "alpha").hashes == ("sha256:" + "e" * 64,)


def test_sources_of_pep_610_are_told_apart(environment: TestEnvironment, index: LocalIndex, cache: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    vcs = {"url": "https://user:secret@example.org/x.git", "vcs_info": {"vcs": "git", "commit_id": commit}}
    (environment.site / "alpha-1.0.dist-info" / "direct_url.json").write_text(json.dumps(vcs))
    editable = {"url": "file:///home/me/beta", "dir_info": {"editable": True}}
    (environment.site / "beta-2.0.dist-info" / "direct_url.json").write_text(json.dumps(editable))
    snapshot = take(environment, cache)
    assert get(snapshot, "alpha").source == Vcs(vcs="git", url="https://example.org/x.git", commit=commit)
    assert get(snapshot, "beta").source == Editable()
    text = format_snapshot(snapshot)
    assert "secret" not in text
    assert "/home/me" not in text


@pytest.mark.parametrize("damage", [b"\xff\xfe\x00garbage", b"", None])
def test_damaged_metadata_does_not_break_a_snapshot(
    damage: bytes | None, environment: TestEnvironment, cache: Path
) -> None:
    metadata = environment.site / "alpha-1.0.dist-info" / "METADATA"
    metadata.unlink()
    if damage is not None:
        metadata.write_bytes(damage)
    assert get(take(environment, cache), "alpha").version == "1.0"


def test_what_pip_left_behind_is_not_installed(environment: TestEnvironment, cache: Path) -> None:
    (environment.site / "~lpha-0.9.dist-info").mkdir()
    assert len(take(environment, cache).distributions) == 2


def test_each_planted_difference_is_found(environment: TestEnvironment, index: LocalIndex, cache: Path) -> None:
    before = take(environment, cache)
    environment.install("beta==2.1", "gamma-ray==0.5")
    record = environment.site / "alpha-1.0.dist-info" / "RECORD"
    record.write_text(record.read_text().replace("alpha.py,sha256=", "alpha.py,sha256=x"))
    drift = compare(before, take(environment, cache))
    assert [str(change) for change in drift.changes] == [
        "~ alpha 1.0 (other files of the same version)",
        "~ beta 2.0 -> 2.1",
        "+ gamma-ray 0.5",
    ]
    assert [c.name for c in compare(take(environment, cache), before).select("removed")] == ["gamma-ray"]


def test_a_cache_that_cannot_be_written_costs_a_snapshot_only_what_it_remembers(
    environment: TestEnvironment, cache: Path
) -> None:
    machine = Machine.here(cache="/dev/null/x")
    for engine in (None, "uv", "pip"):
        outcome = take_for(machine, environment.python, path=cache / "none.txt", engine=engine)
        assert outcome.taken.snapshot.count() == {"hashed": 2}
        assert outcome.notes == ("nothing can be remembered in `/dev/null/x/repro/v1` (Not a directory)",)


def test_what_a_cache_cannot_keep_is_named(environment: TestEnvironment, index: LocalIndex, cache: Path) -> None:
    index.add("delta", "3.0")
    environment.install("delta==3.0")
    shutil.rmtree(index.root / "simple" / "delta")
    outcome = take_for(Machine.here(cache="/dev/null/x"), environment.python, path=cache / "none.txt")
    assert outcome.taken.snapshot.count() == {"hashed": 2, "not-restorable": 1}
    assert any(note.startswith("`delta` cannot be kept, and not be restored") for note in outcome.notes)


def test_a_wheel_of_a_directory_that_cannot_be_kept_is_named(
    environment: TestEnvironment, index: LocalIndex, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", " ".join(str(path) for path in (index.root / "simple").iterdir()))
    outcome = take_for(Machine.here(cache="/dev/null/x"), environment.python, path=cache / "none.txt")
    assert any(note.startswith("`alpha` cannot be kept: ") for note in outcome.notes)
    assert get(outcome.taken.snapshot, "alpha").hashes


def test_something_that_is_no_python_is_named(cache: Path) -> None:
    with pytest.raises(InterpreterNotFoundError, match="`/bin/true` is no Python interpreter that works"):
        take_for(Machine.here(cache=str(cache)), "/bin/true", path=cache / "none.txt")


def test_pins_that_no_index_has_are_left_out_one_by_one(environment: TestEnvironment, cache: Path) -> None:
    machine = Machine.here(cache=str(cache))
    pins = [Pin(name=name, version=version) for name, version in (("alpha", "1.0"), ("nope", "1"), ("beta", "9"))]
    sources = machine.make_hash_sources("uv", python=environment.python, project=Path())
    assert list(find_hashes(sources, pins)) == ["alpha"]


def test_an_unreachable_index_is_told_from_a_missing_pin(
    environment: TestEnvironment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    source = Machine.here(cache=str(tmp_path / "c")).make_hash_sources("uv", python=environment.python, project=Path())[
        0
    ]
    with pytest.raises(IndexUnreachableError):
        ask_each(source, [Pin(name="alpha", version="1.0")])


@pytest.mark.parametrize("name", ["a+b", "alpha!", "_alpha", "alpha-", "al pha", "ümlaut"])
def test_a_name_that_no_lock_can_hold_is_told_or_left_out(
    name: str, environment: TestEnvironment, cli: Cli, tmp_path: Path
) -> None:
    info = environment.site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    lock = tmp_path / "requirements-lock.txt"
    args = ("snapshot", str(tmp_path), "--python", environment.python)
    said = cli(*args, code=5).stderr
    assert "error: 1 distribution(s) have no name and version that a lock could hold\n" in said
    assert f"  {name}-1.0.dist-info: `" in said
    assert "` is no name (letters and digits, with `.`, `_` or `-` between them)" in said
    assert "hint: reinstall or remove them, or leave them out with `--allow-missing`" in said
    assert not lock.exists()
    said = cli(*args, "--allow-missing").stderr
    assert f"{name}-1.0.dist-info: `" in said
    assert "it is left out" in said
    assert [each.name for each in load_lock(lock).snapshot.distributions] == ["alpha", "beta"]
    for command in (("status", str(tmp_path), "--python", environment.python), ("restore", str(tmp_path))):
        cli(*command)
