"""`requirements-lock.txt` as a value: which Python and which distributions an environment holds.

The file is a plain requirements file that stock pip and uv install as it is; what they must not see stands in comments.
docs/snapshot-format.md describes it. `parse_snapshot` and `format_snapshot` are each other's inverse.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from enum import Enum

from repro.digests import sha256_hex
from repro.errors import InvalidSnapshotError
from repro.formats.direct_url import (
    Archive,
    Checkout,
    Directory,
    Editable,
    Index,
    Local,
    Source,
    System,
    Vcs,
    check_url,
    make_vcs,
)
from repro.patterns import compile_later
from repro.values import field, frozen, mutable

FILE_NAME = "requirements-lock.txt"
FORMAT_VERSION = 1

_NAME = compile_later(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
# PEP 440, appendix B, in its normal and near-normal spellings.
_VERSION = compile_later(
    r"v?(\d+!)?\d+(\.\d+)*([-_.]?(a|b|c|rc|alpha|beta|pre|preview)[-_.]?\d*)?(-\d+|[-_.]?(post|rev|r)[-_.]?\d*)?"
    r"([-_.]?dev[-_.]?\d*)?(\+[a-z0-9]+([-_.][a-z0-9]+)*)?",
    re.IGNORECASE,
)
_HASH = compile_later(r"sha256:[0-9a-f]{64}")
_JOINT = "\x1f"  # stands for the end of a line that a backslash continues
_NEXT_HASH = f" {_JOINT}    --hash="  # as format_requirement writes it
# What neither a terminal nor a program should be handed; a lone half of a surrogate pair cannot be written either.
_CONTROL = compile_later(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_SHAPES = {
    "implementation": r"[a-z][a-z0-9_]*",
    "version": r"\d+\.\d+(\.\d+)?((a|b|c|rc)\d+)?",
    "abi": r"[a-z0-9_]+",
    "platform": r"[a-z0-9_]+-[A-Za-z0-9_.]+",
    "libc": r"[A-Za-z0-9_.+ -]+",
}
_HEADER = "# repro-"
_NOTE = "# repro: "
_INDEX = Index()


def canonicalize_name(name: str) -> str:
    """Return a distribution's name as PEP 503 normalizes it."""
    return name if name.isalpha() and name.islower() else re.sub(r"[-_.]+", "-", name).lower()


def is_name(text: str) -> bool:
    """Tell whether a distribution can be called so (PyPA "Names and normalization")."""
    return _NAME.fullmatch(text) is not None


def is_version(text: str) -> bool:
    """Tell whether `text` is a version as PEP 440 writes them, so that `==` accepts it."""
    if text.isascii() and all(map(str.isdigit, text.split("."))):
        return True  # as most are
    return _VERSION.fullmatch(text) is not None


def is_hash(text: str) -> bool:
    """Tell whether `text` is a hash as locks have it: `sha256:` and 64 hexadecimal digits."""
    return _HASH.fullmatch(text) is not None


@frozen
class Interpreter:
    """The Python that an environment runs on, as far as distributions depend on it."""

    implementation: str
    version: str
    abi: str
    platform: str
    libc: str | None = None

    @property
    def minor(self) -> str:
        """The version up to its minor part, e.g. `3.11`."""
        return ".".join(self.version.split(".")[:2])

    @property
    def compatibility(self) -> tuple[str, str, str]:
        """What must be equal for a distribution to fit: implementation, X.Y and ABI."""
        return self.implementation, self.minor, self.abi


class Proof(Enum):
    """How sure it is which file is installed."""

    PROVED = "proved"
    """The record digest is that of the file, and every installed file has the size its RECORD says."""
    IDENTIFIED = "identified"
    """One file of the index alone fits by name, version and tags."""
    UNPROVEN = "unproven"
    """Neither; the entry says why."""


_PROOFS = {proof.value: proof for proof in Proof}


@frozen
class Distribution:
    """One installed distribution: its canonical name, exact version, and where it came from.

    `hashes` are sha256 values (`sha256:...`) of the files any of which may be installed, that of `file`, the one that
    is installed, first; `kept` tells that this file is no index's but lies in the store's `wheels/`, built or packed
    again. `record` is the record digest (`sha256:` and 64 hex digits) where it has a RECORD. `modified` names files
    that are not what RECORD says, `reason` says why nothing is proved, `via` names the distributions that require it,
    and `used` tells that a run has imported it.
    """

    name: str
    version: str
    source: Source = field(default_factory=Index)
    hashes: tuple[str, ...] = ()
    record: str | None = None
    file: str | None = None
    proof: Proof | None = None
    reason: str | None = None
    kept: bool = False
    modified: tuple[str, ...] = ()
    requested: bool = False
    via: tuple[str, ...] = ()
    used: bool = False

    @property
    def identity(self) -> tuple[str, str, str, str | None]:
        """What makes it this distribution and no other: its files, by the kept wheel where there is no RECORD.

        An archive and a commit without a record digest have other names than the wheel that may be kept of them.
        """
        is_its_name = self.kept and not isinstance(self.source, Archive | Vcs)
        kept = self.hashes[0] if is_its_name and self.hashes else None
        origin = f"vcs@{self.source.commit}" if isinstance(self.source, Vcs) else self.source.kind
        return self.name, self.version, origin, self.record or kept


@frozen
class Snapshot:
    """The exact content of an environment; `interpreter` is None for a plain requirements file without our header."""

    interpreter: Interpreter | None
    distributions: tuple[Distribution, ...]
    index_urls: tuple[str, ...] = ()
    tool: str = ""
    stated_digest: str | None = None
    is_hashed: bool = field(init=False, repr=False, compare=False)
    """Whether installers must check hashes: one hash makes pip demand all."""

    def __post_init__(self) -> None:
        asked = [each for each in self.distributions if isinstance(each.source, Index | Archive) and not each.kept]
        object.__setattr__(self, "is_hashed", any(each.hashes for each in asked or self.distributions))

    def is_active(self, distribution: Distribution) -> bool:
        """Tell whether an installer sees the distribution: its entry is a requirement, not a comment."""
        if not is_version(distribution.version):
            return False
        if distribution.kept:
            return self.is_hashed
        if not isinstance(distribution.source, Index | Archive):
            return False
        return bool(distribution.hashes) or (isinstance(distribution.source, Index) and not self.is_hashed)

    def count(self) -> dict[str, int]:
        """Return how many are hashed, plain pins, kept as wheels, only commits of a repository, and not restorable."""
        counts = dict.fromkeys(("hashed", "plain", "kept", "vcs", "not-restorable"), 0)
        for each in self.distributions:
            if each.kept:
                counts["kept"] += 1
            elif self.is_active(each):
                counts["hashed" if each.hashes else "plain"] += 1
            else:
                counts["vcs" if isinstance(each.source, Vcs) else "not-restorable"] += 1
        return {name: number for name, number in counts.items() if number}

    def compute_digest(self) -> str:
        """Return the digest of the content: what the environment is, not how, when or by what it was taken.

        sha256 over lines for implementation, X.Y, ABI and platform and for the identity of each distribution.
        """
        python = self.interpreter
        head = [python.implementation, python.minor, python.abi, python.platform] if python else ["plain"]
        lines = [" ".join(["repro-digest", str(FORMAT_VERSION), *head])]
        lines += [" ".join(part or "-" for part in each.identity) for each in self.distributions]
        return "sha256:" + sha256_hex("\n".join(lines).encode())


def _dump(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _describe_checkout(checkout: Checkout) -> dict[str, object]:
    facts = {"commit": checkout.commit, "url": checkout.url, "diff": checkout.diff, "untracked": checkout.untracked}
    return {key: value for key, value in facts.items() if value}


def _describe_source(source: Source) -> dict[str, object]:
    """Return what a note says of a source; `_read_source` reads it."""
    note: dict[str, object] = {"kind": source.kind}
    match source:
        case Index(url=url) if url:
            note["index"] = url
        case Archive(url=url, sha256=sha256):
            note |= {"url": url} | ({"sha256": sha256} if sha256 else {})
        case Vcs(vcs=vcs, url=url, commit=commit, subdirectory=subdirectory):
            facts = {"vcs": vcs, "url": url, "commit": commit, "subdirectory": subdirectory}
            note |= {key: value for key, value in facts.items() if value}
        case Directory(checkout=Checkout() as checkout) | Editable(checkout=Checkout() as checkout):
            note["checkout"] = _describe_checkout(checkout)
        case _:
            pass
    return note


def _describe(distribution: Distribution, *, active: bool) -> str:
    """Return the note behind (or instead of) a requirement, as JSON."""
    note = _describe_source(distribution.source)
    if not active:
        note |= {"name": distribution.name, "version": distribution.version}
        if distribution.hashes:
            note["hashes"] = list(distribution.hashes)
    elif _is_named_by_url(distribution):
        note["version"] = distribution.version
    if distribution.proof:
        note["proof"] = distribution.proof.value
    for key in ("file", "record", "reason"):
        if value := getattr(distribution, key):
            note[key] = value
    for key in ("modified", "via"):
        if values := getattr(distribution, key):
            note[key] = list(values)
    for key in ("kept", "requested", "used"):
        if getattr(distribution, key):
            note[key] = True
    return _dump(note)


def _is_named_by_url(distribution: Distribution) -> bool:
    return isinstance(distribution.source, Archive) and not distribution.kept


def format_requirement(distribution: Distribution) -> str:
    """Return the line an installer reads, with its hashes on continued lines."""
    if isinstance(distribution.source, Archive) and _is_named_by_url(distribution):
        pin = f"{distribution.name} @ {distribution.source.url}"
    else:
        pin = f"{distribution.name}=={distribution.version}"
    return " \\\n    --hash=".join([pin, *distribution.hashes])


def format_pin(distribution: Distribution) -> str:
    """Return a requirement without hashes: a version, a URL, or a commit."""
    match distribution.source:
        case Vcs() as vcs if not distribution.kept:
            return f"{distribution.name} @ {vcs.format_url()}"
        case Archive(url=url) if not distribution.kept:
            return f"{distribution.name} @ {url}"
        case _:
            return f"{distribution.name}=={distribution.version}"


def _format_header(snapshot: Snapshot) -> Iterator[str]:
    yield f"# {FILE_NAME}: the exact packages of one Python environment, kept by repro"
    yield f"# Restore it with `repro restore`; stock tools: pip install --no-deps -r {FILE_NAME}"
    yield f"{_HEADER}lock: {FORMAT_VERSION}"
    yield f"{_HEADER}digest: {snapshot.compute_digest()}"
    if python := snapshot.interpreter:
        facts = {"implementation": python.implementation, "version": python.version, "abi": python.abi}
        yield f"{_HEADER}python: {_dump(facts)}"
        machine = {"platform": python.platform} | ({"libc": python.libc} if python.libc else {})
        yield f"{_HEADER}platform: {_dump(machine)}"
    if snapshot.tool:
        yield f"{_HEADER}tool: {snapshot.tool}"
    if snapshot.index_urls:
        yield f"{_HEADER}index: {_dump(list(snapshot.index_urls))}"
    yield f"{_HEADER}counts: {_dump(snapshot.count())}"


def format_snapshot(snapshot: Snapshot) -> str:
    """Return the text of the lock file; equal snapshots give equal text."""
    lines = [*_format_header(snapshot), ""]
    for distribution in snapshot.distributions:
        active = snapshot.is_active(distribution)
        if active:
            lines.append(format_requirement(distribution))
        lines.append(("    " if active else "") + _NOTE + _describe(distribution, active=active))
    return "\n".join(lines) + "\n"


@mutable
class _Draft:
    """What the reader has gathered so far; faults are (line number, what is wrong)."""

    header: dict[str, str] = field(default_factory=dict)
    entries: list[tuple[int, str, dict[str, object]]] = field(default_factory=list)
    faults: list[tuple[int, str]] = field(default_factory=list)


def _check_texts(value: object) -> None:
    """Raise ValueError for a text with a control character, however deep it lies."""
    if isinstance(value, str):
        if _CONTROL.search(value):
            raise ValueError(f"it has a control character: {value!r}")
    elif isinstance(value, list | dict):
        for item in value:
            _check_texts(item)
            if isinstance(value, dict):
                _check_texts(value[item])


def _load_json(text: str) -> object:
    """Return the value of a comment. Raises ValueError for what is no JSON, or no text that can be printed."""
    try:
        value: object = json.loads(text)
        if "\\" in text or not text.isascii():
            _check_texts(value)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


def _read_note(draft: _Draft, number: int, text: str) -> None:
    try:
        note = _load_json(text)
        if not isinstance(note, dict):
            raise ValueError("not an object")
    except ValueError as error:
        draft.faults.append((number, f"the note is not valid JSON ({error})"))
        return
    if "name" in note:
        draft.entries.append((number, "", note))
    elif draft.entries and draft.entries[-1][1] and not draft.entries[-1][2]:
        draft.entries[-1][2].update(note)
    else:
        draft.faults.append((number, "the note belongs to no requirement"))


def _join_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield each line with its number, continued lines joined with `_JOINT`; as in pip, a comment is not continued."""
    number = 1
    for joined in text.replace(_JOINT, "?").replace("\\\n", _JOINT).split("\n"):
        line = joined.strip()
        while line.startswith("#") and _JOINT in line:
            comment, _, line = line.partition(_JOINT)
            yield number, comment
            number, line = number + 1, line.lstrip()
        yield number, line
        number += 1 + line.count(_JOINT)


def _read_lines(text: str) -> _Draft:
    draft = _Draft()
    for number, line in _join_lines(text):
        if line.startswith(_NOTE):
            _read_note(draft, number, line[len(_NOTE) :])
        elif line.startswith(_HEADER):
            key, _, value = line[len(_HEADER) :].partition(":")
            draft.header[key] = value.strip()
        elif line and not line.startswith("#"):
            draft.entries.append((number, line, {}))
    return draft


def _require(note: dict[str, object], key: str) -> str:
    value = note.get(key)
    if not isinstance(value, str) or not value:
        raise ValueError(f"`{key}` is missing or no text")
    return value


def _find_text(note: dict[str, object], key: str) -> str | None:
    value = note.get(key)
    return value if isinstance(value, str) else None


def _read_checkout(note: dict[str, object]) -> Checkout | None:
    value = note.get("checkout")
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ValueError("`checkout` is not an object")
    untracked = value.get("untracked", 0)
    return Checkout(
        commit=_find_text(value, "commit"),
        url=_find_text(value, "url"),
        diff=_find_text(value, "diff"),
        untracked=untracked if isinstance(untracked, int) else 0,
    )


def _read_source(note: dict[str, object]) -> Source:
    match note.get("kind", "index"):
        case "index":
            url = _find_text(note, "index")
            return Index(url=check_url(url)) if url else _INDEX
        case "archive":
            return Archive(url=_require(note, "url"), sha256=_find_text(note, "sha256"))
        case "vcs":
            return make_vcs(
                vcs=_require(note, "vcs"),
                url=_find_text(note, "url"),
                commit=_require(note, "commit"),
                subdirectory=_find_text(note, "subdirectory"),
            )
        case "directory":
            return Directory(checkout=_read_checkout(note))
        case "editable":
            return Editable(checkout=_read_checkout(note))
        case "local":
            return Local()
        case "system":
            return System()
        case kind:
            raise ValueError(f"unknown kind `{kind}`")


def _read_proof(note: dict[str, object]) -> Proof | None:
    value = note.get("proof")
    if value is None:
        return None
    if not isinstance(value, str) or value not in _PROOFS:
        raise ValueError(f"unknown proof `{value}`")
    return _PROOFS[value]


def _are_hashes(words: list[str]) -> bool:
    """Tell whether all words are sha256 hashes, at once: a regular expression for each would cost half of a load.

    Each has the length and a colon at its place, and what is left without the prefixes is hexadecimal throughout.
    """
    joined = "".join(words)
    digits = joined.replace("sha256:", "")
    if set(map(len, words)) != {71} or joined[6::71] != ":" * len(words) or digits != digits.lower():
        return False
    try:
        return len(bytes.fromhex(digits)) == 32 * len(words)
    except ValueError:
        return False


def _read_hashes(options: str) -> tuple[str, ...]:
    """Return the hashes behind a requirement: at once where they stand as we write them, else one by one."""
    before, *words = options.split(_NEXT_HASH)
    if not before and _are_hashes(words):
        return tuple(words)
    hashes = []
    for option in options.replace(_JOINT, " ").split(" --")[1:]:
        key, _, value = option.strip().partition("=")
        if key != "hash":
            raise ValueError(f"unknown option `--{option.strip()}`")
        if not _HASH.fullmatch(value):
            raise ValueError(f"`{value}` is not a sha256 hash (`sha256:` and 64 hexadecimal digits)")
        hashes.append(value)
    return tuple(hashes)


def _split_requirement(line: str) -> tuple[str, str | None, str, tuple[str, ...]]:
    """Return (name, version or None for a URL, version or URL, hashes) of an active line."""
    pin = line.partition(" --")[0].rstrip(f" \t{_JOINT}")
    options = line[len(pin) :]
    pin = pin.replace(_JOINT, " ")
    name, separator, version = pin.partition(" @ ")
    is_url = bool(separator)
    if not is_url:
        name, separator, version = pin.partition("==")
    name, version = name.strip(), version.strip()
    if not separator or not is_name(name):
        raise ValueError(f"`{pin}` is not `name==version`")
    hashes = _read_hashes(options) if options else ()
    if is_url:
        check_url(version)
    elif not is_version(version):
        raise ValueError(f"`{version}` is not a version")
    return name, None if is_url else version, version, hashes


def _read_texts(value: object) -> tuple[str, ...]:
    return tuple([item for item in value if isinstance(item, str)]) if isinstance(value, list) else ()


def _find_hash(note: dict[str, object], key: str) -> str | None:
    value = _find_text(note, key)
    if value is not None and not _HASH.fullmatch(value):
        raise ValueError(f"`{key}` is `{value}`, not a sha256 hash (`sha256:` and 64 hexadecimal digits)")
    return value


def _read_comment(note: dict[str, object]) -> tuple[str, str, tuple[str, ...]]:
    """Return (name, version, hashes) of an entry that no installer sees."""
    name, version, hashes = _require(note, "name"), _require(note, "version"), _read_texts(note.get("hashes"))
    if not is_name(name):
        raise ValueError(f"`{name}` is no name of a distribution")
    for each in hashes:
        _find_hash({"hashes": each}, "hashes")
    return name, version, hashes


def _read_line(line: str, note: dict[str, object], source: Source) -> tuple[str, str, tuple[str, ...]]:
    """Return (name, version, hashes) of a line that installers see.

    What its note says must not lead anywhere else: raises ValueError.
    """
    name, version, place, hashes = _split_requirement(line)
    is_kept = note.get("kept") is True
    if version is None:
        if not isinstance(source, Archive) or is_kept or source.url != place:
            raise ValueError(f"the note of `{name}` does not say that it is the archive `{place}`")
        return name, _require(note, "version"), hashes
    if not (is_kept or isinstance(source, Index)):
        raise ValueError(f"`{name}=={version}` is of an index, but its note says `{source.kind}`")
    return name, version, hashes


def _read_entry(line: str, note: dict[str, object]) -> Distribution:
    source = _read_source(note)
    name, version, hashes = _read_line(line, note, source) if line else _read_comment(note)
    return Distribution(
        name=canonicalize_name(name),
        version=version,
        source=source,
        hashes=hashes,
        record=_find_hash(note, "record"),
        file=_find_text(note, "file"),
        proof=_read_proof(note),
        reason=_find_text(note, "reason"),
        kept=note.get("kept") is True,
        modified=_read_texts(note.get("modified")),
        requested=note.get("requested") is True,
        via=_read_texts(note.get("via")),
        used=note.get("used") is True,
    )


def _load_header(header: dict[str, str], key: str) -> dict[str, object]:
    value = _load_json(header.get(key, "null"))
    if not isinstance(value, dict):
        raise ValueError(f"`{_HEADER[2:]}{key}` is missing or no object")
    return value


def _read_interpreter(header: dict[str, str]) -> Interpreter:
    """Return the interpreter; each fact has the shape a Python gives it, since paths are made of them."""
    facts = {**_load_header(header, "python"), **_load_header(header, "platform")}
    found: dict[str, str] = {}
    for key, shape in _SHAPES.items():
        value = facts.get(key)
        if value is None and key == "libc":
            continue
        if not isinstance(value, str) or not re.fullmatch(shape, value):
            raise ValueError(f"`{key}` is `{value}`")
        found[key] = value
    return Interpreter(**found)


def _read_index_urls(header: dict[str, str]) -> tuple[str, ...]:
    return tuple(map(check_url, _read_texts(_load_json(header.get("index", "[]")))))


def _find_half_hashed(distributions: Iterable[Distribution], numbers: dict[str, int]) -> Iterator[tuple[int, str]]:
    for each in distributions:
        if not each.hashes and numbers[each.name]:
            yield numbers[each.name], f"`{each.name}` has no hash, though others have: installers demand all or none"


def has_header(text: str) -> bool:
    """Tell whether a requirements file is a lock of ours."""
    return f"\n{_HEADER}lock:" in "\n" + text[:4096]


def parse_snapshot(text: str, *, where: str = FILE_NAME) -> Snapshot:
    """Return the snapshot a lock file holds.

    Raises InvalidSnapshotError, which names every fault with its line in `where`.
    """
    draft = _read_lines(text)
    faults = draft.faults
    if draft.header.get("lock") != str(FORMAT_VERSION):
        raise InvalidSnapshotError(
            f"`{where}` has lock format `{draft.header.get('lock')}`; this repro reads format {FORMAT_VERSION}",
            hint="install the newest repro, or take it again with `repro snapshot`",
        )
    distributions: dict[str, Distribution] = {}
    numbers: dict[str, int] = {}
    for number, line, note in draft.entries:
        try:
            entry = _read_entry(line, note)
        except ValueError as error:
            faults.append((number, str(error)))
            continue
        if entry.name in distributions:
            faults.append((number, f"`{entry.name}` stands twice"))
        distributions[entry.name] = entry
        numbers[entry.name] = number if line else 0
    try:
        interpreter = _read_interpreter(draft.header)
        index_urls = _read_index_urls(draft.header)
    except ValueError as error:
        raise InvalidSnapshotError(
            f"`{where}` has no readable `repro-python`, `repro-platform` or `repro-index` header ({error})",
            hint="take it again with `repro snapshot`",
        ) from error
    if any(each.hashes for each in distributions.values()):
        faults += _find_half_hashed(distributions.values(), numbers)
    if faults:
        raise InvalidSnapshotError(
            f"`{where}` cannot be read",
            hint="mend these lines, or take it again with `repro snapshot`",
            details=tuple(f"line {number}: {fault}" for number, fault in sorted(faults)),
        )
    return Snapshot(
        interpreter=interpreter,
        distributions=tuple(distributions[name] for name in sorted(distributions)),
        index_urls=index_urls,
        tool=draft.header.get("tool", ""),
        stated_digest=draft.header.get("digest"),
    )
