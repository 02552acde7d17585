"""A loose requirements file: requirements, constraints and options that a resolver turns into pins.

Follows pip's "Requirements File Format". Local paths are refused: they mean nothing on another machine.
"""

from __future__ import annotations

import re
import shlex
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from repro.formats.lockfile import canonicalize_name
from repro.formats.redaction import redact
from repro.formats.requirements import join_continued
from repro.formats.wanted import Include, Option, Place, Required, Wanted
from repro.values import field, mutable

_LONG_NAMES = {
    "-r": "--requirement", "-c": "--constraint", "-e": "--editable", "-i": "--index-url", "-f": "--find-links",
    "--pypi-url": "--index-url",
}  # fmt: skip
_WITH_VALUE = frozenset(
    {
        "--requirement", "--constraint", "--editable", "--index-url", "--extra-index-url", "--find-links",
        "--no-binary", "--only-binary", "--trusted-host",
    }
)  # fmt: skip
_FLAGS = frozenset({"--no-index", "--pre", "--prefer-binary", "--require-hashes"})
_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_NAMES = re.compile(r":all:|:none:|[A-Za-z0-9._-]+(,[A-Za-z0-9._-]+)*")
_VARIABLE = re.compile(r"\$\{[A-Z0-9_]+\}")
_VCS = ("git+", "hg+", "svn+", "bzr+")
_ARCHIVES = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz")


@mutable
class _Draft:
    required: list[Required] = field(default_factory=list)
    includes: list[Include] = field(default_factory=list)
    options: list[Option] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def _is_local(target: str) -> bool:
    if "://" in target or target.startswith(("file:", "git@")):
        return target.startswith(("file:", *(f"{vcs}file:" for vcs in _VCS)))
    return target.startswith((".", "/", "~")) or "/" in target or "\\" in target or target.endswith(_ARCHIVES)


def _refuse_local(target: str) -> ValueError:
    return ValueError(
        f"`{redact(target)}` is a local path, which means nothing on another machine: "
        "name a release, a URL, or a commit of its repository"
    )


def _name_url(url: str) -> str:
    """Return a bare URL as a requirement, its name taken from `#egg=` or a wheel's file name (pip's own rule)."""
    target, _, fragment = url.partition("#")
    facts = [fact for fact in fragment.split("&") if fact]
    eggs = [fact.removeprefix("egg=") for fact in facts if fact.startswith("egg=")]
    others = "&".join(fact for fact in facts if not fact.startswith("egg="))
    if eggs:
        return f"{eggs[0]} @ {target}" + (f"#{others}" if others else "")
    try:
        return f"{parse_wheel_filename(target.partition('?')[0].rpartition('/')[2])[0]} @ {url}"
    except InvalidWheelFilename:
        raise ValueError(f"`{redact(url)}` has no name: write `NAME @ {redact(url)}`") from None


def _check_url(url: str) -> None:
    if _is_local(url):
        raise _refuse_local(url)
    parts = urlsplit(url)
    if not parts.netloc:
        raise ValueError(f"`{redact(url)}` is not a URL")
    if variable := _VARIABLE.search("".join((parts.netloc.rpartition("@")[2], parts.path, parts.fragment))):
        raise ValueError(
            f"`{redact(url)}` has `{variable[0]}` outside user and password, where its value would stand in the lock"
        )


def parse_requirement(text: str, *, place: Place, hashes: tuple[str, ...] = ()) -> Required:
    """Return one requirement (PEP 508, or pip's bare URL). Raises ValueError, which says what is wrong with it."""
    if not text.isprintable():
        raise ValueError(f"`{redact(repr(text)[1:-1])}` has control characters")
    if re.match(r"[A-Za-z0-9+.-]+://", text) or (text.startswith(("file:", *_VCS)) and " @ " not in text):
        if _is_local(text):
            raise _refuse_local(text)
        text = _name_url(text)
    if re.split(r"[ ;]", text)[0].endswith(_ARCHIVES):
        raise _refuse_local(text)
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        if _is_local(re.split(r"[ ;\[]", text)[0]):
            raise _refuse_local(text) from error
        reason = str(error).splitlines()[0]
        raise ValueError(f"`{redact(text)}` is not a requirement ({reason[:1].lower()}{reason[1:]})") from error
    if requirement.url:
        _check_url(requirement.url)
    return Required(name=canonicalize_name(requirement.name), text=text, place=place, hashes=hashes)


def _read_options(words: list[str], place: Place, draft: _Draft) -> list[tuple[str, str]]:
    """Return the options among a line's words as (long name, value)."""
    found = []
    while words:
        word, separator, value = words.pop(0).partition("=")
        if word[:2] in ("-r", "-c", "-e", "-i", "-f") and len(word) > 2 and word[1] != "-":
            word, value, separator = word[:2], word[2:] + separator + value, "="
        name = _LONG_NAMES.get(word, word)
        if name in _FLAGS and not separator:
            found.append((name, ""))
        elif name in (*_WITH_VALUE, "--hash"):
            value = value if separator else (words.pop(0) if words else "")
            if value:
                found.append((name, value))
            else:
                draft.faults.append(f"{place}: `{name}` needs a value")
        else:
            draft.faults.append(f"{place}: unknown option `{word}`")
            return found
    return found


def _read_editable(target: str, place: Place, draft: _Draft) -> None:
    if not target.startswith(_VCS):
        draft.faults.append(f"{place}: {_refuse_local(target)}")
        return
    try:
        required = parse_requirement(target, place=place)
    except ValueError as error:
        draft.faults.append(f"{place}: {error}")
        return
    draft.notes.append(f"{place}: `{required.name}` is locked as the commit it is, not as an editable checkout")
    draft.required.append(required)


def _read_option_line(line: str, place: Place, draft: _Draft) -> None:
    try:
        words = shlex.split(line)
    except ValueError as error:
        draft.faults.append(f"{place}: `{redact(line)}` cannot be read ({error})")
        return
    for name, value in _read_options(words, place, draft):
        match name:
            case "--requirement" | "--constraint":
                draft.includes.append(Include(path=value, place=place, constraint=name == "--constraint"))
            case "--editable":
                _read_editable(value, place, draft)
            case "--hash":
                draft.faults.append(f"{place}: `--hash` belongs to no requirement")
            case "--no-binary" | "--only-binary" if not _NAMES.fullmatch(value):
                draft.faults.append(f"{place}: `{name} {value}` names no distributions")
            case _:
                draft.options.append(Option(name=name, value=value, place=place))


def _read_requirement_line(line: str, place: Place, draft: _Draft) -> None:
    text, *rest = re.split(r"\s(?=--[a-z])", line, maxsplit=1)
    hashes = []
    for name, value in _read_options(rest[0].split() if rest else [], place, draft):
        if name != "--hash":
            draft.faults.append(f"{place}: `{name}` may not stand behind a requirement")
        elif _HASH.fullmatch(value):
            hashes.append(value)
        else:
            draft.faults.append(f"{place}: `{value}` is not a sha256 hash (`sha256:` and 64 hexadecimal digits)")
    try:
        draft.required.append(parse_requirement(text.strip(), place=place, hashes=tuple(hashes)))
    except ValueError as error:
        draft.faults.append(f"{place}: {error}")


def read_lines(lines: list[tuple[Place, str]]) -> Wanted:
    """Return what lines of a requirements file ask for, wherever they stand; faults are gathered, not raised."""
    draft = _Draft()
    for place, line in lines:
        if not line.isprintable():
            draft.faults.append(f"{place}: `{redact(repr(line)[1:-1])}` has control characters")
        elif line.startswith("-"):
            _read_option_line(line, place, draft)
        else:
            _read_requirement_line(line, place, draft)
    return Wanted(
        required=tuple(draft.required),
        includes=tuple(draft.includes),
        options=tuple(draft.options),
        notes=tuple(draft.notes),
        faults=tuple(draft.faults),
    )


def parse_requirements(text: str, *, where: str) -> Wanted:
    """Return what a requirements file asks for; what it includes is named, not read."""
    return read_lines([(Place(file=where, line=number), line) for number, line in join_continued(text)])
