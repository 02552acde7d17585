"""Locks that the tests of bundles and exports start from, and entries that are added to them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from conftest import Cli, make_wheel

from repro.environments.machine import Machine
from repro.environments.snapshot import write_lock
from repro.formats.direct_url import Editable
from repro.formats.lockfile import Distribution
from repro.snapshots.load import load_lock


def lock_alpha(cli: Cli) -> Path:
    """Lock alpha, and beta which it requires, in the working directory."""
    Path("r.in").write_text("alpha\n")
    cli("lock", "r.in")
    return Path("requirements-lock.txt")


def add(lock: Path, *distributions: Distribution) -> None:
    snapshot = load_lock(lock).snapshot
    both = sorted((*snapshot.distributions, *distributions), key=lambda each: each.name)
    write_lock(replace(snapshot, distributions=tuple(both)), lock)


def keep(cache: Path, directory: Path) -> Distribution:
    """Keep a wheel in the store, and return its entry."""
    directory.mkdir()
    wheel = make_wheel(directory, "mine", "0.1")
    sha256 = Machine.here(cache=str(cache)).store.open_wheelhouse().keep(wheel)
    return Distribution(name="mine", version="0.1", source=Editable(), hashes=(f"sha256:{sha256}",), kept=True)
