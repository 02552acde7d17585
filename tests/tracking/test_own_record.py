"""The record that a script's own run keeps: real scripts in a real environment that repro does not start."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from conftest import REPOSITORY, Cli, LocalIndex, TestEnvironment
from readable_store import ReadableStore

from repro.environments.machine import Machine
from repro.environments.snapshot import take_for
from repro.formats.lockfile import Snapshot, format_snapshot, parse_snapshot
from repro.formats.run_meta import RunInfo, RunStatus

LEND_DIR = REPOSITORY / "repro" / "inside" / "lend"


class Script:
    """Runs scripts in an environment that imports repro from a directory of PYTHONPATH, beside a store."""

    def __init__(self, environment: TestEnvironment, root: Path) -> None:
        import yaml

        self.environment = environment
        self.root = root
        self.cache = root / "cache"
        self.store = ReadableStore(root / "mlruns")
        (root / "path").mkdir(parents=True)
        (root / "path" / "repro").symlink_to(REPOSITORY / "repro")
        (root / "path" / "yaml").symlink_to(os.path.dirname(yaml.__file__))

    def __call__(self, code: str, **variables: str) -> subprocess.CompletedProcess[str]:
        (self.root / "train.py").write_text(code)
        environ = {
            **os.environ,
            "PYTHONPATH": str(self.root / "path"),
            "MLFLOW_TRACKING_URI": self.store.uri,
            "MLFLOW_SNAPSHOT_CACHE": str(self.cache),
            **variables,
        }
        return subprocess.run([self.environment.python, "train.py"], cwd=self.root, env=environ, capture_output=True,
                              text=True, timeout=60, check=False)  # fmt: skip

    def list_runs(self) -> list[RunInfo]:
        """Return the runs, the oldest first."""
        return sorted(self.store.list_runs(), key=lambda run: (run.start_time_ms, run.run_name))

    def read_lock(self, run_id: str | None = None) -> Snapshot:
        text = self.store.read_text(run_id or self.list_runs()[0].run_id, "requirements-lock.txt")
        assert text
        return parse_snapshot(text)

    def list_used(self, run_id: str | None = None) -> list[str]:
        return [each.name for each in self.read_lock(run_id).distributions if each.used]

    def read_fingerprint(self) -> dict[str, object]:
        text = self.store.read_text(self.list_runs()[0].run_id, "environment.json")
        assert text
        return dict(json.loads(text))


@pytest.fixture
def script(environment: TestEnvironment, tmp_path: Path) -> Script:
    environment.install("gamma-ray==0.5")
    return Script(environment, tmp_path / "scripts")


IN_CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import beta'], check=True)"


@pytest.mark.parametrize(
    ("code", "used"),
    [
        ("import alpha, repro\nwith repro.start_run(): pass", ["alpha"]),
        ("import repro\nwith repro.start_run():\n    import alpha", ["alpha"]),
        ("import repro\nrepro.log_metric('m', 1)\nimport alpha", ["alpha"]),
        ("import repro\nwith repro.start_run(): pass\nimport alpha", []),
        (f"import repro\nwith repro.start_run():\n    {IN_CHILD}", ["beta"]),
        (
            "import os, repro\nwith repro.start_run():\n    if os.fork() == 0:\n        import beta\n"
            "        os._exit(0)\n    os.wait()",
            ["beta"],
        ),
        (
            "import threading, repro\ndef work():\n    with repro.start_run():\n        import alpha\n"
            "t = threading.Thread(target=work); t.start(); t.join()",
            ["alpha"],
        ),
        ("import alpha, repro\nwith repro.start_run(): raise SystemExit(3)", ["alpha"]),
    ],
)
def test_a_scripts_own_run_marks_what_its_process_has_used(code: str, used: list[str], script: Script) -> None:
    finished = script(code)
    assert finished.stderr == ""
    assert script.list_used() == used
    run_id = script.list_runs()[0].run_id
    assert script.store.read_tags(run_id)["repro.snapshot.used"] == str(len(used))
    assert "repro.record.error" not in script.store.read_tags(run_id)
    assert script.read_fingerprint()["observed"] is True


def test_what_a_pth_file_imports_does_not_count(script: Script) -> None:
    (script.environment.site / "early.pth").write_text("import beta\n")
    script("import alpha, repro\nwith repro.start_run(): pass")
    assert script.list_used() == ["alpha"]


def test_its_snapshot_is_the_one_that_repro_snapshot_takes(script: Script) -> None:
    (script.root / "ghost-1.0.dist-info").mkdir()  # beside the script: `repro snapshot` does not see it
    (script.root / "ghost-1.0.dist-info" / "METADATA").write_text("Name: ghost\nVersion: 1.0\n")
    machine = Machine.here(cache=str(script.cache))
    expected = take_for(machine, script.environment.python, path=script.root / "none.txt").taken.snapshot
    script("import repro\nwith repro.start_run(): pass")
    text = script.store.read_text(script.list_runs()[0].run_id, "requirements-lock.txt")
    assert text == format_snapshot(expected)
    assert expected.is_hashed  # the store remembers the hashes
    tags = script.store.read_tags(script.list_runs()[0].run_id)
    assert tags["repro.snapshot.digest"] == expected.compute_digest()
    assert tags["repro.restored"] == "false"


def test_a_script_that_runs_in_a_restored_environment_says_so(
    script: Script, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = script.root / "project" / "requirements-lock.txt"
    lock.parent.mkdir()
    cli("snapshot", str(lock.parent), "--python", script.environment.python)
    (script.root / "own.py").write_text("import repro\nwith repro.start_run(): pass")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", script.store.uri)
    cli("restore", str(lock), "--", "env", f"PYTHONPATH={REPOSITORY}", "python", str(script.root / "own.py"))
    tags = script.store.read_tags(script.list_runs()[0].run_id)
    assert tags["repro.restored"] == "true"
    assert tags["repro.env.key"] == json.loads(cli("restore", str(lock), "--json").stdout)["key"]


def test_without_known_hashes_it_has_plain_pins_and_asks_no_index(script: Script, index: LocalIndex) -> None:
    asked = index.requests
    script("import repro\nwith repro.start_run(): pass")
    assert script.read_lock().count() == {"plain": 3}
    assert index.requests == asked


def test_the_snapshot_is_there_while_the_run_goes_on(script: Script) -> None:
    script("import os, repro\nrepro.start_run()\nos._exit(1)")
    assert [each.name for each in script.read_lock().distributions] == ["alpha", "beta", "gamma-ray"]


@pytest.mark.parametrize("value", ["0", "false", "off"])
def test_the_record_is_switched_off(value: str, script: Script) -> None:
    script("import alpha, repro\nwith repro.start_run(): pass", REPRO_SNAPSHOT=value)
    assert script.store.list_files(script.list_runs()[0].run_id) == []


def test_observing_alone_is_switched_off(script: Script) -> None:
    code = "import os, alpha, repro\nwith repro.start_run(): print(os.environ.get('REPRO_OBSERVE_DIR'))"
    assert script(code, REPRO_OBSERVE="0").stdout == "None\n"
    assert script.list_used() == []
    assert script.read_fingerprint()["observed"] is False


def test_the_variables_are_as_before_afterwards_and_the_directory_is_gone(script: Script) -> None:
    code = (
        "import os, sys, repro\n"
        "before, finders = dict(os.environ), list(sys.meta_path)\n"
        "with repro.start_run():\n"
        "    directory = os.environ['REPRO_OBSERVE_DIR']\n"
        "    os.environ['PYTHONPATH'] += ':/added'\n"
        "    os.environ['OWN'] = '1'\n"
        "before['PYTHONPATH'] += ':/added'\n"
        "print(dict(os.environ) == {**before, 'OWN': '1'}, os.path.exists(directory), finders == sys.meta_path)\n"
    )
    assert script(code).stdout == "True False True\n"


def test_each_run_of_a_script_has_its_record(script: Script) -> None:
    code = (
        "import repro\n"
        "with repro.start_run(run_name='a'):\n"
        "    import alpha\n"
        "    with repro.start_run(run_name='b', nested=True): import beta\n"
        "with repro.start_run(run_name='c'): import gamma_ray\n"
    )
    assert script(code).stderr == ""
    used = {run.run_name: script.list_used(run.run_id) for run in script.list_runs()}
    assert used == {"a": ["alpha", "beta"], "b": ["alpha", "beta"], "c": ["alpha", "beta", "gamma-ray"]}


def test_a_forked_child_ends_no_record(script: Script) -> None:
    code = (
        "import os, sys, repro\n"
        "with repro.start_run():\n"
        "    if os.fork() == 0: sys.exit(0)\n"
        "    os.wait()\n"
        "    print(os.path.exists(os.environ['REPRO_OBSERVE_DIR']))\n"
        "    import alpha\n"
    )
    assert script(code).stdout == "True\n"
    assert script.list_used() == ["alpha"]


def test_a_run_that_is_resumed_keeps_the_lock_it_has(script: Script) -> None:
    script("import alpha, repro\nwith repro.start_run(): pass")
    run_id = script.list_runs()[0].run_id
    script(f"import beta, repro\nwith repro.start_run({run_id!r}): pass")
    assert script.list_used() == ["alpha"]


def test_a_run_of_another_runner_gets_the_record_from_its_script(script: Script) -> None:
    run = script.store.get_info(script.store.start())
    script("import alpha, repro\nwith repro.start_run(): pass", MLFLOW_RUN_ID=run.run_id)
    assert script.list_used(run.run_id) == ["alpha"]
    assert script.store.get_info(run.run_id).status is RunStatus.FINISHED


@pytest.mark.parametrize(
    "trouble",
    [
        "import os, repro\nos.environ['TMPDIR'] = '/nonexistent'\n",
        "import sys, repro\nsys.path = [None, 3, *sys.path]\n",
        "import site, repro\ndel site.getsitepackages\n",
        "import sys, repro\nsys.modules['repro.snapshots.take'] = None\n",
        "import os, repro\nos.umask(0o777)\nos.umask(0o022)\nos.environ['MLFLOW_SNAPSHOT_CACHE'] = '/dev/null/x'\n",
    ],
)
def test_whatever_fails_the_script_goes_on(trouble: str, script: Script) -> None:
    finished = script(trouble + "with repro.start_run(): repro.log_metric('m', 1)\nprint('end')")
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "end\n", "")
    run = script.list_runs()[0]
    assert run.status is RunStatus.FINISHED
    assert script.store.read_metrics(run.run_id) == {"m": 1.0}


def test_what_went_wrong_is_a_tag(script: Script) -> None:
    script("import site, repro\ndel site.getsitepackages\nwith repro.start_run(): pass")
    assert "getsitepackages" in script.store.read_tags(script.list_runs()[0].run_id)["repro.record.error"]
