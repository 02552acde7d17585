"""Imports, the distributions that provide them, and what the lock lacks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TestEnvironment

from repro.environments.machine import Machine
from repro.formats.lockfile import Distribution, Interpreter, Snapshot
from repro.snapshots.code import Code, Named
from repro.snapshots.gaps import Gap, GapKind, find_needs
from repro.snapshots.probe import Found
from repro.snapshots.provides import Provided, guess_distribution, read_provided
from repro.snapshots.stdlib import list_stdlib

PROVIDED = Provided(
    {
        "pyyaml": frozenset({"yaml", "yaml.loader", "_yaml"}),
        "protobuf": frozenset({"google.protobuf.message", "google._upb"}),
        "google-cloud-storage": frozenset({"google.cloud.storage", "google.cloud.storage.client"}),
        "numpy": frozenset({"numpy", "numpy.linalg"}),
    }
)


@pytest.mark.parametrize(
    ("name", "distributions"),
    [
        ("yaml", {"pyyaml"}),
        ("yaml.loader.SafeLoader", {"pyyaml"}),
        ("yaml.nonsense", {"pyyaml"}),
        ("_yaml", {"pyyaml"}),
        ("google.cloud.storage", {"google-cloud-storage"}),
        ("google.cloud.storage.Client", {"google-cloud-storage"}),
        ("google.protobuf", {"protobuf"}),
        ("google", {"protobuf", "google-cloud-storage"}),
        ("google.api", set()),
        ("torch", set()),
    ],
)
def test_a_module_is_mapped_to_the_distribution_whose_path_it_is(name: str, distributions: set[str]) -> None:
    assert PROVIDED.find(name) == distributions


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("sklearn.linear_model", ("scikit-learn", True)),
        ("yaml", ("pyyaml", True)),
        ("torch", ("torch", True)),
        ("matplotlib.pyplot", ("matplotlib", True)),
        ("google.protobuf.message", ("protobuf", True)),
        ("google.cloud.storage.Client", ("google-cloud-storage", False)),
        ("company_tools.x", ("company-tools", False)),
    ],
)
def test_what_is_not_installed_is_guessed_and_a_guess_is_marked(name: str, guess: tuple[str, bool]) -> None:
    assert guess_distribution(name) == guess


def find(site: Path, name: str, entry: str) -> Found:
    facts = {"requires": (), "record": None, "installer": None, "requested": False, "direct_url": None}
    return Found(name=name, version="1.0", site=str(site), entry=entry, **facts)  # type: ignore[arg-type]


def write(site: Path, entry: str, **files: str) -> None:
    (site / entry).mkdir()
    for name, text in files.items():
        (site / entry / name.replace("_txt", ".txt")).write_text(text)


def test_paths_of_record_tell_modules_from_what_is_not_imported(tmp_path: Path) -> None:
    rows = [
        "one.py,,", "pkg/__init__.py,,", "pkg/deep/fast.cpython-311-x86_64-linux-gnu.so,,", '"pkg/od,d.py",,',
        "../../../bin/tool.py,,", "a-1.0.dist-info/x.py,,", "a.libs/lib.so,,", "data/array.npy,,", "pkg/data.txt,,",
    ]  # fmt: skip
    write(tmp_path, "a-1.0.dist-info", RECORD="\n".join(rows))
    provided = read_provided([find(tmp_path, "a", "a-1.0.dist-info")])
    found = {name: bool(provided.find(name)) for name in ("one", "pkg.deep.fast", "tool", "data", "a")}
    assert found == {"one": True, "pkg.deep.fast": True, "tool": False, "data": False, "a": False}


def test_editables_are_followed_to_their_directories(tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / "src" / "mine").mkdir(parents=True)
    (tmp_path / "_mine.pth").write_text(f"import os; x()\n{work / 'src'}\n")
    write(tmp_path, "mine-1.0.dist-info", RECORD="_mine.pth,,\n")
    finder = "__editable___other_1_0_finder.py"
    (tmp_path / finder).write_text("MAPPING: dict[str, str] = {'other': '/x/other'}\nNAMESPACES = {}\n")
    write(tmp_path, "other-1.0.dist-info", RECORD=f"{finder},,\n__editable__.other-1.0.pth,,\n")
    damaged = "__editable___bad_1_0_finder.py"
    (tmp_path / damaged).write_text("MAPPING = {call()}\n")
    write(tmp_path, "bad-1.0.dist-info", RECORD=f"{damaged},,\n")
    write(tmp_path, "old.egg-info", top_level_txt="legacy\n_legacy\n")
    founds = [find(tmp_path, name, f"{name}-1.0.dist-info") for name in ("mine", "other", "bad")]
    provided = read_provided([*founds, find(tmp_path, "old", "old.egg-info")])
    assert [provided.find(name) for name in ("mine", "other.x", "legacy")] == [{"mine"}, {"other"}, {"old"}]


def test_the_modules_of_a_real_environment_are_found(environment: TestEnvironment, cache: Path) -> None:
    from repro.snapshots.probe import probe

    machine = Machine.here(cache=str(cache))
    report = probe(environment.python, runner=machine.runner, environ=machine.environ)
    assert read_provided(report.found).find("alpha") == {"alpha"}


def snapshot(*names: str) -> Snapshot:
    return Snapshot(
        interpreter=None, distributions=tuple(Distribution(name=name, version="1.0") for name in sorted(names))
    )


def name(module: str, **marks: bool) -> Named:
    marks = {"optional": False, "local": False, "directory": False, **marks}
    return Named(name=module, places=(f"{module}.py:1",), **marks)


def find_gaps(*imports: Named, lock: Snapshot, here: Snapshot) -> tuple[Gap, ...]:
    code = Code(root=Path(), files=1, imports=imports)
    stdlib = frozenset(sys.stdlib_module_names)
    return find_needs(code, provided=PROVIDED, stdlib=stdlib, lock=lock, here=here).gaps


def test_what_the_lock_the_library_or_the_project_provides_is_no_gap() -> None:
    imports = (
        name("yaml.loader"), name("os.path"), name("repro"), name("__future__"), name("helper", local=True),
        name("ns", directory=True), name("nowhere", optional=True), name("numpy", optional=True), name("sklearn"),
    )  # fmt: skip
    assert find_gaps(*imports, lock=snapshot("pyyaml", "scikit-learn"), here=snapshot("pyyaml", "numpy")) == ()


def test_what_is_installed_and_not_locked_is_told_from_what_is_nowhere() -> None:
    gaps = find_gaps(
        name("google.cloud.storage.Client"),
        name("numpy", directory=True),
        name("torch.nn"),
        name("company"),
        lock=snapshot("pyyaml"),
        here=snapshot("numpy", "google-cloud-storage"),
    )
    assert [(gap.module, gap.kind, gap.severity.value, gap.distribution, gap.version) for gap in gaps] == [
        ("numpy", GapKind.UNLOCKED, "numeric", "numpy", "1.0"),
        ("torch", GapKind.MISSING, "numeric", "torch", None),
        ("company", GapKind.MISSING, "used", "company", None),
        ("google", GapKind.UNLOCKED, "used", "google-cloud-storage", "1.0"),
    ]
    assert [gap.to_dict()["distribution"] for gap in gaps] == ["numpy", "torch", None, "google-cloud-storage"]


def test_one_distribution_is_one_gap_with_all_its_places() -> None:
    (gap,) = find_gaps(name("torch"), name("torch.nn"), lock=snapshot(), here=snapshot())
    assert gap.places == ("torch.py:1", "torch.nn.py:1")


def test_imported_distributions_are_known_also_where_they_are_not_installed() -> None:
    code = Code(root=Path(), files=1, imports=(name("sklearn.svm"), name("yaml", optional=True), name("nowhere")))
    needs = find_needs(
        code, provided=PROVIDED, stdlib=frozenset(), lock=snapshot("scikit-learn"), here=snapshot("pyyaml")
    )
    assert needs.imported == {"scikit-learn", "pyyaml"}


def list_names(python: str, version: str, cache: Path) -> frozenset[str]:
    machine = Machine.here(cache=str(cache))
    interpreter = Interpreter(implementation="cpython", version=version, abi="x", platform="x")
    return list_stdlib(python, interpreter=interpreter, runner=machine.runner, environ=machine.environ)


def test_the_standard_library_of_our_own_version_is_ours_and_another_interpreter_is_asked(cache: Path) -> None:
    ours = frozenset(sys.stdlib_module_names)
    assert list_names("/no/such/python", "{}.{}.0".format(*sys.version_info[:2]), cache) == ours
    asked = list_names(sys.executable, "2.9.9", cache)
    assert asked == ours
    assert list_names("/no/such/python", "2.9.9", cache) == ours


def find_others() -> list[str]:
    """Return the Pythons beside ours that run guest scripts, 3.8 and newer."""
    versions = Path(sys.base_prefix).parent.glob("3.*/bin/python")
    return [
        str(path)
        for path in sorted(versions)
        if path.parts[-3].split(".")[1].isdigit() and int(path.parts[-3].split(".")[1]) >= 8
    ]


@pytest.mark.interpreters
@pytest.mark.parametrize("python", find_others() or [sys.executable])
def test_the_standard_library_is_that_of_the_interpreter(python: str, tmp_path: Path) -> None:
    version = subprocess.check_output([python, "-c", "import sys; print(sys.version.split()[0])"], text=True).strip()
    names = list_names(python, version, tmp_path)
    assert {"os", "sys", "math", "json", "_ctypes", "encodings"} <= names
    minor = int(version.split(".")[1])
    assert ("tomllib" in names, "imp" in names) == (minor >= 11, minor < 12)
