"""Choose versions with the pip that an interpreter brings, where it is old enough to read what newer tools refuse.

pip before 24.1 takes specifiers that PEP 440 does not know, such as `pytz (>=2011k)` of pandas before 1.0.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import parse_sdist_filename, parse_wheel_filename

from repro.errors import ReproError
from repro.formats.compiled import Compiled
from repro.formats.lockfile import canonicalize_name
from repro.process import Runner
from repro.snapshots.choose import Question, explain_failure, write_question

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


@dataclass(frozen=True, slots=True, kw_only=True)
class OldPipResolver:
    """The wheel `pip` in the interpreter `python`: a report where it writes one, else the files it downloads.

    It knows no `before`.
    """

    name: str
    pip: str
    reports: bool
    python: str
    runner: Runner
    env: Mapping[str, str]

    def resolve(self, question: Question) -> tuple[Compiled, ...]:
        """See Resolver."""
        if not self.reports and any(" @ " in each.text for each in question.required):
            raise ReproError(f"{self.name} cannot say what a URL leads to", hint="name a release instead")
        with write_question(question) as (directory, (requirements, *constraints)):
            args = [self.python, "-s", f"{self.pip}/pip"]
            if self.reports:
                args += ["install", "--dry-run", "--ignore-installed", "--report", "report.json"]
            else:
                args += ["download", "--dest", "files"]
            args += ["--quiet", "--disable-pip-version-check", "-r", requirements, *constraints]
            args += ["--pre"] if question.prereleases else []
            finished = self.runner.capture(args, env=self.env, cwd=directory)
            if finished.returncode:
                raise explain_failure(finished, self.name)
            if self.reports:
                return parse_report(Path(directory, "report.json").read_text(encoding="utf-8"))
            return name_files(os.listdir(os.path.join(directory, "files")), question)


def _list_wheels(names: Sequence[str]) -> list[tuple[tuple[int, int], str]]:
    found = ((match, name) for name in names if (match := _WHEEL.fullmatch(name)))
    return sorted(((int(match[1]), int(match[2])), name) for match, name in found)


def find_old_pip(python: str, *, runner: Runner, env: Mapping[str, str], cache_dir: str) -> OldPipResolver | None:
    """Return the newest pip below 24.1 that an interpreter brings with `ensurepip`, None where it brings none."""
    finished = runner.capture([python, "-I", "-c", _LIST_BUNDLED], env=env, brief=True)
    directory = finished.stdout.strip()
    try:
        wheels = _list_wheels(os.listdir(directory)) if not finished.returncode and directory else []
    except OSError:
        return None
    fitting = [(version, name) for version, name in wheels if version < _TOO_NEW]
    if not fitting:
        return None
    (major, minor), name = fitting[-1]
    env = {**env, "PIP_CACHE_DIR": cache_dir}
    return OldPipResolver(
        name=f"pip {major}.{minor}",
        pip=os.path.join(directory, name),
        reports=(major, minor) >= _REPORTS,
        python=python,
        runner=runner,
        env=env,
    )
