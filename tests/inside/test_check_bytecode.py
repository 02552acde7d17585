"""Bytecode is checked by the interpreter that would use it, and by no other."""

from __future__ import annotations

import os
import py_compile
import random
import subprocess
import sys
from pathlib import Path

import pytest

from repro.environments.bytecode import _SCRIPT as SCRIPT
from repro.inside.check_bytecode import is_whole

SOURCE = "".join(f"def f{number}(a, *, b={number}): return [a, b, 'x{number}' * {number}]\n" for number in range(60))


def find_interpreters() -> list[str]:
    root = Path(os.environ.get("PYENV_ROOT", "/nonexistent"), "versions")
    return [str(path / "bin" / "python") for minor in ("3.8", "3.13") for path in sorted(root.glob(f"{minor}.*"))]


def compile_source(directory: Path) -> bytes:
    source = directory / "module.py"
    source.write_text(SOURCE)
    compiled = py_compile.compile(str(source), str(directory / "module.pyc"), doraise=True)
    return Path(str(compiled)).read_bytes()


def test_whatever_is_cut_off_is_not_whole(tmp_path: Path) -> None:
    content = compile_source(tmp_path)
    assert is_whole(content)
    assert not [size for size in range(len(content)) if is_whole(content[:size])]


def test_whichever_block_is_zeroed_is_not_whole(tmp_path: Path) -> None:
    content = compile_source(tmp_path)
    for at in range(0, len(content), 512):
        zeros = bytes(len(content[at : at + 512]))
        assert not is_whole(content[:at] + zeros + content[at + 512 :])


def test_no_garbage_stops_it(tmp_path: Path) -> None:
    content = compile_source(tmp_path)
    rng = random.Random(7)
    for _ in range(30):  # each may take gigabytes, and a while
        is_whole(content[:16] + rng.randbytes(rng.randrange(1, 2000)))


@pytest.mark.interpreters
@pytest.mark.parametrize("python", find_interpreters() or [sys.executable])
def test_each_interpreter_removes_its_own_damaged_bytecode_alone(python: str, tmp_path: Path) -> None:
    (tmp_path / "pyc" / "deep").mkdir(parents=True)
    (tmp_path / "module.py").write_text(SOURCE)
    tag = subprocess.check_output([python, "-c", "import sys; print(sys.implementation.cache_tag)"], text=True).strip()
    good, bad = (tmp_path / "pyc" / "deep" / f"{name}.{tag}.pyc" for name in ("good", "bad"))
    for path in (good, bad):
        subprocess.check_call([python, "-c", "import py_compile, sys; py_compile.compile(*sys.argv[1:])",
                               tmp_path / "module.py", path])  # fmt: skip
    bad.write_bytes(bad.read_bytes()[:-1])
    other = bad.with_name("bad.cpython-27.pyc")
    other.write_bytes(b"")
    subprocess.run([python, "-I", "-S", SCRIPT], input=f"{tmp_path / 'pyc'}\n", text=True, check=True)
    assert sorted(path.name for path in good.parent.iterdir()) == sorted([good.name, other.name])
