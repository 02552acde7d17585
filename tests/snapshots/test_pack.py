"""Wheels packed again from installed files."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import TestEnvironment, make_wheel
from hypothesis import given, settings
from hypothesis import strategies as st

from repro.errors import ReproError
from repro.formats.record import digest_record, digest_wheel_record
from repro.process import Runner
from repro.snapshots.installed import Installed, find_altered, read_installed
from repro.snapshots.pack import pack_wheel, read_wheel_record
from repro.snapshots.probe import probe


def get_installed(environment: TestEnvironment, name: str) -> Installed:
    found = next(
        each for each in probe(environment.python, runner=Runner(), environ=os.environ).found if each.name == name
    )
    installed = read_installed(found)
    assert installed
    return installed


def read_digest(wheel: Path) -> str:
    with zipfile.ZipFile(wheel) as archive:
        return digest_wheel_record(read_wheel_record(archive))


SCRIPTED = {
    "scripted/__init__.py": "def main(): print('made')\n",
    "scripted/data with space.txt": "x",
    "scripted-1.0.data/scripts/tool": "#!python\nprint('tool')\n",
    "scripted-1.0.data/data/share/scripted/conf.ini": "[a]\n",
    "scripted-1.0.data/purelib/beside.py": "X = 1\n",
    "scripted-1.0.dist-info/entry_points.txt": "[console_scripts]\nmade = scripted:main\n",
}


@pytest.fixture
def scripted(tmp_path: Path, environment: TestEnvironment) -> TestEnvironment:
    return environment.install(str(make_wheel(tmp_path, "scripted", "1.0", files=SCRIPTED)))


def test_a_packed_wheel_has_the_record_digest_of_what_is_installed(scripted: TestEnvironment, tmp_path: Path) -> None:
    wheel = pack_wheel(get_installed(scripted, "scripted"), target_dir=tmp_path)
    assert read_digest(wheel) == get_installed(scripted, "scripted").record
    assert wheel.name == "scripted-1.0-py3-none-any.whl"


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_what_a_packed_wheel_installs_works_as_before(
    installer: str, scripted: TestEnvironment, tmp_path: Path
) -> None:
    wheel = pack_wheel(get_installed(scripted, "scripted"), target_dir=tmp_path)
    again = TestEnvironment(tmp_path / "again")
    if installer == "uv":
        again.install(str(wheel))
    else:
        command = [sys.executable, "-m", "pip", "--python", again.python, "install", "-q", "--no-deps", str(wheel)]
        subprocess.run(command, check=True)
    assert get_installed(again, "scripted").record == get_installed(scripted, "scripted").record
    for command, said in (("made", "made"), ("tool", "tool")):
        done = subprocess.run([again.path / "bin" / command], check=True, capture_output=True, text=True)
        assert done.stdout == f"{said}\n"
    assert (again.path / "share" / "scripted" / "conf.ini").read_text() == "[a]\n"
    assert (again.site / "beside.py").exists()


def test_packing_twice_gives_equal_bytes(scripted: TestEnvironment, tmp_path: Path) -> None:
    wheels = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        wheels.append(pack_wheel(get_installed(scripted, "scripted"), target_dir=tmp_path / name).read_bytes())
        os.utime(scripted.site / "scripted" / "__init__.py", (1, 1))
    assert wheels[0] == wheels[1]


def test_bytecode_and_what_installers_add_is_not_packed(scripted: TestEnvironment, tmp_path: Path) -> None:
    subprocess.run([scripted.python, "-m", "compileall", "-q", scripted.site], check=True)
    with zipfile.ZipFile(pack_wheel(get_installed(scripted, "scripted"), target_dir=tmp_path)) as archive:
        names = archive.namelist()
    assert not [name for name in names if name.endswith((".pyc", "INSTALLER", "direct_url.json", "REQUESTED"))]
    assert "scripted-1.0.data/scripts/tool" in names
    assert "scripted-1.0.data/scripts/made" not in names


def test_a_path_that_leads_out_of_the_environment_is_refused(environment: TestEnvironment, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("x")
    record = environment.site / "alpha-1.0.dist-info" / "RECORD"
    outside = os.path.relpath(secret, environment.site)
    record.write_text(record.read_text() + f"{outside},,\n")
    with pytest.raises(ReproError, match="outside its environment"):
        pack_wheel(get_installed(environment, "alpha"), target_dir=tmp_path)


@pytest.mark.parametrize("name", ["METADATA", "WHEEL"])
def test_what_no_installer_would_take_is_not_packed(name: str, environment: TestEnvironment, tmp_path: Path) -> None:
    installed = get_installed(environment, "alpha")
    (environment.site / "alpha-1.0.dist-info" / name).unlink()
    with pytest.raises(ReproError, match=r"`alpha-1\.0\.dist-info` has no"):
        pack_wheel(installed, target_dir=tmp_path)


@pytest.mark.parametrize(
    ("deed", "found", "deep"),
    [
        ("grow", ["alpha.py"], ["alpha.py"]),
        ("remove", ["alpha.py"], ["alpha.py"]),
        ("same size", [], ["alpha.py"]),
        ("nothing", [], []),
    ],
)
def test_altered_files_are_found(deed: str, found: list[str], deep: list[str], environment: TestEnvironment) -> None:
    module = environment.site / "alpha.py"
    content = module.read_bytes()
    module.unlink()  # it may share its inode with the installer's cache
    if deed != "remove":
        module.write_bytes({"grow": content + b"#", "same size": content[::-1], "nothing": content}[deed])
    installed = get_installed(environment, "alpha")
    assert list(find_altered(installed)) == found
    assert list(find_altered(installed, deep=True)) == deep


paths = st.from_regex(r"[a-z]{1,4}(/[a-z]{1,4}){0,2}\.(py|so|txt)", fullmatch=True)
rows = st.dictionaries(paths, st.text("0123456789abcdef", min_size=4, max_size=8), max_size=8)


@settings(max_examples=50)
@given(rows, st.randoms(use_true_random=False))
def test_the_record_digest_does_not_depend_on_order_sizes_or_what_installers_add(
    content: dict[str, str], random: object
) -> None:
    lines = [f"{path},sha256={hash_},{len(hash_)}" for path, hash_ in content.items()]
    wheel = [f"x-1.0.data/purelib/{line}" if index % 2 else line for index, line in enumerate(lines)]
    wheel += ["x-1.0.data/scripts/run,sha256=aa,2", "x-1.0.dist-info/RECORD,,"]
    added = ["../../../bin/run,sha256=bb,9", "x-1.0.dist-info/INSTALLER,sha256=cc,3", "a/__pycache__/b.pyc,,"]
    installed = [*reversed(lines), *added]
    assert digest_record("\n".join(installed)) == digest_wheel_record("\n".join(wheel))


def test_a_local_wheel_of_a_whole_environment_installs_offline(scripted: TestEnvironment, tmp_path: Path) -> None:
    house = tmp_path / "house"
    house.mkdir()
    for name in ("alpha", "beta", "scripted"):
        pack_wheel(get_installed(scripted, name), target_dir=house)
    again = TestEnvironment(tmp_path / "again")
    again.install("--offline", "--no-index", "--find-links", str(house), "alpha", "beta", "scripted")
    for name in ("alpha", "beta", "scripted"):
        assert get_installed(again, name).record == get_installed(scripted, name).record
