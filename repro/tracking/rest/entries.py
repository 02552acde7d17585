r"""What is logged to a run, as lines of a journal: a letter for its kind, a space, and JSON as the REST API has it.

m {"key":"loss","value":0.5,"timestamp":1700000000000,"step":1}    a point of a metric
p {"key":"alpha","value":"0.5"}                                    a parameter
t {"key":"kind","value":"test"}                                    a tag
d {"key":"kind"}                                                   a tag that is removed
u {"status":"FINISHED","end_time":1700000000000}                   a change of the run itself
i {"datasets":[...]}                                               datasets that were read
a {"path":"plots/loss.png","file":"9b3e77a1"}                      an artifact, kept in `files/` until it is sent

So a batch is made of lines without reading them. What could not be sent as it stands is refused here, before it is
written: keys, lengths and numbers are checked as MLflow's server checks them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

from repro.errors import TrackingError
from repro.formats.run_meta import MetricPoint, RunStatus, check_key
from repro.tracking import wire
from repro.tracking.entities import Batch, Dataset, Metric
from repro.values import frozen

LONGEST_PARAM = 6000
LONGEST_TAG = 8000
_MOST_METRICS = 1000
_MOST_PAIRS = 100
_MOST = 1000
_MOST_BYTES = 900_000  # the server takes 1e6
_LARGEST_WHOLE = 1 << 63
_BATCHED = b"mpt"


@lru_cache(maxsize=4096)
def _encode_key(kind: str, key: str) -> str:
    check_key(kind, key)
    return json.dumps(key)


def _check_whole(what: str, key: str, number: int, least: int) -> None:
    if not least <= number < _LARGEST_WHOLE:
        raise TrackingError(f"the {what} of the metric `{key}` is `{number}`, and has to be from {least} to 2^63 - 1")


def format_point(key: str, point: MetricPoint) -> str:
    """Return the line of a point. Raises TrackingError."""
    encoded, value = _encode_key("metric", key), point.value
    _check_whole("timestamp", key, point.timestamp_ms, 0)
    _check_whole("step", key, point.step, -_LARGEST_WHOLE)
    number = repr(float(value)) if math.isfinite(value) else f'"{wire.format_number(value)}"'
    return f'm {{"key":{encoded},"value":{number},"timestamp":{point.timestamp_ms},"step":{point.step}}}\n'


def _format_pair(letter: str, kind: str, key: str, value: str, longest: int) -> str:
    encoded = _encode_key(kind, key)
    if len(value) > longest:
        raise TrackingError(
            f"the value of the {kind} `{key}` has {len(value)} characters, and a server takes {longest}",
            hint="keep it as an artifact: `repro.log_text(...)`",
        )
    return f'{letter} {{"key":{encoded},"value":{json.dumps(value)}}}\n'


def format_param(key: str, value: str) -> str:
    """Return the line of a parameter. Raises TrackingError."""
    return _format_pair("p", "parameter", key, value, LONGEST_PARAM)


def format_tag(key: str, value: str) -> str:
    """Return the line of a tag. Raises TrackingError."""
    return _format_pair("t", "tag", key, value, LONGEST_TAG)


def format_batch(batch: Batch) -> str:
    """Return the lines of a batch; all of it is checked before any of it is kept. Raises TrackingError."""
    return "".join(
        [
            *(format_param(key, value) for key, value in batch.params.items()),
            *(format_point(each.key, each.point) for each in batch.metrics),
            *(format_tag(key, value) for key, value in batch.tags.items()),
        ]
    )


def format_removed_tag(key: str) -> str:
    """Return the line of a tag that is removed. Raises TrackingError."""
    return f'd {{"key":{_encode_key("tag", key)}}}\n'


def format_update(*, status: RunStatus | None, end_time_ms: int | None, name: str | None) -> str:
    """Return the line of a change of the run itself."""
    given = {"status": status and status.value, "end_time": end_time_ms, "run_name": name}
    return f"u {json.dumps({key: value for key, value in given.items() if value is not None})}\n"


def format_datasets(datasets: Sequence[Dataset]) -> str:
    """Return the line of datasets that a run has read."""
    return f"i {json.dumps({'datasets': [wire.format_dataset(each) for each in datasets]})}\n"


def format_artifact(path: str, file: str) -> str:
    """Return the line of an artifact that is kept as a file."""
    return f"a {json.dumps({'path': path, 'file': file})}\n"


def parse_entry(line: bytes) -> wire.Fields:
    """Return the fields of a line, without its letter. Raises TrackingError."""
    try:
        fields = json.loads(line[2:])
    except ValueError as error:
        raise TrackingError(f"`{line[:200]!r}` is no line of a journal") from error
    if not isinstance(fields, dict):
        raise TrackingError(f"`{line[:200]!r}` is no line of a journal")
    return fields


def parse_point(line: bytes) -> Metric:
    """Return the metric of an `m` line. Raises TrackingError."""
    return wire.parse_metric(parse_entry(line))


@frozen
class Chunk:
    """Lines that are sent in one call: a batch, or one line of another kind. `end` is where the next begins."""

    start: int
    end: int
    metrics: tuple[bytes, ...] = ()
    params: tuple[bytes, ...] = ()
    tags: tuple[bytes, ...] = ()
    other: bytes | None = None

    def __len__(self) -> int:
        return len(self.metrics) + len(self.params) + len(self.tags) + (self.other is not None)

    def format_body(self, run_id: str) -> bytes:
        """Return the body of a `runs/log-batch`."""
        parts = (b",".join(line[2:] for line in lines) for lines in (self.metrics, self.params, self.tags))
        return b'{"run_id":%s,"metrics":[%s],"params":[%s],"tags":[%s]}' % (json.dumps(run_id).encode(), *parts)

    def split(self) -> Iterator[Chunk]:
        """Yield the parts to try one after the other where the whole is refused: by kind, then in halves."""
        groups: Mapping[str, tuple[bytes, ...]] = {"params": self.params, "metrics": self.metrics, "tags": self.tags}
        kept = {name: lines for name, lines in groups.items() if lines}
        for name, lines in kept.items():
            half = len(lines) if len(kept) > 1 else (len(lines) + 1) // 2
            for part in (lines[:half], lines[half:]):
                if part:
                    yield Chunk(start=self.start, end=self.end, **{name: part})  # type: ignore[arg-type]


def _has_room(kept: Mapping[int, list[bytes]], kind: int, size: int) -> bool:
    count = len(kept[kind])
    limit = _MOST_METRICS if kind == _BATCHED[0] else _MOST_PAIRS
    return count < limit and sum(map(len, kept.values())) < _MOST and size <= _MOST_BYTES


def _last_of_each_key(lines: Iterable[bytes]) -> tuple[bytes, ...]:
    return tuple({str(parse_entry(line).get("key")): line for line in lines}.values())


def cut_chunk(content: bytes, start: int) -> Chunk | None:
    """Return the first chunk of a piece of a journal that begins at `start` in it; a last line without end waits."""
    kept: dict[int, list[bytes]] = {kind: [] for kind in _BATCHED}
    params: dict[object, bytes] = {}
    position = 0
    while (found := content.find(b"\n", position)) >= 0:
        line, kind = content[position:found], content[position] if found > position else 0
        if kind not in kept:
            if position == 0:
                return Chunk(start=start, end=start + found + 1, other=line)
            break
        if not _has_room(kept, kind, found):
            break
        if kind == _BATCHED[1]:  # a parameter twice in a batch is refused, though it be the same
            key = parse_entry(line).get("key")
            if params.setdefault(key, line) != line:
                break
        kept[kind].append(line)
        position = found + 1
    if position == 0:
        return None
    metrics, _, tags = (kept[kind] for kind in _BATCHED)
    return Chunk(
        start=start, end=start + position, metrics=tuple(metrics), params=tuple(params.values()),
        tags=_last_of_each_key(tags),
    )  # fmt: skip
