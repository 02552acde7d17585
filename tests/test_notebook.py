"""The magics, in a real IPython."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TestEnvironment
from readable_store import ReadableStore

from repro.formats.run_meta import RunStatus

pytestmark = pytest.mark.index

RunCells = Callable[..., "tuple[list[str], str]"]

SHELL = """\
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance(history_length=0)
shell.history_manager.enabled = False
cells = open("cells").read().split("\\n---\\n")
for cell in cells:
    result = shell.run_cell(cell, store_history=False)
    print("result:", result.result, type(result.error_in_exec).__name__)
"""


@pytest.fixture
def run_cells(ipython: TestEnvironment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RunCells:
    """Run cells in a shell after `%load_ext repro`; return the results said and all that was written."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("MLFLOW_SNAPSHOT_CACHE", str(tmp_path / "cache"))

    def run(*cells: str) -> tuple[list[str], str]:
        Path("cells").write_text("\n---\n".join(("%load_ext repro", *cells)))
        done = subprocess.run([ipython.python, "-c", SHELL], capture_output=True, text=True, check=True)
        said = done.stdout + done.stderr
        assert "Traceback" not in said, said
        results = [line for line in done.stdout.splitlines() if line.startswith("result:")]
        return results[1:], said

    return run


def test_a_cell_is_a_tracked_run(run_cells: RunCells) -> None:
    Path("own_module.py").write_text("NAME = 'own'\n")
    Path("data with space.txt").write_text("3")
    code = (
        "import repro, own_module\n"
        "repro.log_metric('read', float(open('data with space.txt').read()) * repro.param('rate', 1.0))\n"
        "print('printed', own_module.NAME)\n"
    )
    results, said = run_cells(f"%%repro_run -P rate=0.5 --no-observe --no-snapshot\n{code}", "1 + 1")
    assert results[1] == "result: 2 NoneType"
    run_id = results[0].split()[1]
    store = ReadableStore(Path("mlruns"))
    assert store.get_info(run_id).status is RunStatus.FINISHED
    assert store.read_params(run_id) == {"rate": "0.5"}
    assert store.read_metrics(run_id) == {"read": 1.5}
    assert store.read_text(run_id, "cell.py") == code
    assert "printed own" in said


def test_a_cell_that_fails_is_a_failed_run_and_stops_the_notebook(run_cells: RunCells) -> None:
    results, said = run_cells(
        "%%repro_run --no-observe --no-snapshot\nimport sys\nsys.exit(3)\n",
        "%%repro_run\n%matplotlib inline\n",
        "%%repro_run -P 'x\nprint(1)\n",
    )
    assert [line.split()[-1] for line in results] == ["UsageError"] * 3
    assert "failed: exit code 3" in said
    assert "the cell is not plain Python, without `%` and `!`: line 1: invalid syntax" in said
    assert "cannot be split into words: No closing quotation" in said
    assert [info.status for info in ReadableStore(Path("mlruns")).list_runs()] == [RunStatus.FAILED]


def test_a_line_is_a_command_on_the_kernels_interpreter(run_cells: RunCells, ipython: TestEnvironment) -> None:
    results, said = run_cells("name = 'project'", "%repro snapshot -o {name}.txt --json", "%repro nonsense")
    assert results[1] == "result: None NoneType"
    assert ipython.python in said
    assert "ipython==" in Path("project.txt").read_text()
    assert results[2] == "result: None UsageError"
    assert "there is no command `nonsense`" in said


def test_ipython_is_imported_by_the_magics_alone() -> None:
    code = "import sys, repro, repro.notebook; repro.load_ipython_extension; print('IPython' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"
