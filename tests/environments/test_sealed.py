"""Nothing of the user's own Python setup reaches what runs in a sealed environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Cli, TestEnvironment

SCRIPT = """
import importlib.util, os, site, sys
names = ("leaked", "planted", "usercustomize_was_here")
print("FOUND", [name for name in names if importlib.util.find_spec(name) or name in sys.modules])
print("USER", site.ENABLE_USER_SITE)
print("ALPHA", __import__("alpha").VERSION)
print("SET", sorted(n for n in os.environ if n in ("PYTHONHOME", "PYTHONSTARTUP", "PYTHONUSERBASE")))
"""
SAYS = ["FOUND []", "USER False", "ALPHA 1.0", "SET []"]


@pytest.fixture
def project(environment: TestEnvironment, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a lock, and variables, a user site and a directory of modules that would all leak."""
    cli("snapshot", "--python", environment.python)
    Path("train.py").write_text(SCRIPT)
    path, base = tmp_path / "path", tmp_path / "base"
    path.mkdir()
    (path / "leaked.py").write_text("")
    (path / "alpha.py").write_text("VERSION = 'leaked'\n")
    (path / "start.py").write_text("print('started')\n")
    monkeypatch.setenv("PYTHONUSERBASE", str(base))
    asked = [sys.executable, "-c", "import site; print(site.getusersitepackages())"]
    site = Path(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip())
    site.mkdir(parents=True)
    (site / "planted.py").write_text("")
    (site / "alpha.py").write_text("VERSION = 'planted'\n")
    (site / "usercustomize.py").write_text("import sys\nsys.modules['usercustomize_was_here'] = sys\n")
    monkeypatch.setenv("PYTHONPATH", str(path))
    monkeypatch.setenv("PYTHONSTARTUP", str(path / "start.py"))
    return Path.cwd()


def list_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.split(" ")[0] in ("FOUND", "USER", "ALPHA", "SET", "started")]


def test_what_is_planted_would_leak(project: Path) -> None:
    base = Path(sys.executable).resolve()
    shown = subprocess.run([base, "train.py"], check=True, capture_output=True, text=True)
    assert list_lines(shown.stdout)[0] == "FOUND ['leaked', 'planted', 'usercustomize_was_here']"


def test_nothing_leaks_into_a_command(project: Path, cli: Cli) -> None:
    assert list_lines(cli("restore", "--", "python", "train.py").stdout) == SAYS
    interactive = cli("restore", "--", "python", "-i", "-c", "import train").stdout
    assert list_lines(interactive) == SAYS


def test_nothing_leaks_into_a_command_in_a_private_environment(project: Path, cli: Cli) -> None:
    assert list_lines(cli("restore", "--into", ".venv", "--", "python", "train.py").stdout) == SAYS


def test_nothing_leaks_into_a_restored_run(project: Path, cli: Cli) -> None:
    done = cli("run", ".", "-e", "train.py", "--restore")
    assert list_lines(done.stdout + done.stderr) == SAYS


def test_a_home_of_another_python_does_not_reach_a_command(
    project: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Our own Python would not start with it, so it is set where only the sealed environment could take it away."""
    from repro import settings

    environ = {"PYTHONHOME": str(tmp_path), "PYTHONPLATLIBDIR": "lib64", "PATH": "/usr/bin", "LANG": "C"}
    made = settings.make_sealed_environment(environ, bin_dir="/env/bin", prefix="/env")
    expected = {"PATH": "/env/bin:/usr/bin", "LANG": "C", "VIRTUAL_ENV": "/env", "PYTHONNOUSERSITE": "1"}
    assert made == expected
