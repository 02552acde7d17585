"""What is missing or inconsistent in an environment, as `pip check` says it."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Cli, LocalIndex, TestEnvironment
from hypothesis import given
from hypothesis import strategies as st

from repro.formats.lockfile import Interpreter, canonicalize_name
from repro.process import Runner
from repro.settings import own_environment
from repro.snapshots.describe import choose_founds
from repro.snapshots.preflight import Fault, check_requirements
from repro.snapshots.probe import Found, probe

PYTHON = Interpreter(
    implementation="cpython", version="3.11.7", abi="cp311", platform="linux-x86_64", libc="glibc 2.36"
)


def make_found(name: str, version: str = "1.0", *requires: str) -> Found:
    return Found(name=name, version=version, site="/s", entry=f"{name}-{version}.dist-info", requires=requires,
                 record=None, installer=None, requested=False, direct_url=None)  # fmt: skip


def check(*founds: Found, python: Interpreter = PYTHON) -> list[str]:
    return [fault.text for fault in check_requirements({each.name: each for each in founds}, python)]


def ask_pip(environment: TestEnvironment) -> set[tuple[str, str, str]]:
    """Return what `pip check` finds: the distribution, what it requires, and how that is."""
    said = subprocess.run(
        [sys.executable, "-m", "pip", "--python", environment.python, "check"],
        check=False, capture_output=True, text=True,
    ).stdout  # fmt: skip
    missing = re.findall(r"^(\S+) \S+ requires (\S+), which is not installed", said, re.MULTILINE)
    others = re.findall(r"^(\S+) \S+ has requirement ([A-Za-z0-9_.-]+).*, but you have", said, re.MULTILINE)
    return {(*each, "missing") for each in missing} | {(*each, "incompatible") for each in others}


def ask_ourselves(environment: TestEnvironment) -> set[tuple[str, str, str]]:
    report = probe(environment.python, runner=Runner(), environ=own_environment())
    founds, _ = choose_founds(report.found)
    faults = check_requirements(founds, report.interpreter)
    return {(each.name, canonicalize_name(name_required(each)), each.kind) for each in faults}


def name_required(fault: Fault) -> str:
    found = re.search(r"needs `([A-Za-z0-9_.-]+)", fault.text)
    assert found is not None
    return found[1]


REQUIRES = {
    "missing": ("gone", "gone-too>=1; python_version >= '3'"),
    "versions": ("beta>=3", "beta<3,!=2.0", "beta==2.*", "beta~=2.0", "beta>2.0,<2.1", "BETA===2.0", "Be_Ta",
                 "Beta [x] >= 2"),
    "markers": (
        "gone; python_version < '3'", "gone2; sys_platform == 'win32' or os_name == 'nt'",
        "gone3; sys_platform == 'linux'",
        "gone4; platform_system == 'Linux' and implementation_name == 'cpython'", "gone5; platform_machine == 'none'",
        "gone6; python_full_version >= '3.10.0'", "beta>=9; platform_python_implementation == 'PyPy'",
        "beta>=8; platform_release >= '1'", "gone7; platform_version != ''", "gone8; 'linux' in sys_platform",
    ),
    "extras": ("gone; extra == 'x'", "gone2; extra != 'x'", "beta[x]>=2", "beta[x]>=9",
               "gone3; python_version>'3' and extra=='y'"),
    "prereleases": ("pre", "pre>=1.0rc1", "pre<1.0", "pre>=1.0", "pre==1.0rc1", "pre>0.9"),
    "urls": ("beta @ https://example.org/beta-2.0.zip", "gone @ https://example.org/;x.zip ; python_version > '3'"),
    "itself": ("itself>=2", "itself"),
}  # fmt: skip


@pytest.mark.parametrize("case", REQUIRES)
def test_we_find_what_pip_check_finds(case: str, environment: TestEnvironment, index: LocalIndex) -> None:
    index.add("pre", "1.0rc1")
    index.add(case, "1.0", requires=REQUIRES[case])
    environment.install("pre==1.0rc1", f"{case}==1.0")
    found = ask_ourselves(environment)
    assert found == ask_pip(environment)
    assert found


def test_an_environment_that_is_whole_has_no_fault(environment: TestEnvironment) -> None:
    assert ask_ourselves(environment) == ask_pip(environment) == set()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("!!", "!!"),
        ("beta >=", "beta >="),
        ("beta; nonsense == '1'", "beta; nonsense == '1'"),
        ("beta; python_version >", "beta; python_version >"),
        ("beta\x1b[31m; x" + "y" * 500, ("beta?[31m; x" + "y" * 500)[:200]),
        ("a @  b c", "a @ b c"),
    ],
)
def test_a_malformed_requirement_is_a_fault_of_its_own(text: str, shown: str) -> None:
    said = check(make_found("alpha", "1.0", text), make_found("beta"))
    assert said == [f"`alpha` has a malformed requirement: `{shown}`"]


def test_a_version_that_is_none_is_not_compared() -> None:
    assert check(make_found("alpha", "1.0", "beta>=1"), make_found("beta", "nonsense")) == []


def test_markers_are_those_of_the_interpreter_looked_at() -> None:
    alpha = make_found("alpha", "1.0", "gone; python_version < '3.9' and implementation_name == 'pypy'")
    assert check(alpha) == []
    other = replace(PYTHON, implementation="pypy", version="3.8.16")
    assert check(alpha, python=other) == ["`alpha` needs `gone`, which is not installed"]


@given(
    st.text(max_size=40)
    | st.from_regex(r"[a-z]+ ?[<>=~!]{0,3} ?[0-9.]*( ?; ?[a-z_]+ ?[<>=]{1,2} ?'[0-9a-z.]*')?", fullmatch=True)
)
def test_no_requirement_breaks_the_check(text: str) -> None:
    check(make_found("alpha", "1.0", text))


def test_faults_are_told_and_in_strict_mode_refused_with_nothing_written(
    environment: TestEnvironment, index: LocalIndex, cli: Cli
) -> None:
    index.add("alpha", "2.0", requires=("beta>=3", "gone"))
    environment.install("alpha==2.0")
    done = cli("snapshot", ".", "--python", environment.python, "--strict", code=5)
    assert done.stderr[done.stderr.index("error:") :] == (
        "error: the environment is not consistent: 2 fault(s)\n"
        "  `alpha` needs `beta>=3`, but 2.0 is installed\n"
        "  `alpha` needs `gone`, which is not installed\n"
        "hint: mend it, or take the snapshot without `--strict`\n"
    )
    assert not Path("requirements-lock.txt").exists()
    done = cli("snapshot", ".", "--python", environment.python)
    assert "warning: `alpha` needs `gone`, which is not installed\n" in done.stderr
    before = Path("requirements-lock.txt").read_bytes()
    environment.install("alpha==1.0", "beta==2.1")
    (environment.site / "beta.py").unlink()
    cli("snapshot", ".", "--python", environment.python, "--strict", code=5)
    assert Path("requirements-lock.txt").read_bytes() == before
