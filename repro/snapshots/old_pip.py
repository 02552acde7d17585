"""Choose versions with the pip that an interpreter brings, where it is old enough to read what newer tools refuse.

pip before 24.1 takes specifiers that PEP 440 does not know, such as `pytz (>=2011k)` of pandas before 1.0.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from packaging.utils import parse_sdist_filename, parse_wheel_filename

from repro.errors import ReproError
from repro.files import make_directory, remove_tree
from repro.formats.compiled import Compiled
from repro.formats.lockfile import canonicalize_name
from repro.process import Finished, Runner
from repro.settings import name_build_path
from repro.snapshots.choose import Question, explain_failure, write_question
from repro.snapshots.setup_needs import ask_with_needs
from repro.values import frozen

_REPORTS, _TOO_NEW = (22, 2), (24, 1)  # the first that writes a report; the first that refuses old metadata
_LIST_BUNDLED = "import ensurepip, os; print(os.path.join(os.path.dirname(ensurepip.__file__), '_bundled'))"
_WHEEL = re.compile(r"pip-(\d+)\.(\d+)[\d.]*-(?:py2\.)?py3-none-any\.whl")
_SDIST = re.compile(r"\.(zip|tgz|tar\.bz2|tar\.xz)$")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def _read_requires(metadata: Mapping[str, object]) -> set[str]:
    """Return the canonical names of what a distribution requires; the rest of its lines is what nobody can read."""
    lines = metadata.get("requires_dist")
    found = (_NAME.match(str(line)) for line in (lines if isinstance(lines, list) else ()))
    return {canonicalize_name(match[0]) for match in found if match}


def parse_report(text: str) -> tuple[Compiled, ...]:
    """Return the pins of pip's installation report, sorted by name (pip's documentation, "Installation Report")."""
    items = json.loads(text)["install"]
    requires = {canonicalize_name(item["metadata"]["name"]): _read_requires(item["metadata"]) for item in items}
    pins = []
    for item in items:
        name = canonicalize_name(item["metadata"]["name"])
        info = item["download_info"]
        vcs = info.get("vcs_info")
        url = f"{vcs['vcs']}+{info['url']}@{vcs['commit_id']}" if vcs else info["url"]
        pins.append(
            Compiled(
                name=name,
                version=item["metadata"]["version"],
                url=url if item["is_direct"] else None,
                via=tuple(sorted(other for other, names in requires.items() if name in names and other != name)),
                requested=bool(item["requested"]),
            )
        )
    return tuple(sorted(pins, key=lambda each: each.name))


def name_files(names: Iterable[str], question: Question) -> tuple[Compiled, ...]:
    """Return the pins of downloaded files, sorted by name: what requires what, they do not say."""
    requested = {each.name for each in question.required}
    found = {}
    for file in names:
        if file.endswith(".whl"):
            name, version, _, _ = parse_wheel_filename(file)
        else:
            name, version = parse_sdist_filename(_SDIST.sub(".tar.gz", file))
        found[canonicalize_name(name)] = str(version)
    return tuple(
        Compiled(name=name, version=version, url=None, via=(), requested=name in requested)
        for name, version in sorted(found.items())
    )


@frozen
class OldPipResolver:
    """The pip in the directory `pip`, run by `python`: a report where it writes one, else the files it downloads.

    It knows no `before`: its environment names an index that does.
    """

    name: str
    pip: str
    reports: bool
    python: str
    runner: Runner
    env: Mapping[str, str]

    def _ask(self, deed: str, *args: str, env: Mapping[str, str], directory: str) -> Finished:
        command = [self.python, "-s", f"{self.pip}/pip", deed, "--quiet", "--disable-pip-version-check", *args]
        return self.runner.capture(command, env=env, cwd=directory)

    def _list_options(self, needs: tuple[str, ...]) -> list[str]:
        """Return what lets builds see more than they declare: the oldest pip lets a setup.py see all there is."""
        return ["--no-build-isolation"] if needs and self.reports else []

    def _provide(self, needs: tuple[str, ...], constraints: Sequence[str], directory: str) -> dict[str, str] | None:
        """Install what a setup.py imports, and what builds, and return an environment in which it finds them."""
        place = os.path.join(directory, f"needs-{len(needs)}")
        args = ("--target", place, *constraints, "setuptools", "wheel", *needs)
        finished = self._ask("install", *args, env=self.env, directory=directory)
        return None if finished.returncode else name_build_path(self.env, place)

    def resolve(self, question: Question) -> tuple[Compiled, ...]:
        """See Resolver."""
        if not self.reports and any(" @ " in each.text for each in question.required):
            raise ReproError(f"{self.name} cannot say what a URL leads to", hint="name a release instead")
        with write_question(question) as (directory, (requirements, *constraints)):
            args = ["-r", requirements, *constraints, *(["--pre"] if question.prereleases else [])]
            if self.reports:
                args += ["--dry-run", "--ignore-installed", "--report", "report.json"]
            else:
                args += ["--dest", "files"]
            deed = "install" if self.reports else "download"
            finished = ask_with_needs(
                lambda env, needs: self._ask(deed, *args, *self._list_options(needs), env=env, directory=directory),
                lambda needs: self._provide(needs, constraints, directory),
                env=self.env,
                known=question.asked,
            )
            if finished.returncode:
                raise explain_failure(finished, self.name)
            if self.reports:
                return parse_report(Path(directory, "report.json").read_text(encoding="utf-8"))
            return name_files(os.listdir(os.path.join(directory, "files")), question)


@frozen
class _Wheel:
    """A pip: its version and its path."""

    version: tuple[int, int]
    path: str


def _find_newest(directory: str) -> _Wheel | None:
    """Return the newest pip in a directory that takes old metadata."""
    try:
        found = [(match, name) for name in os.listdir(directory) if (match := _WHEEL.fullmatch(name))]
    except OSError:
        return None
    wheels = [
        _Wheel(version=(int(match[1]), int(match[2])), path=os.path.join(directory, name)) for match, name in found
    ]
    return max((each for each in wheels if each.version < _TOO_NEW), key=lambda each: each.version, default=None)


def _fetch_newer(bundled: _Wheel, python: str, *, runner: Runner, env: Mapping[str, str], directory: str) -> _Wheel:
    """Return the newest pip that an index has for the interpreter and that runs in it, else the one it brings.

    One of before 22.2 knows nothing of files that were yanked.
    """
    args = [python, "-s", f"{bundled.path}/pip", "download", "--quiet", "--disable-pip-version-check"]
    args += ["--no-deps", "--only-binary", ":all:", "--dest", directory, f"pip<{'.'.join(map(str, _TOO_NEW))}"]
    if runner.capture(args, env=env).returncode:
        return bundled
    newer = _find_newest(directory)
    runs = newer and runner.capture([python, "-s", f"{newer.path}/pip", "--version"], env=env).returncode == 0
    return newer if newer and runs else bundled


def _unpack(wheel: _Wheel, directory: str) -> str:
    """Return the directory a pip is unpacked in, once: from a zip it builds nothing that has a pyproject.toml."""
    place = os.path.join(directory, os.path.basename(wheel.path).removesuffix(".whl"))
    if not os.path.isdir(place):
        make_directory(directory)
        draft = tempfile.mkdtemp(prefix="unpacking-", dir=directory)
        with zipfile.ZipFile(wheel.path) as archive:
            archive.extractall(draft)
        try:
            os.rename(draft, place)
        except OSError:  # another process was faster
            remove_tree(draft)
    return place


def find_old_pip(python: str, *, runner: Runner, env: Mapping[str, str], caches_dir: str) -> OldPipResolver | None:
    """Return the newest pip below 24.1 that an interpreter brings with `ensurepip`, None where it brings none.

    Where that one is too old to write a report, an index is asked for a newer one.
    """
    finished = runner.capture([python, "-I", "-c", _LIST_BUNDLED], env=env, brief=True)
    wheel = _find_newest(finished.stdout.strip()) if not finished.returncode else None
    if wheel is None:
        return None
    env = {**env, "PIP_CACHE_DIR": os.path.join(caches_dir, "pip")}
    directory = os.path.join(caches_dir, "pip", f"old-{os.path.basename(os.path.realpath(python))}")
    if wheel.version < _REPORTS:
        wheel = _fetch_newer(wheel, python, runner=runner, env=env, directory=directory)
    return OldPipResolver(
        name=f"pip {wheel.version[0]}.{wheel.version[1]}",
        pip=_unpack(wheel, directory),
        reports=wheel.version >= _REPORTS,
        python=python,
        runner=runner,
        env=env,
    )
