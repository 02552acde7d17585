"""`repro doctor` on real environments, indexes and damage."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from conftest import Cli, LocalIndex, TestEnvironment


@pytest.fixture
def restored(environment: TestEnvironment, cli: Cli, tmp_path: Path) -> Path:
    """The environment of a project's lock, in the cache."""
    cli("snapshot", str(tmp_path), "--python", environment.python)
    return Path(str(json.loads(cli("restore", str(tmp_path), "--json").stdout)["path"]))


def look(cli: Cli, *args: str, code: int = 0) -> dict[str, list[dict[str, object]]]:
    found: dict[str, list[dict[str, object]]] = {}
    for check in json.loads(cli("doctor", *args, "--json", code=code).stdout)["checks"]:
        found.setdefault(check["about"], []).append(check)
    return found


def test_a_machine_that_is_well_is_described(restored: Path, cli: Cli, index: LocalIndex) -> None:
    found = look(cli)
    assert any(
        f"{os.sys.version_info.major}.{os.sys.version_info.minor}." in str(each["text"]) for each in found["python"]
    )
    assert {each["subject"] for each in found["tool"]} == {"uv", "pip", "virtualenv", "pip-tools", "git"}
    assert [(each["subject"], each["text"]) for each in found["environment"]] == [(str(restored), "as installed")]
    (asked,) = found["index"]
    assert asked["subject"] == index.url
    assert str(asked["text"]).startswith("HTTP 404 in ")
    assert found["cache"][0]["text"] == "trusted, writable"
    assert "hard link" in str(found["links"][0]["text"])
    assert "as installed" in cli("doctor").stdout


def test_nothing_is_made_where_no_cache_is(index: LocalIndex, cli: Cli) -> None:
    assert look(cli, "--offline")["cache"][0]["text"] == "not there yet: the first restore makes it"
    assert list(cli.cache.iterdir()) == []


def test_an_edit_that_keeps_size_and_time_is_found_by_content(restored: Path, cli: Cli) -> None:
    file = next(restored.glob("lib/python*/site-packages/alpha.py"))
    times, mode = file.stat(), file.stat().st_mode
    file.chmod(0o644)
    file.write_text(file.read_text().replace("1.0", "6.6"))
    file.chmod(mode)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert look(cli, "--offline")["environment"][0]["health"] == "ok"
    (check,) = look(cli, "--offline", "--deep", code=1)["environment"]
    assert check["details"] == [f"changed: {file.relative_to(restored)}"]
    assert str(check["hint"]).startswith("repro restore --repair /")
    shown = cli("doctor", "--offline", "--deep", code=1)
    assert "changed: " in shown.stderr
    assert "1 bad" in shown.stdout


@pytest.mark.parametrize("deed", ["edit", "remove", "add", "no marker", "no manifest"])
def test_damage_is_named(deed: str, restored: Path, cli: Cli) -> None:
    site = next(restored.glob("lib/python*/site-packages"))
    os.chmod(site, 0o755)
    if deed == "edit":
        (site / "alpha.py").chmod(0o644)
        (site / "alpha.py").write_text("evil = True\n")
    elif deed == "remove":
        (site / "alpha.py").unlink()
    elif deed == "add":
        (site / "sitecustomize.py").write_text("")
    else:
        (restored / ("repro-environment" if deed == "no marker" else "repro-manifest")).unlink()
    (check,) = look(cli, "--offline", code=1)["environment"]
    assert check["health"] == "bad"
    assert check["hint"]


def test_a_cache_that_others_can_write_is_bad_and_not_read(restored: Path, cli: Cli) -> None:
    root = restored.parents[3]
    os.chmod(root, 0o777)
    found = look(cli, "--offline", code=1)
    assert found["cache"][0]["hint"] == f"chmod go-w {root}"
    assert "environment" not in found


def test_an_index_that_lets_nobody_in_is_bad_and_no_credential_is_shown(
    index: LocalIndex, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.login = "user:right"
    monkeypatch.setenv("PIP_INDEX_URL", index.url.replace("://", "://user:wrong-secret@"))
    (check,) = look(cli, code=1)["index"]
    assert (check["subject"], check["health"]) == (index.url, "bad")
    assert "wrong-secret" not in cli("doctor", code=1).stdout
    monkeypatch.setenv("PIP_INDEX_URL", index.url.replace("://", "://user:right@"))
    assert look(cli)["index"][0]["health"] == "ok"


def test_an_index_that_is_not_there_is_named(index: LocalIndex, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    index.close()
    (check,) = look(cli, code=1)["index"]
    assert "cannot be reached" in str(check["text"])
    asked = index.requests
    look(cli, "--offline")
    assert index.requests == asked
    monkeypatch.setenv("PIP_FIND_LINKS", "/nonexistent/wheels")
    assert look(cli, "--offline")["index"]
