"""What a prune decides, on values."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.cli.commands.cache import parse_size
from repro.cli.period import parse_period
from repro.environments.housekeeping.busy import find_entries
from repro.environments.housekeeping.inventory import Inventory, ProjectFiles, Stored, Unpacked, Wheel
from repro.environments.housekeeping.plan import DAY_S, Rules, plan_clear, plan_prune
from repro.environments.housekeeping.sizes import Size, format_bytes
from repro.environments.ready import Ready, Stamp
from repro.environments.roots import Root, format_root, parse_root
from repro.errors import UsageError

NOW_S = 1_000 * DAY_S
READY = Ready(
    key="k", digest="d", python_version="3.11.7", interpreter=Stamp("/python", 1, 1), config="", boot="", directories={}
)


def make_stored(name: str, *, uses: tuple[str, ...] | None, age_days: float = 0, busy: str | None = None) -> Stored:
    return Stored(
        key=name,
        path=f"/envs/{name}/1",
        is_current=True,
        ready=READY,
        uses=uses,
        size=Size(own_bytes=10, shared_bytes=100),
        used_at=NOW_S - age_days * DAY_S,
        busy=busy,
    )


def make_inventory(*stored: Stored, kept: frozenset[str] = frozenset()) -> Inventory:
    hashes = sorted({each for one in stored for each in one.uses or ()} | {"unused"})
    trees = tuple(Unpacked(sha256=each, path=f"/trees/{each}", size_bytes=100, recoverable=True) for each in hashes)
    wheels = tuple(
        Wheel(sha256=each, path=f"/wheels/{each}", filename=f"{each}.whl", size_bytes=50, kept=each in kept)
        for each in hashes
    )
    total = sum(one.size.own_bytes for one in stored) + 150 * len(hashes)
    return Inventory(environments=stored, trees=trees, wheels=wheels, strays=(), caches=(), total_bytes=total)


@st.composite
def inventories(draw: st.DrawFn) -> Inventory:
    names = draw(st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8))
    hashes = st.lists(st.sampled_from(["s", "t", "u", "v", "w"]), unique=True, max_size=4).map(tuple)
    stored = [
        make_stored(
            name,
            uses=draw(st.one_of(st.none(), hashes) if name == "a" else hashes),
            age_days=draw(st.integers(0, 200)),
            busy=draw(st.sampled_from([None, None, "in use"])),
        )
        for name in names
    ]
    return make_inventory(*stored, kept=frozenset(draw(st.sets(st.sampled_from(["s", "t", "unused"])))))


@given(inventories(), st.one_of(st.none(), st.integers(0, 2000)), st.integers(0, 200), st.booleans())
def test_no_plan_takes_what_is_in_use_or_what_it_is_made_of_or_a_kept_wheel(
    inventory: Inventory, max_bytes: int | None, days: int, unreferenced: bool
) -> None:
    rules = Rules(older_than_s=days * DAY_S, max_bytes=max_bytes, unreferenced=unreferenced)
    going = {each.path for each in plan_prune(inventory, rules, now_s=NOW_S).removals}
    left = [each for each in inventory.environments if each.path not in going]
    assert all(each in left for each in inventory.environments if each.busy)
    for each in left:
        assert not {f"/trees/{sha256}" for sha256 in each.uses or ()} & going
        assert not {f"/wheels/{sha256}" for sha256 in each.uses or ()} & going
    assert not {each.path for each in inventory.wheels if each.kept} & going
    if any(each.uses is None for each in left):
        assert not any(path.startswith(("/trees", "/wheels")) for path in going)


@given(inventories(), st.integers(0, 2000))
def test_a_size_is_kept_to_unless_only_what_must_stay_is_left(inventory: Inventory, max_bytes: int) -> None:
    plan = plan_prune(inventory, Rules(max_bytes=max_bytes), now_s=NOW_S)
    left = {each.path for each in inventory.environments} - {each.path for each in plan.removals}
    if plan.total_bytes - plan.freed_bytes > max_bytes:
        assert left == {each.path for each in inventory.environments if each.busy}
        assert any("are left" in note for note in plan.notes)


def test_the_longest_unused_goes_first_and_no_more_than_is_needed() -> None:
    stored = [make_stored(name, uses=(name,), age_days=age) for name, age in (("a", 5), ("b", 50), ("c", 20))]
    inventory = make_inventory(*stored)
    plan = plan_prune(inventory, Rules(max_bytes=inventory.total_bytes - 150 - 1), now_s=NOW_S)
    assert [each.name for each in plan.removals if each.kind == "environment"] == ["b"]


def test_a_clock_that_was_ahead_makes_nothing_old() -> None:
    plan = plan_prune(make_inventory(make_stored("a", uses=("s",), age_days=-500)), Rules(), now_s=NOW_S)
    assert {each.path for each in plan.removals} == {"/trees/unused", "/wheels/unused"}


def test_clearing_spares_what_a_busy_environment_is_made_of() -> None:
    inventory = make_inventory(make_stored("a", uses=("s",), busy="in use"), make_stored("b", uses=("s", "t")))
    entries = [("envs", each.path, 1) for each in inventory.environments]
    entries += [("trees", each.path, 1) for each in inventory.trees]
    entries += [("pycache", "/pycache/a", 1), ("pycache", "/pycache/b", 1)]
    paths = {each.path for each in plan_clear(inventory, entries).removals}
    assert paths == {"/envs/b/1", "/trees/t", "/trees/unused", "/pycache/b"}


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=40)


@given(TEXT, TEXT, st.lists(TEXT, max_size=3).map(tuple))
def test_a_root_is_read_back(lock: str, key: str, options: tuple[str, ...]) -> None:
    root = parse_root(format_root(Root(key=key, lock=lock, look="l", options=options)))
    assert (root.key, root.lock, root.look, root.options) == (key, lock, "l", options)


def test_a_path_with_a_line_break_makes_no_root() -> None:
    with pytest.raises(ValueError, match="line break"):
        format_root(Root(key="k", lock="/a\nkey other", look="l", options=()))


@pytest.mark.parametrize(
    ("text", "size"),
    [("5GB", 5 * 10**9), ("500 MiB", 500 * 2**20), ("1000", 1000), ("1.5k", 1500), ("0", 0), ("2tb", 2 * 10**12)],
)
def test_a_size_is_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1", "5 apples", "1e9", "\u0665GB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("30d", 30 * DAY_S), ("12h", 43200.0), ("2w", 14 * DAY_S), ("7", 7 * DAY_S)]
)
def test_a_period_is_read(text: str, seconds: float) -> None:
    assert parse_period(text) == seconds


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (123456, "123 kB"), (5 * 10**9, "5.0 GB")]
)
def test_a_size_is_shown(size: int, text: str) -> None:
    assert format_bytes(size) == text


def test_paths_of_the_store_are_found_in_text_and_others_are_not() -> None:
    key, nonce, sha256 = "0" * 16, "deadbeef", "a" * 64
    text = f"/s p/v1/envs/{key}/{nonce}/bin/python\0/s p/v1/trees/{sha256}\0/other/v1/envs/{key}/{nonce}"
    text += f"\0/s p/v1/envs/{key}"
    assert find_entries(text.encode(), ("/s p/v1",)) == {f"envs/{key}/{nonce}", f"trees/{sha256}"}


def test_what_is_kept_of_projects_goes_when_unused_or_to_make_room_before_environments() -> None:
    old = ProjectFiles(room="checkouts", path="/checkouts/k/old", size_bytes=5, used_at=NOW_S - 91 * DAY_S)
    new = ProjectFiles(room="archives", path="/archives/new", size_bytes=7, used_at=NOW_S - DAY_S)
    lent = ProjectFiles(room="repositories", path="/repositories/r", size_bytes=9, used_at=0, needed=True)
    inventory = replace(make_inventory(make_stored("a", uses=())), projects=(old, new, lent))
    unused = [each for each in plan_prune(inventory, Rules(), now_s=NOW_S).removals if each.kind != "tree"]
    assert [(each.kind, each.path) for each in unused if each.kind != "wheel"] == [("checkout", "/checkouts/k/old")]
    inventory = replace(inventory, total_bytes=inventory.total_bytes + 21)
    made = plan_prune(inventory, Rules(max_bytes=inventory.total_bytes - 160), now_s=NOW_S).removals
    assert {"/checkouts/k/old", "/archives/new"} <= {each.path for each in made}
    assert "/envs/a/1" not in {each.path for each in made}
    assert "/repositories/r" not in {
        each.path for each in plan_prune(inventory, Rules(max_bytes=0), now_s=NOW_S).removals
    }
