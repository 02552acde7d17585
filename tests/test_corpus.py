"""The script that runs a directory of checkouts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, LocalIndex
from repositories import commit, make_work

CORPUS = str(REPOSITORY / "scripts" / "corpus")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the script needs Python 3.11")
def test_each_checkout_is_run_as_of_its_day_and_one_that_cannot_run_says_why(
    index: LocalIndex, git_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkouts, room = tmp_path / "checkouts", tmp_path / "room"
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2021-06-30T12:00:00Z")
    commit(
        make_work(checkouts / "ada+runs"),
        "one",
        MLproject="name: a\n",
        part__MLproject="name: b\n",
        part__train_py="print(7 * 6)\n",
    )
    monkeypatch.delenv("GIT_COMMITTER_DATE")
    commit(
        make_work(checkouts / "ada+cannot"),
        "one",
        MLproject="entry_points:\n  main:\n    command: python train.py\n",
        train_py="import nobody_has_this\n",
    )
    (checkouts / "corpus.toml").write_text(
        '[[case]]\nproject = "ada+runs/part"\nentry = "train.py"\nparams = { rate = 0.5 }\n'
        '[[case]]\nproject = "ada+runs"\nskip = "it is empty"\n'
    )
    command = [sys.executable, CORPUS, str(checkouts), "--no-mlflow", "--json", "--limit", "60", "--room", str(room)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    cannot, runs = (json.loads(line) for line in done.stdout.splitlines())
    assert (cannot["project"], cannot["as_of"], cannot["repro"]["status"]) == ("ada/cannot", None, "refused")
    assert cannot["repro"]["cause"].startswith("`train.py` imports `nobody_has_this` (train.py, line 1), which no file")
    assert (runs["project"], runs["as_of"]) == ("ada/runs part -e train.py", "2021-06-30")
    assert runs["repro"]["status"] == "ran", runs
    assert done.stderr == "2 tried; ran: repro 1\n"
    log = (room / "logs" / "ada_runs_part_-e_train.py.repro.log").read_text()
    assert "-e train.py -P rate=0.5 --restore --as-of 2021-06-30" in log.splitlines()[0]
    assert "\n42\n" in log
    assert sorted(path.name for path in room.iterdir()) == ["cache", "logs"]
