"""Which file of an index is installed: identified, proved, or neither."""

from __future__ import annotations

import hashlib
import itertools
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Cli, LocalIndex, TestEnvironment, make_project, make_wheel
from servers import Answer, Request, serve, serve_directory

from repro.environments.machine import Machine
from repro.environments.snapshot import Outcome, take_for
from repro.formats.direct_url import Local
from repro.formats.lockfile import Distribution, Proof, format_snapshot
from repro.formats.simple_index import IndexFile
from repro.snapshots.index_client import IndexClient
from repro.snapshots.indexes import Indexes
from repro.snapshots.installed import Installed
from repro.snapshots.probe import Found
from repro.snapshots.prove import Verdict, judge_by_listing, prove_files, select_candidates
from repro.snapshots.work import Thoroughness

SHA256 = "ab" * 32
CP = f"cp{sys.version_info[0]}{sys.version_info[1]}"


def take(environment: TestEnvironment, cache: Path, **thoroughness: bool) -> Outcome:
    machine = Machine.here(cache=str(cache))
    return take_for(machine, environment.python, path=Path("none.txt"), thoroughness=Thoroughness(**thoroughness))


def get(outcome: Outcome, name: str) -> Distribution:
    return next(each for each in outcome.taken.snapshot.distributions if each.name == name)


def sha256_of(path: Path) -> str:
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def count_file_requests(index: LocalIndex) -> int:
    return sum(path.endswith((".whl", ".gz")) for path in index.paths)


def unpack(wheel: Path, site: Path) -> Installed:
    """Lay a wheel's files out as installed, and return what is installed."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    name, version = wheel.name.split("-")[:2]
    entry = f"{name}-{version}.dist-info"
    found = Found(name=name, version=version, site=str(site), entry=entry, requires=(), record="r", installer=None,
                  requested=False, direct_url=None)  # fmt: skip
    return Installed(found=found, record_text=(site / entry / "RECORD").read_text())


def make_installed(tmp_path: Path, *tags: str) -> Installed:
    installed = unpack(make_wheel(tmp_path, "x", "1.0"), tmp_path / "site")
    lines = "".join(f"Tag: {tag}\n" for tag in tags)
    (tmp_path / "site" / "x-1.0.dist-info" / "WHEEL").write_text(f"Wheel-Version: 1.0\n{lines}")
    return installed


def list_files(*names: str, **more: str) -> tuple[IndexFile, ...]:
    return tuple(IndexFile(filename=name, url=f"https://example.org/{name}", sha256=SHA256, **more) for name in names)


CP_LINUX = ("cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-manylinux2014_x86_64")
CANDIDATES: list[tuple[tuple[str, ...], list[str], list[str]]] = [
    (("py3-none-any",), ["x-1.0-py3-none-any.whl", "x-1.0.tar.gz"], ["x-1.0-py3-none-any.whl"]),
    (("py2-none-any", "py3-none-any"), ["x-1.0-py2.py3-none-any.whl"], ["x-1.0-py2.py3-none-any.whl"]),
    (("py3-none-any",), ["x-1.0-py2.py3-none-any.whl"], ["x-1.0-py2.py3-none-any.whl"]),
    (("py3-none-any",), ["x-1.0-py3-none-any.whl", "x-1.0-1-py3-none-any.whl", "x-1.0-py2.py3-none-any.whl"],
     ["x-1.0-py3-none-any.whl", "x-1.0-1-py3-none-any.whl"]),
    (CP_LINUX, ["x-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
                "x-1.0-cp311-abi3-manylinux_2_17_x86_64.whl", "x-1.0-cp311-cp311-manylinux_2_17_aarch64.whl"],
     ["x-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"]),
    (("cp311-cp311-linux_x86_64",),
     ["x-1.0-cp311-cp311-manylinux_2_28_x86_64.whl", "x-1.0-cp311-cp311-macosx_11_0_arm64.whl",
      "x-1.0-cp311-cp311-musllinux_1_1_x86_64.whl", "x-1.0-cp310-cp310-linux_x86_64.whl"],
     ["x-1.0-cp311-cp311-manylinux_2_28_x86_64.whl", "x-1.0-cp311-cp311-musllinux_1_1_x86_64.whl"]),
    ((), ["x-1.0-py3-none-any.whl"], []),
    (("nonsense", "a-b"), ["x-1.0-py3-none-any.whl"], []),
    (("py3-none-any",), ["x-1.0.tar.gz"], []),
]  # fmt: skip


@pytest.mark.parametrize(("tags", "names", "expected"), CANDIDATES)
def test_candidates_are_the_wheels_that_the_tags_allow(
    tags: tuple[str, ...], names: list[str], expected: list[str], tmp_path: Path
) -> None:
    found = select_candidates(make_installed(tmp_path, *tags), list_files(*names))
    assert [each.filename for each in found] == expected


def test_the_same_file_at_two_indexes_is_one_candidate_the_first_and_another_of_its_name_is_two(tmp_path: Path) -> None:
    (first,) = list_files("x-1.0-py3-none-any.whl", index="first")
    (second,) = list_files("x-1.0-py3-none-any.whl", index="second")
    other = IndexFile(filename=first.filename, url="https://example.org/other", sha256="cd" * 32, index="third")
    installed = make_installed(tmp_path, "py3-none-any")
    assert select_candidates(installed, (first, second)) == (first,)
    assert select_candidates(installed, (first, second, other)) == (first, other)


JUDGED: list[tuple[str, tuple[str, ...], list[str], dict[str, str], Proof | None]] = [
    ("one wheel", ("py3-none-any",), ["x-1.0-py3-none-any.whl"], {}, Proof.IDENTIFIED),
    ("of another version's name", ("py3-none-any",), [], {}, Proof.UNPROVEN),
    ("an sdist alone", ("py3-none-any",), ["x-1.0.tar.gz"], {}, Proof.UNPROVEN),
    ("a pure wheel and an sdist", ("py3-none-any",), ["x-1.0-py3-none-any.whl", "x-1.0.zip"], {}, None),
    ("both and METADATA", ("py3-none-any",), ["x-1.0-py3-none-any.whl", "x-1.0.zip"], {"metadata_sha256": "own"}, None),
    ("other METADATA", ("py3-none-any",), ["x-1.0-py3-none-any.whl"], {"metadata_sha256": "cd" * 32}, Proof.UNPROVEN),
    ("two wheels", ("py3-none-any",), ["x-1.0-py3-none-any.whl", "x-1.0-1-py3-none-any.whl"], {}, None),
    ("manylinux", ("cp311-cp311-manylinux1_x86_64",),
     ["x-1.0-cp311-cp311-manylinux1_x86_64.whl", "x-1.0.zip"], {}, Proof.IDENTIFIED),
    ("musllinux", ("cp311-cp311-musllinux_1_1_x86_64",),
     ["x-1.0-cp311-cp311-musllinux_1_1_x86_64.whl", "x-1.0.zip"], {}, Proof.IDENTIFIED),
    ("linux", ("cp311-cp311-linux_x86_64",), ["x-1.0-cp311-cp311-linux_x86_64.whl", "x-1.0.zip"], {}, None),
    ("linux alone", ("cp311-cp311-linux_x86_64",), ["x-1.0-cp311-cp311-linux_x86_64.whl"], {}, Proof.IDENTIFIED),
    ("alike", ("cp311-cp311-linux_x86_64",), ["x-1.0-cp311-cp311-manylinux1_x86_64.whl"], {}, None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("tags", "names", "more", "expected"), [case[1:] for case in JUDGED], ids=[c[0] for c in JUDGED]
)
def test_a_listing_identifies_only_what_could_be_no_other(
    tags: tuple[str, ...], names: list[str], more: dict[str, str], expected: Proof | None, tmp_path: Path
) -> None:
    installed = make_installed(tmp_path, *tags)
    more = {key: installed.metadata_sha256 or "" if value == "own" else value for key, value in more.items()}
    verdict = judge_by_listing(installed, list_files(*names, **more))
    assert (verdict.proof if isinstance(verdict, Verdict) else None) == expected


def test_the_hash_of_the_installed_file_comes_first(tmp_path: Path) -> None:
    files = [IndexFile(filename=f"x-{n}.zip", url="", sha256=sha) for n, sha in enumerate(("c", "a", "b", "a", None))]
    assert Verdict(proof=Proof.PROVED, file=files[2], others=tuple(files)).hashes == (
        "sha256:b",
        "sha256:a",
        "sha256:c",
    )
    assert Verdict(proof=Proof.UNPROVEN, others=tuple(files)).hashes == ("sha256:a", "sha256:b", "sha256:c")


def test_one_wheel_is_identified_without_reading_it_and_proved_on_request(
    environment: TestEnvironment, index: LocalIndex, cache: Path
) -> None:
    outcome = take(environment, cache)
    assert [each.proof for each in outcome.taken.snapshot.distributions] == [Proof.IDENTIFIED] * 2
    assert count_file_requests(index) == count_downloads(index)
    before = len(index.paths)
    outcome = take(environment, cache, prove=True)
    assert [each.proof for each in outcome.taken.snapshot.distributions] == [Proof.PROVED] * 2
    assert len(index.paths) - before == 4  # a page and an end of a wheel for each
    assert get(outcome, "alpha").file == "alpha-1.0-py3-none-any.whl"
    before = len(index.paths)
    take(environment, cache, prove=True)
    assert len(index.paths) == before


def count_downloads(index: LocalIndex) -> int:
    """Return how many files the fixture's own installation has asked for."""
    first_page_of_ours = len(index.paths) - 2
    return sum(path.endswith(".whl") for path in index.paths[:first_page_of_ours])


@pytest.mark.parametrize("json", [True, False])
@pytest.mark.parametrize("has_ranges", [True, False])
def test_of_several_wheels_the_one_with_the_same_record_is_proved(
    json: bool, has_ranges: bool, environment: TestEnvironment, index: LocalIndex, cache: Path
) -> None:
    index.json, index.ranges = json, has_ranges
    wheels = [
        index.add("delta", "1.0", files={"delta_build.py": f"BUILD = {build!r}\n"}, build=build)
        for build in ("", "1", "2abc")
    ]
    abi3 = index.add("epsilon", "1.0", files={"epsilon_abi3.py": ""}, tag=f"{CP}-abi3-manylinux_2_17_x86_64")
    index.add("epsilon", "1.0", files={"epsilon_own.py": ""}, tag=f"{CP}-{CP}-manylinux_2_17_x86_64")
    environment.install(str(wheels[1]), str(abi3))
    for info in environment.site.glob("*.dist-info/direct_url.json"):
        info.unlink()
    outcome = take(environment, cache)
    delta, epsilon = get(outcome, "delta"), get(outcome, "epsilon")
    assert (delta.proof, delta.file, delta.hashes[0]) == (Proof.PROVED, wheels[1].name, sha256_of(wheels[1]))
    assert sorted(delta.hashes) == sorted(map(sha256_of, wheels))
    assert (epsilon.proof, epsilon.file) == (Proof.IDENTIFIED, abi3.name)
    assert get(take(environment, cache, prove=True), "epsilon").proof == Proof.PROVED


def test_a_wheel_that_was_renamed_after_it_was_built_is_proved_by_its_record(
    environment: TestEnvironment, index: LocalIndex, cache: Path
) -> None:
    wheel = index.add("delta", "1.0", tag=f"{CP}-{CP}-linux_x86_64")
    renamed = wheel.rename(wheel.with_name(f"delta-1.0-{CP}-{CP}-manylinux_2_17_x86_64.whl"))
    environment.install("delta==1.0")
    delta = get(take(environment, cache), "delta")
    assert (delta.proof, delta.file) == (Proof.PROVED, renamed.name)


SETTINGS = list(itertools.product([False, True], repeat=4))


def test_what_was_built_here_or_edited_is_never_identified_nor_proved(
    environment: TestEnvironment, index: LocalIndex, tmp_path: Path
) -> None:
    index.add_sdist(make_project(tmp_path / "built", "built", "0.3"), "built", "0.3")
    index.add("built", "0.3")  # the same tags, and the same METADATA
    environment.install("--no-binary", "built", "built==0.3")
    module = environment.site / "beta.py"
    content = module.read_text()
    module.unlink()
    module.write_text(content + "# edited by hand\n")
    for number, (prove, index.json, index.ranges, index.has_metadata) in enumerate(SETTINGS):
        outcome = take(environment, tmp_path / f"cache{number}", prove=prove)
        built, edited = get(outcome, "built"), get(outcome, "beta")
        assert (built.proof, edited.proof) == (Proof.UNPROVEN, Proof.UNPROVEN)
        assert isinstance(built.source, Local)
        assert built.reason == "no wheel of this version on any index that was asked has these files"
        assert get(outcome, "alpha").proof is (Proof.PROVED if prove else Proof.IDENTIFIED)


def test_the_wheel_beside_an_sdist_is_proved(environment: TestEnvironment, index: LocalIndex, tmp_path: Path) -> None:
    sdist = index.add_sdist(make_project(tmp_path / "alpha", "alpha", "1.0"), "alpha", "1.0")
    for number, (_, index.json, index.ranges, index.has_metadata) in enumerate(SETTINGS[:8]):
        alpha = get(take(environment, tmp_path / f"cache{number}"), "alpha")
        assert alpha.proof is Proof.PROVED
        assert alpha.hashes[1] == sha256_of(sdist)


def test_other_metadata_rules_a_wheel_out_without_reading_it(
    environment: TestEnvironment, index: LocalIndex, cache: Path
) -> None:
    index.has_metadata = True
    index.add("alpha", "1.0", requires=("other",))
    before = count_file_requests(index)
    alpha = get(take(environment, cache), "alpha")
    assert (alpha.proof, alpha.reason) == (
        Proof.UNPROVEN,
        "`alpha-1.0-py3-none-any.whl` of the index has other metadata",
    )
    assert count_file_requests(index) == before


@pytest.mark.parametrize("json", [True, False])
def test_yanked_files_are_warned_about(json: bool, environment: TestEnvironment, index: LocalIndex, cli: Cli) -> None:
    index.json = json
    index.yanked = {"alpha-1.0-py3-none-any.whl": "it is \x1b[31mbad", "beta-2.0-py3-none-any.whl": ""}
    done = cli("snapshot", ".", "--python", environment.python)
    assert "warning: `alpha-1.0-py3-none-any.whl` was yanked from its index: it is [31mbad\n" in done.stderr
    assert "warning: `beta-2.0-py3-none-any.whl` was yanked from its index\n" in done.stderr
    assert "warning: `alpha-1.0" in cli("snapshot", ".", "--python", environment.python).stderr  # it is said again


@pytest.mark.parametrize(
    ("installed", "listed"),
    [
        ("1.0", "1.0.0"),
        ("1.0.0", "1.0"),
        ("2024.1", "2024.01"),
        ("2.0+cpu", "2.0+cpu"),
        ("2.0+ubuntu.1", "2.0+ubuntu_1"),
    ],
)
@pytest.mark.parametrize("json", [True, False])
def test_a_version_is_found_however_the_file_spells_it(
    installed: str,
    listed: str,
    json: bool,
    environment: TestEnvironment,
    index: LocalIndex,
    cache: Path,
    tmp_path: Path,
) -> None:
    index.json = json
    wheel = make_wheel(tmp_path, "delta", installed)
    environment.install(str(wheel))
    (environment.site / f"delta-{installed}.dist-info" / "direct_url.json").unlink()
    project = index.root / "simple" / "delta"
    project.mkdir()
    wheel.rename(project / f"delta-{listed}-py3-none-any.whl")
    for other in ("9.0", f"{installed.partition('+')[0]}.1", "1.5", "2.0+other"):
        index.add("delta", other)
    delta = get(take(environment, cache, prove=True), "delta")
    assert (delta.version, delta.file, delta.proof) == (installed, f"delta-{listed}-py3-none-any.whl", Proof.PROVED)


@pytest.mark.parametrize("as_url", [True, False])
def test_a_wheel_of_a_local_place_is_proved_kept_and_its_path_is_in_no_lock(
    as_url: bool,
    environment: TestEnvironment,
    index: LocalIndex,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    links, mirror = tmp_path / "links", tmp_path / "mirror"
    links.mkdir()
    (mirror / "delta").mkdir(parents=True)
    linked = make_wheel(links, "gamma-ray", "0.9")
    mirrored = make_wheel(mirror / "delta", "delta", "1.0")
    (links / "gamma_ray-0.9-1-py3-none-any.whl").write_bytes(b"no wheel")
    environment.install(str(linked), str(mirrored))
    for info in environment.site.glob("*.dist-info/direct_url.json"):
        info.unlink()
    monkeypatch.setenv("PIP_FIND_LINKS", links.as_uri() if as_url else str(links))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", mirror.as_uri() if as_url else str(mirror))
    outcome = take(environment, cache)
    for name, wheel in (("gamma-ray", linked), ("delta", mirrored)):
        each = get(outcome, name)
        assert (each.proof, each.file, each.kept, each.hashes) == (Proof.PROVED, wheel.name, True, (sha256_of(wheel),))
    assert str(tmp_path) not in format_snapshot(outcome.taken.snapshot)


def test_a_remote_file_that_a_local_page_lists_is_found_and_no_path_is_in_the_lock(
    environment: TestEnvironment, index: LocalIndex, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mirror" / "beta").mkdir(parents=True)
    link = f'<a href="{index.url}beta/beta-2.0-py3-none-any.whl">x</a>'
    (tmp_path / "mirror" / "beta" / "index.html").write_text(link)
    (index.root / "simple" / "beta").rename(index.root / "beta")
    (index.root / "simple" / "moved").mkdir()
    link = link.replace("/simple/beta/", "/beta/")
    (tmp_path / "mirror" / "beta" / "index.html").write_text(link)
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", (tmp_path / "mirror").as_uri())
    outcome = take(environment, cache)
    assert get(outcome, "beta").proof is Proof.PROVED
    assert str(tmp_path) not in format_snapshot(outcome.taken.snapshot)


@pytest.mark.parametrize("engine", ["uv", "pip"])
def test_an_identified_file_that_is_another_is_found_at_restore(
    engine: str, environment: TestEnvironment, index: LocalIndex, cli: Cli
) -> None:
    index.add("alpha", "1.0", requires=("beta>=1",), files={"alpha_more.py": "another build\n"})
    cli("snapshot", ".", "--python", environment.python)
    done = cli("restore", ".", "--engine", engine, code=4)
    (line,) = (line for line in done.stderr.splitlines() if "~ alpha" in line)
    assert line.count("sha256:") == 2
    assert "(identified)" in line
    assert (
        "hint: the file was identified by name and tags alone: take the lock again with `repro snapshot --prove`"
        in done.stderr
    )
    cli("snapshot", ".", "--python", environment.python, "--prove")
    lock = Path("requirements-lock.txt").read_text()
    assert '"proof":"unproven"' in lock.replace(" ", "")
    cli("restore", ".", "--engine", engine)


def prove_one(installed: Installed, script: Callable[[Request], Answer], *, must_prove: bool = True) -> Verdict:
    with serve(script) as server, IndexClient(Indexes(retries=0), environ={}) as client:
        file = IndexFile(filename="x-1.0-py3-none-any.whl", url=f"http://{server.host}/x-1.0-py3-none-any.whl")
        return prove_files(client, {"x": installed}, {"x": (file,)}, must_prove=must_prove)["x"]


def damage(wheel: Path, how: str) -> None:
    if how == "garbage":
        wheel.write_bytes(b"PK\x05\x06" + b"\xff" * 5000)
    elif how == "empty":
        wheel.write_bytes(b"")
    elif how == "cut":
        wheel.write_bytes(wheel.read_bytes()[:-30])
    elif how == "flipped":
        content = wheel.read_bytes()
        wheel.write_bytes(content.replace(b"x-1.0.dist-info/RECORD", b"y-1.0.dist-info/RECORD", 1))
    else:
        with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
            if how == "bomb":
                archive.writestr("x-1.0.dist-info/RECORD", b"\n" * (80 << 20))
            elif how == "long line":
                archive.writestr("x-1.0.dist-info/RECORD", '"' + "x" * 200_000 + '",,\n')
            elif how == "no text":
                archive.writestr("x-1.0.dist-info/RECORD", b"\xff\x00\n" * 9)


@pytest.mark.parametrize("how", ["garbage", "empty", "cut", "flipped", "bomb", "no record", "long line", "no text"])
@pytest.mark.parametrize("has_ranges", [True, False])
def test_a_file_that_is_no_wheel_proves_nothing(how: str, has_ranges: bool, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "x", "1.0")
    installed = unpack(wheel, tmp_path / "site")
    damage(wheel, how)
    script = serve_directory(tmp_path)
    verdict = prove_one(
        installed, script if has_ranges else lambda request: script(Request(path=request.path, headers={}))
    )
    assert (verdict.proof, verdict.file) == (Proof.UNPROVEN, None)
    assert verdict.reason is not None
    assert "\n" not in verdict.reason


def test_a_file_without_a_hash_is_read_for_it(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "x", "1.0")
    verdict = prove_one(unpack(wheel, tmp_path / "site"), serve_directory(tmp_path), must_prove=False)
    assert (verdict.proof, verdict.hashes) == (Proof.PROVED, (sha256_of(wheel),))


def test_a_file_that_is_gone_is_unproven_and_asked_for_again(
    environment: TestEnvironment, index: LocalIndex, cache: Path
) -> None:
    page = index.format_page
    index.add("alpha", "1.0", build="1")
    index.format_page = lambda project: (  # type: ignore[method-assign]
        page(project)[0].replace(b'href="alpha-1.0-', b'href="/gone/alpha-1.0-'), "text/html"
    )  # fmt: skip
    alpha = get(take(environment, cache), "alpha")
    assert alpha.proof is Proof.UNPROVEN
    assert "cannot be read (HTTP 404)" in (alpha.reason or "")
    index.format_page = page  # type: ignore[method-assign]
    assert get(take(environment, cache), "alpha").proof is Proof.PROVED


def test_a_server_that_fails_between_page_and_file_makes_nothing_local(
    environment: TestEnvironment, index: LocalIndex, cache: Path
) -> None:
    index.add("alpha", "1.0", build="1")
    page = index.format_page

    def fail_after(project: Path) -> tuple[bytes, str]:
        if project.name == "beta":
            index.failures = 1
        return page(project)

    index.format_page = fail_after  # type: ignore[method-assign]
    outcome = take(environment, cache)
    assert outcome.taken.snapshot.count() == {"plain": 2}
    assert any("HTTP 503" in note and "plain pins only" in note for note in outcome.notes)


def test_what_is_told_of_an_archive_by_its_url_is_proved_there(
    environment: TestEnvironment, index: LocalIndex, cache: Path
) -> None:
    files = index.root / "files"
    files.mkdir()
    wheel = make_wheel(files, "delta", "1.0")
    environment.install(f"http://{index.host}/files/{wheel.name}")
    info = environment.site / "delta-1.0.dist-info" / "direct_url.json"
    assert get(take(environment, cache, prove=True), "delta").proof is Proof.PROVED
    for url in ("/etc/x-1.0-py3-none-any.whl", f"http://{index.host}/x.whl", "ftp://example.org/x-1-py3-none-any.whl",
                "http://[/x-1.0-py3-none-any.whl"):  # fmt: skip
        info.unlink()
        info.write_text(f'{{"url": "{url}", "archive_info": {{}}}}')
        assert get(take(environment, cache, prove=True, refresh=True), "delta").proof in (Proof.UNPROVEN, None)
