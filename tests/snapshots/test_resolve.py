"""The client first, and tools where no index lets it in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import Cli, LocalIndex, TestEnvironment
from servers import Answer, serve

from repro.environments.machine import Machine
from repro.errors import ReproError
from repro.formats.lockfile import Proof
from repro.process import Runner
from repro.settings import own_environment
from repro.snapshots.describe import choose_founds
from repro.snapshots.indexes import Indexes
from repro.snapshots.installed import Installed, read_installed
from repro.snapshots.pins import AskHashes, Hashes, IndexUnreachableError, Pin
from repro.snapshots.probe import probe
from repro.snapshots.resolve import Resolution, make_resolver

HASH = "sha256:" + "ab" * 32


@pytest.fixture
def installed(environment: TestEnvironment) -> dict[str, Installed]:
    """What the environment holds."""
    report = probe(environment.python, runner=Runner(), environ=own_environment())
    found = {name: read_installed(each) for name, each in choose_founds(report.found)[0].items()}
    return {name: each for name, each in found.items() if each}


def resolve(
    installed: dict[str, Installed], url: str, cache: Path, ask: AskHashes, *, ask_first: bool = False
) -> Resolution:
    indexes = Indexes(default_url=url, retries=0)
    keeper = Machine.here(cache=str(cache)).make_keeper(indexes)
    resolver = make_resolver(
        indexes=indexes, environ={}, keeper=keeper, must_prove=False, ask=ask, ask_first=ask_first
    )  # fmt: skip
    return resolver(installed)


def say_alpha(pins: Sequence[Pin]) -> Hashes:
    assert [str(pin) for pin in pins] == ["alpha==1.0", "beta==2.0"]
    return {"alpha": (HASH,)}


def fail(pins: Sequence[Pin]) -> Hashes:
    raise ReproError("the tool failed")


def test_where_no_index_lets_us_in_a_tool_says_hashes_that_prove_nothing(
    installed: dict[str, Installed], cache: Path
) -> None:
    with serve(lambda request: Answer(status=401)) as server:
        resolution = resolve(installed, server.url, cache, say_alpha)
    alpha, beta = resolution.artefacts["alpha"], resolution.artefacts["beta"]
    assert (alpha.proof, alpha.hashes, alpha.local) == (Proof.UNPROVEN, (HASH,), False)
    assert (beta.proof, beta.hashes, beta.local, beta.scope) == (Proof.UNPROVEN, (), True, None)
    assert resolution.open_names == {"alpha", "beta"}
    (note,) = resolution.notes
    assert "does not let us in (HTTP 401): an installer was asked for hashes instead, nothing is proved" in note


def test_where_the_tool_fails_or_finds_nothing_too_the_first_reason_is_told(
    installed: dict[str, Installed], cache: Path
) -> None:
    for ask in (fail, lambda pins: {}):
        with (
            serve(lambda request: Answer(status=401)) as server,
            pytest.raises(IndexUnreachableError, match="does not let us in") as caught,
        ):
            resolve(installed, server.url, cache, ask)
        assert caught.value.hint is not None
        assert "netrc" in caught.value.hint


def test_a_tool_that_was_named_is_asked_first(installed: dict[str, Installed], cache: Path) -> None:
    resolution = resolve(installed, "http://127.0.0.1:9/simple", cache, say_alpha, ask_first=True)
    assert resolution.artefacts["alpha"].hashes == (HASH,)


def test_an_index_that_is_down_makes_plain_pins_and_the_next_snapshot_asks_again(
    environment: TestEnvironment, index: LocalIndex, cli: Cli
) -> None:
    index.login = "user:secret"
    done = cli("snapshot", ".", "--python", environment.python)
    assert "does not let us in (HTTP 401): the lock has plain pins only; give the credentials in" in done.stderr
    assert "--hash" not in Path("requirements-lock.txt").read_text()
    index.login = None
    assert cli("snapshot", ".", "--python", environment.python).stderr == ""
    assert Path("requirements-lock.txt").read_text().count("--hash") == 2


def test_what_an_index_that_is_down_may_have_is_kept_and_asked_for_again(
    environment: TestEnvironment, index: LocalIndex, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    (index.root / "simple" / "beta").rename(index.root / "beta")
    answer = Answer(status=500)
    with serve(lambda request: answer) as server:
        monkeypatch.setenv("PIP_EXTRA_INDEX_URL", server.url)
        done = cli("snapshot", ".", "--python", environment.python)
        assert f"warning: an index was left out: `{server.url}" in done.stderr
        assert '"kind":"local"' in Path("requirements-lock.txt").read_text().replace(" ", "")
        (index.root / "beta").rename(index.root / "simple" / "beta")
        cli("snapshot", ".", "--python", environment.python)
        assert '"kind":"local"' not in Path("requirements-lock.txt").read_text().replace(" ", "")
