"""Every source a distribution can come from: what the lock says of it, and that a restore gives the same files."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Cli, LocalIndex, TestEnvironment, commit_all, make_project, make_wheel

from repro.environments.build import find_mismatches
from repro.environments.machine import Machine
from repro.environments.restore import Request, restore_environment
from repro.environments.satisfy import look_here
from repro.environments.snapshot import Outcome, take_for, write_lock
from repro.formats.direct_url import Archive, Checkout, Directory, Editable, Index, Local, Vcs
from repro.formats.lockfile import Distribution, Proof, Snapshot, format_snapshot
from repro.snapshots.load import load_lock
from repro.snapshots.work import Thoroughness


def take(environment: TestEnvironment, cache: Path, **thoroughness: bool) -> Outcome:
    machine = Machine.here(cache=str(cache))
    path = cache.parent / "requirements-lock.txt"
    return take_for(machine, environment.python, path=path, thoroughness=Thoroughness(**thoroughness))


def get(snapshot: Snapshot, name: str) -> Distribution:
    return next(each for each in snapshot.distributions if each.name == name)


def install_editable(environment: TestEnvironment, project: Path) -> None:
    environment.install("--editable", str(project))


def sha256_of(path: Path) -> str:
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def every_kind(environment: TestEnvironment, index: LocalIndex, tmp_path: Path) -> TestEnvironment:
    """An environment with a distribution of each source, alpha and beta among them."""
    vcs = make_project(tmp_path / "vcs", "vcs_made", "0.1")
    commit_all(vcs)
    edited = make_project(tmp_path / "edited", "edited", "0.2")
    commit_all(edited)
    (edited / "src" / "edited.py").write_text("VERSION = 'not committed'\n")
    (edited / "src" / "untracked.py").write_text("NEW = 1\n")
    index.add_sdist(make_project(tmp_path / "sdist", "built", "0.3"), "built", "0.3")
    index.add("built", "0.3")  # a pure-Python wheel with the same tags as what is built here
    archive = index.root / "files"
    archive.mkdir()
    remote = make_wheel(archive, "remote", "0.4")
    local = make_wheel(tmp_path, "local-file", "0.5")
    index.add("gone", "0.6")
    environment.install("gone==0.6")
    shutil.rmtree(index.root / "simple" / "gone")
    environment.install(f"git+file://{vcs}", str(local), f"http://{index.host}/files/{remote.name}")
    environment.install("--no-binary", "built", "built==0.3")
    environment.install(str(make_project(tmp_path / "directory", "from_directory", "0.7")))
    install_editable(environment, edited)
    return environment


def test_the_lock_is_whole_and_hashed_and_names_every_source(every_kind: TestEnvironment, cache: Path) -> None:
    snapshot = take(every_kind, cache).taken.snapshot
    kinds = {each.name: each.source.kind for each in snapshot.distributions}
    assert kinds == {
        "alpha": "index", "beta": "index", "vcs-made": "vcs", "edited": "editable", "built": "local",
        "remote": "archive", "local-file": "directory", "gone": "local", "from-directory": "directory",
    }  # fmt: skip
    assert snapshot.count() == {"hashed": 3, "kept": 6}
    assert all(snapshot.is_active(each) and each.hashes for each in snapshot.distributions)
    assert str(every_kind.path.parent) not in format_snapshot(snapshot)


def test_what_is_not_an_indexs_file_comes_out_neither_identified_nor_proved(
    every_kind: TestEnvironment, cache: Path
) -> None:
    module = every_kind.site / "beta.py"
    content = module.read_text()
    module.unlink()
    module.write_text(content + "# edited by hand\n")
    for prove in (False, True):
        snapshot = take(every_kind, cache, prove=prove).taken.snapshot
        built, edited = get(snapshot, "built"), get(snapshot, "beta")
        assert (built.proof, edited.proof) == (Proof.UNPROVEN, Proof.UNPROVEN)
        assert built.reason == "no wheel of this version on any index that was asked has these files"
        assert edited.modified == ("beta.py",)
        assert isinstance(edited.source, Local)
        assert edited.kept


def restore_offline(lock: Path, cache: Path, index: LocalIndex, place: Path, engine: str) -> Snapshot:
    """Restore into a cache that holds only the kept wheels and the files of the index, and return what is there."""
    wheels = place / "repro" / "v1" / "wheels"
    shutil.copytree(cache / "repro" / "v1" / "wheels", wheels)
    for wheel in (*index.root.glob("simple/*/*.whl"), *index.root.glob("files/*.whl")):
        target = wheels / sha256_of(wheel).removeprefix("sha256:")
        target.mkdir(exist_ok=True)
        shutil.copyfile(wheel, target / wheel.name)
    asked = index.requests
    machine = Machine.here(cache=str(place))
    made = restore_environment(machine, Request(lock=lock, offline=True, engine=engine))
    assert index.requests == asked
    return look_here(machine, made.python)


@pytest.mark.parametrize("engine", ["uv", "pip"])
def test_an_offline_restore_from_kept_wheels_gives_the_same_files_and_planted_differences_are_found(
    engine: str, every_kind: TestEnvironment, index: LocalIndex, cache: Path, tmp_path: Path
) -> None:
    lock = tmp_path / "requirements-lock.txt"
    write_lock(take(every_kind, cache).taken.snapshot, lock)
    snapshot = load_lock(lock).snapshot
    restored = restore_offline(lock, cache, index, tmp_path / "other", engine)
    assert {each.name: each.record for each in restored.distributions} == {
        each.name: each.record for each in snapshot.distributions
    }
    assert find_mismatches(snapshot.distributions, restored.distributions) == []
    for planted in snapshot.distributions:
        other = replace(planted, record="sha256:" + "0" * 64)
        wanted = [other if each.name == planted.name else each for each in snapshot.distributions]
        (line,) = find_mismatches(wanted, restored.distributions)
        assert line.startswith(f"~ {planted.name} {planted.version}: locked sha256:000")


def test_an_editable_is_kept_as_it_is_now_and_its_directory_is_left_alone(
    environment: TestEnvironment, cache: Path, tmp_path: Path
) -> None:
    project = make_project(tmp_path / "edited", "edited", "0.2")
    commit = commit_all(project)
    install_editable(environment, project)
    before = sorted(path.relative_to(project) for path in project.rglob("*"))
    first = get(take(environment, cache).taken.snapshot, "edited")
    assert first.source == Editable(checkout=Checkout(commit=commit))
    (project / "src" / "edited.py").write_text("VERSION = 'changed'\n")
    (project / "src" / "more.py").write_text("MORE = 1\n")
    second = get(take(environment, cache).taken.snapshot, "edited")
    assert isinstance(second.source, Editable)
    assert second.source.checkout
    assert (second.source.checkout.commit, second.source.checkout.untracked) == (commit, 1)
    assert second.source.checkout.diff
    assert second.record != first.record
    (project / "src" / "more.py").unlink()
    (project / "src" / "edited.py").write_text("VERSION = '0.2'\n")
    assert get(take(environment, cache).taken.snapshot, "edited") == first
    assert sorted(path.relative_to(project) for path in project.rglob("*")) == before


def test_a_working_copy_without_version_control_is_kept_too(
    environment: TestEnvironment, cache: Path, tmp_path: Path
) -> None:
    install_editable(environment, make_project(tmp_path / "edited", "edited", "0.2"))
    found = get(take(environment, cache).taken.snapshot, "edited")
    assert isinstance(found.source, Editable)
    assert found.source.checkout
    assert (found.source.checkout.commit, found.kept) == (None, True)


def test_a_working_copy_that_cannot_be_built_is_said_and_the_rest_is_locked(
    environment: TestEnvironment, cache: Path, tmp_path: Path
) -> None:
    project = make_project(tmp_path / "edited", "edited", "0.2")
    install_editable(environment, project)
    (project / "backend.py").write_text("raise SystemExit('no compiler')")
    outcome = take(environment, cache)
    assert outcome.taken.snapshot.count() == {"hashed": 2, "not-restorable": 1}
    assert any("`edited` cannot be kept, and not be restored" in note for note in outcome.notes)


def test_a_credential_in_a_git_remote_does_not_reach_the_lock(
    environment: TestEnvironment, cache: Path, tmp_path: Path
) -> None:
    project = make_project(tmp_path / "edited", "edited", "0.2")
    commit_all(project)
    remote = "https://me:s3cret@example.org/edited.git"
    subprocess.run(["git", "-C", str(project), "remote", "add", "origin", remote], check=True)
    install_editable(environment, project)
    text = format_snapshot(take(environment, cache).taken.snapshot)
    assert '"url": "https://example.org/edited.git"' in text
    assert "s3cret" not in text


def test_an_altered_distribution_is_kept_as_it_is_and_status_is_content_afterwards(
    environment: TestEnvironment, cli: Cli, cache: Path
) -> None:
    module = environment.site / "beta.py"
    module.unlink()
    module.write_text("VERSION = 'mine'\n")
    said = cli("snapshot", "--python", environment.python)
    assert "`beta` was changed after it was installed: beta.py" in said.stderr
    cli("status", "--python", environment.python)
    done = cli("restore", "--", "python", "-c", "import beta; print(beta.VERSION)")
    assert done.stdout == "mine\n"


def test_an_edit_in_place_is_found_after_a_snapshot_that_was_a_look_up(environment: TestEnvironment, cli: Cli) -> None:
    module = environment.site / "beta.py"
    content = module.read_bytes()
    module.unlink()
    module.write_bytes(content)
    cli("snapshot", "--python", environment.python)
    assert "up to date" in cli("snapshot", "--python", environment.python).stdout
    with module.open("r+b") as file:
        file.write(content[:-2] + b"9\n")  # in place, of the same size
    assert "up to date" not in cli("snapshot", "--python", environment.python).stdout
    said = cli("snapshot", "--deep", "--python", environment.python)
    assert "`beta` was changed after it was installed: beta.py" in said.stderr


@pytest.mark.parametrize("deed", ["install", "pth", "direct_url", "lock", "index"])
def test_whatever_a_snapshot_depends_on_ends_the_look_up(
    deed: str, environment: TestEnvironment, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("snapshot", "--python", environment.python)
    cli("snapshot", "--python", environment.python)
    assert "up to date" in cli("snapshot", "--python", environment.python).stdout
    if deed == "install":
        environment.install("gamma-ray==0.5")
    elif deed == "pth":
        (environment.site / "more.pth").write_text("/nonexistent\n")
    elif deed == "direct_url":
        content = {"url": "https://example.org/beta-2.0.tar.gz", "archive_info": {}}
        (environment.site / "beta-2.0.dist-info" / "direct_url.json").write_text(json.dumps(content))
    elif deed == "lock":
        Path("requirements-lock.txt").write_text(Path("requirements-lock.txt").read_text() + "\n")
    else:
        monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "http://127.0.0.1:9/simple")
    assert "up to date" not in cli("snapshot", "--python", environment.python).stdout


def test_an_archive_that_names_no_hash_is_hashed_and_an_sdist_of_one_is_kept(
    environment: TestEnvironment, index: LocalIndex, cache: Path, tmp_path: Path
) -> None:
    (index.root / "files").mkdir()
    wheel = make_wheel(index.root / "files", "remote", "0.4")
    sdist = index.add_sdist(make_project(tmp_path / "sdist", "built", "0.3"), "built", "0.3")
    environment.install(f"http://{index.host}/files/{wheel.name}")
    environment.install(f"http://{index.host}/simple/built/{sdist.name}")
    snapshot = take(environment, cache).taken.snapshot
    remote, built = get(snapshot, "remote"), get(snapshot, "built")
    assert remote.source == Archive(url=f"http://{index.host}/files/{wheel.name}")
    assert (remote.hashes, remote.proof, remote.kept) == ((sha256_of(wheel),), Proof.PROVED, False)
    assert isinstance(built.source, Archive)
    assert built.kept


def test_a_local_label_keeps_its_index_and_a_file_on_this_machine_its_wheel(
    environment: TestEnvironment, index: LocalIndex, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other-index"
    other.mkdir()
    second = LocalIndex(other)
    second.add("torchlike", "2.0+cpu")
    links = tmp_path / "links"
    links.mkdir()
    make_wheel(links, "linked", "1.0+local")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", second.url)
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    environment.install("--extra-index-url", second.url, "--find-links", str(links), "torchlike", "linked")
    snapshot = take(environment, cache).taken.snapshot
    second.close()
    torchlike, linked = get(snapshot, "torchlike"), get(snapshot, "linked")
    assert (torchlike.version, torchlike.source) == ("2.0+cpu", Index(url=second.url))
    assert (linked.version, linked.kept, linked.source) == ("1.0+local", True, Index())
    assert linked.proof in (Proof.IDENTIFIED, Proof.PROVED)
    assert str(links) not in format_snapshot(snapshot)


def test_packages_of_debian_are_listed_as_not_restorable(cache: Path) -> None:
    python = Path("/usr/bin/python3")
    if not Path("/usr/lib/python3/dist-packages").is_dir() or not python.exists():
        pytest.skip("there is no Debian Python with dist-packages on this machine")
    outcome = take_for(Machine.here(cache=str(cache)), str(python), path=cache / "none.txt")
    system = [each for each in outcome.taken.snapshot.distributions if each.source.kind == "system"]
    assert not [each.name for each in system if outcome.taken.snapshot.is_active(each)]


def test_packages_of_the_base_are_part_of_an_environment_that_sees_them(
    environment: TestEnvironment, index: LocalIndex, cache: Path, tmp_path: Path
) -> None:
    inner = tmp_path / "inner"
    subprocess.run([environment.python, "-m", "venv", "--without-pip", "--system-site-packages", inner], check=True)
    (next(inner.glob("lib/python*/site-packages")) / "base.pth").write_text(f"{environment.site}\n")
    inner_environment = TestEnvironment.__new__(TestEnvironment)
    inner_environment.path, inner_environment.python = inner, str(inner / "bin" / "python")
    inner_environment.install("beta==2.1")
    snapshot = take(inner_environment, cache).taken.snapshot
    assert get(snapshot, "beta").version == "2.1"
    assert get(snapshot, "alpha").version == "1.0"


def test_a_namespace_package_of_two_distributions_is_two_entries(
    environment: TestEnvironment, index: LocalIndex, cache: Path
) -> None:
    index.add("ns-a", "1.0", files={"shared/a.py": "A = 1\n"})
    index.add("ns-b", "1.0", files={"shared/b.py": "B = 1\n"})
    environment.install("ns-a", "ns-b")
    snapshot = take(environment, cache).taken.snapshot
    assert {get(snapshot, name).proof for name in ("ns-a", "ns-b")} == {Proof.IDENTIFIED}


def test_what_conda_has_installed_is_not_pinned_as_an_indexs(environment: TestEnvironment, cache: Path) -> None:
    (environment.site / "beta-2.0.dist-info" / "INSTALLER").write_text("conda\n")
    snapshot = take(environment, cache).taken.snapshot
    assert get(snapshot, "beta").source.kind == "system"
    assert snapshot.count() == {"hashed": 1, "not-restorable": 1}


def test_a_user_site_counts_where_the_interpreter_uses_it(
    index: LocalIndex, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    site = home / ".local" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    site.mkdir(parents=True)
    source = TestEnvironment(tmp_path / "source").install("gamma-ray==0.5")
    for name in ("gamma_ray.py", "gamma_ray-0.5.dist-info"):
        place = source.site / name
        (shutil.copytree if place.is_dir() else shutil.copyfile)(place, site / name)
    machine = Machine.here(cache=str(cache))
    report = look_here(machine, str(base))
    assert get(report, "gamma-ray").version == "0.5"
    monkeypatch.setenv("PYTHONNOUSERSITE", "1")
    assert "gamma-ray" not in {each.name for each in look_here(Machine.here(cache=str(cache)), str(base)).distributions}


def test_a_directory_install_notes_the_commit_it_lies_at(
    environment: TestEnvironment, cache: Path, tmp_path: Path
) -> None:
    project = make_project(tmp_path / "directory", "from_directory", "0.7")
    commit = commit_all(project)
    environment.install(str(project))
    found = get(take(environment, cache).taken.snapshot, "from-directory")
    assert isinstance(found.source, Directory)
    assert found.source.checkout
    assert found.source.checkout.commit == commit
    assert not isinstance(found.source, Vcs)
