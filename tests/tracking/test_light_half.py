"""The light half in bare virtual environments: tracking needs the standard library alone, whatever names hold."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from conftest import REPOSITORY
from lending import find_pythons

SCRIPT = """\
import os, sys
sys.path.insert(0, sys.argv[1])
import repro
repro.set_experiment("wein é 🍷\\n")
with repro.start_run(run_name="été: 'x' 🍷", tags={"t": "ü"}, description="d") as run:
    repro.log_metric("m", 1)
    repro.log_param("p", "ü")
    repro.log_dict({"a": 1}, "x.json")
    try:
        repro.log_dict({"a": 1}, "x.yaml")
    except repro.TrackingError as error:
        print(error.hint)
client = repro.Client()
repro.rename_experiment(run.info.experiment_id, "été")
client.update_run(run.run_id, name="hiver é")
(found,) = repro.search_runs(filter_string="metrics.m > 0 and params.p = 'ü'", order_by=["metrics.m"])
assert found.info.run_name == client.get_run(run.run_id).info.run_name == "hiver é"
assert [each.name for each in repro.search_experiments(order_by=["name"])] == ["Default", "été"]
assert "repro.record.error" not in found.data.tags, found.data.tags
client.delete_run(run.run_id)
from repro.tracking.store import open_store
from repro.tracking.rest.store import RestStore
from pathlib import Path
assert isinstance(open_store("http://127.0.0.1:9", cwd=Path.cwd()), RestStore)
import repro.tracking.copy, repro.tracking.rest.sync, repro.tracking.server
print(sorted({"packaging", "yaml", "rich", "filelock", "virtualenv"} & set(sys.modules)))
"""


@pytest.mark.parametrize("python", find_pythons())
def test_tracking_needs_the_standard_library_alone(python: str, tmp_path: Path) -> None:
    subprocess.run([python, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    command = [str(tmp_path / "bare" / "bin" / "python"), "-c", SCRIPT, str(REPOSITORY)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "pip install pyyaml\n[]\n"
