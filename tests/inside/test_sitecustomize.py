from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import repro

LEND_DIR = Path(repro.__file__).parent / "inside" / "lend"


class Lender:
    """A real, bare virtual environment, and a package to lend to it."""

    def __init__(self, root: Path) -> None:
        self.env_dir = root / "env"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(self.env_dir)], check=True)
        self.lent_dir = root / "lent" / "tool"
        self.lent_dir.mkdir(parents=True)
        (self.lent_dir / "__init__.py").write_text("WHENCE = 'lent'\n")
        (self.lent_dir / "part.py").write_text("PART = 1\n")
        self.environ = {
            "PYTHONPATH": str(LEND_DIR),
            "REPRO_LEND_PREFIX": str(self.env_dir),
            "REPRO_LEND_PACKAGES": f"tool={self.lent_dir}",
        }

    @property
    def site(self) -> Path:
        return next(self.env_dir.glob("lib/python*/site-packages"))

    def __call__(self, code: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, **self.environ, **variables}
        python = str(self.env_dir / "bin" / "python")
        return subprocess.run([python, "-c", code], env=environ, capture_output=True, text=True, check=False)


@pytest.fixture
def lender(tmp_path: Path) -> Lender:
    return Lender(tmp_path)


def test_a_package_that_is_missing_is_lent(lender: Lender) -> None:
    finished = lender("import tool, tool.part; print(tool.WHENCE, tool.part.PART)")
    assert (finished.stdout, finished.stderr) == ("lent 1\n", "")


def test_the_environments_own_package_wins(lender: Lender) -> None:
    (lender.site / "tool.py").write_text("WHENCE = 'own'\n")
    assert lender("import tool; print(tool.WHENCE)").stdout == "own\n"


def test_a_prefix_through_a_link_is_the_same(lender: Lender, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(lender.env_dir)
    assert lender("import tool", REPRO_LEND_PREFIX=str(tmp_path / "link")).returncode == 0


@pytest.mark.parametrize("prefix", ["", "/elsewhere"])
def test_nothing_is_lent_outside_the_runs_prefix(lender: Lender, prefix: str) -> None:
    finished = lender("import tool", REPRO_LEND_PREFIX=prefix)
    assert "No module named 'tool'" in finished.stderr


def test_the_sitecustomize_it_hides_runs_first_and_keeps_its_name(lender: Lender) -> None:
    (lender.site / "sitecustomize.py").write_text("import sys\nMARK = 1\nsys.seen = list(map(str, sys.meta_path))\n")
    finished = lender("import sys, sitecustomize; print(sitecustomize.MARK, 'Lent' in str(sys.seen)); import tool")
    assert (finished.stdout, finished.stderr) == ("1 False\n", "")


def test_a_hidden_sitecustomize_runs_outside_the_runs_prefix_too(lender: Lender) -> None:
    (lender.site / "sitecustomize.py").write_text("print('hidden')\n")
    assert lender("", REPRO_LEND_PREFIX="/elsewhere").stdout == "hidden\n"


def test_a_hidden_sitecustomize_that_fails_is_noted_in_one_line(lender: Lender) -> None:
    (lender.site / "sitecustomize.py").write_text("raise ValueError('broken')\n")
    finished = lender("import tool; print(tool.WHENCE)")
    assert finished.stdout == "lent\n"
    assert finished.stderr == "repro: the environment's own sitecustomize: ValueError: broken\n"


def test_a_variable_that_makes_no_sense_is_noted_in_one_line(lender: Lender) -> None:
    finished = lender("print('goes on')", REPRO_LEND_PACKAGES="nonsense")
    assert finished.stdout == "goes on\n"
    assert finished.stderr.startswith("repro: lending repro: ValueError: ")
    assert finished.stderr.count("\n") == 1


def test_two_lenders_run_once_each_and_end(lender: Lender, tmp_path: Path) -> None:
    shutil.copytree(LEND_DIR, tmp_path / "other-lend", ignore=shutil.ignore_patterns("__pycache__"))
    (lender.site / "sitecustomize.py").write_text("print('hidden')\n")
    path = os.pathsep.join([str(LEND_DIR), str(tmp_path / "other-lend")])
    finished = lender("import tool; print(tool.WHENCE)", PYTHONPATH=path)
    assert (finished.stdout, finished.stderr) == ("hidden\nlent\n", "")
