"""What a sweep's run keeps to be continued: `sweep.json`, with what was asked and the points that were chosen.

`key` tells the same command again: it is a digest of what is asked, without what says only how it is done.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from repro.values import asdict, frozen, list_fields

FILE_NAME = "sweep.json"
_FORMAT = 1


@frozen
class SweepAsked:
    """What is asked of a sweep: `axes` are texts by parameter; `uri` is absolute, `version` as it was given.

    `backend_config` is the sha256 of the backend's configuration.
    """

    uri: str
    entry_point: str | None
    version: str | None
    axes: Mapping[str, str]
    sample: int | None
    seed: int | None
    restore: bool | None
    env_manager: str | None
    as_of: str | None
    more: tuple[str, ...]
    python: str | None
    lenient_types: bool
    backend: str
    experiment: str | None
    backend_config: str | None = None

    @property
    def key(self) -> str:
        """The digest."""
        return hashlib.sha256(json.dumps(_list_fields(self)).encode()).hexdigest()[:32]


def _list_fields(asked: SweepAsked) -> dict[str, object]:
    """Return what is asked, without what came later and nobody has asked for."""
    found = asdict(asked)
    if asked.backend_config is None:
        del found["backend_config"]
    return found


@frozen
class SweepRecord:
    """A sweep that has begun: `seed` is the one that was used, `goal` is `min` or `max`.

    `commit` is what `version` meant in a repository.
    """

    asked: SweepAsked
    seed: int
    points: tuple[Mapping[str, str], ...]
    commit: str | None = None
    metric: str | None = None
    goal: str | None = None


def format_sweep_record(record: SweepRecord) -> str:
    """Return the text of `sweep.json`."""
    content = {
        "format": _FORMAT,
        "asked": _list_fields(record.asked),
        "seed": record.seed,
        "commit": record.commit,
        "metric": record.metric,
        "goal": record.goal,
        "points": [dict(point) for point in record.points],
    }
    return json.dumps(content, indent=1) + "\n"


def _read_point(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise ValueError(f"a point is an object of texts, and not `{json.dumps(value)}`")
    return value


def _is(value: object, *types: type) -> bool:
    return type(value) in types


def _read_asked(fields: Mapping[str, object]) -> SweepAsked:
    optional = ("entry_point", "version", "env_manager", "as_of", "python", "experiment", "backend_config")
    fields = {"backend_config": None, **fields}
    wrong = [
        *(name for name in ("uri", "backend") if not _is(fields[name], str)),
        *(name for name in optional if not _is(fields[name], str, type(None))),
        *(name for name in ("sample", "seed") if not _is(fields[name], int, type(None))),
        *(name for name in ("restore",) if not _is(fields[name], bool, type(None))),
        *(name for name in ("lenient_types",) if not _is(fields[name], bool)),
        *(name for name in ("more",) if not _is(fields[name], list)),
    ]
    if wrong:
        raise ValueError(f"`{wrong[0]}` is `{json.dumps(fields[wrong[0]])}`")
    more = tuple(str(each) for each in fields["more"])  # type: ignore[attr-defined]
    known = {name: fields[name] for name in list_fields(SweepAsked)}
    return SweepAsked(**{**known, "more": more, "axes": _read_point(fields["axes"])})  # type: ignore[arg-type]


def parse_sweep_record(text: str) -> SweepRecord:
    """Return what a `sweep.json` says. Raises ValueError."""
    try:
        content = json.loads(text)
        if content["format"] != _FORMAT:
            raise ValueError(f"its format is `{content['format']}`, and {_FORMAT} is known")
        texts = {name: content[name] for name in ("commit", "metric", "goal")}
        if not _is(content["seed"], int) or not all(_is(text, str, type(None)) for text in texts.values()):
            raise ValueError("`seed` is a number, `commit`, `metric` and `goal` are texts")
        return SweepRecord(
            asked=_read_asked(content["asked"]),
            seed=content["seed"],
            points=tuple(map(_read_point, content["points"])),
            **texts,
        )
    except (TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"something is missing or of another kind ({error})") from error
