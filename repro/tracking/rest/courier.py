"""Bring what is kept of a run to its server: all of it, in order, and once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from repro.errors import ServerUnavailableError, TrackingError, TrackingNotFoundError, TrackingRefusedError
from repro.tracking import wire
from repro.tracking.entities import PARENT_RUN_ID, NewRun
from repro.tracking.points import identify
from repro.tracking.rest.answers import AnswerLostError, UnexplainedError
from repro.tracking.rest.api import Api
from repro.tracking.rest.artifacts import check_artifact_path, find_place
from repro.tracking.rest.creation import create_run, get_or_create_experiment
from repro.tracking.rest.entries import Chunk, parse_entry, parse_point
from repro.tracking.rest.journal import Journal
from repro.tracking.rest.outbox import LOCAL_EXPERIMENT, Outbox, RunBox
from repro.values import field, mutable, replace

WAITING = (ServerUnavailableError, TrackingRefusedError, UnexplainedError)
"""What may be otherwise later: the server is away, wants other credentials, or is not what answers."""
_DEEPEST = 50
_TRIES = 3


@mutable
class Tally:
    """What was brought: entries that are there now, and in words those that the server would not take."""

    sent: int = 0
    created: bool = False
    refused: list[str] = field(default_factory=list)


class Courier:
    """Deliveries to one server; every deed raises TrackingError, of which `WAITING` leaves all as it is."""

    def __init__(self, api: Api, outbox: Outbox) -> None:
        self.api = api
        self.outbox = outbox

    def resolve_experiment(self, experiment_id: str) -> str:
        """Return the server's id of an experiment, which is made where it was asked for while the server was away."""
        if not experiment_id.startswith(LOCAL_EXPERIMENT):
            return experiment_id
        kept = self.outbox.find_kept_experiment(experiment_id)
        if kept is None:
            raise TrackingNotFoundError(f"there is no experiment `{experiment_id}`")
        return get_or_create_experiment(
            self.api, kept.name, artifact_location=kept.artifact_location or None, tags=dict(kept.tags)
        )

    def resolve_parent(self, new: NewRun, depth: int = 0) -> NewRun:
        """Return a run whose parent has the server's id; the parent is made first."""
        parent = new.tags.get(PARENT_RUN_ID)
        if not parent or depth > _DEEPEST:
            return new
        try:
            parent = self.create_kept(self.outbox.get_run(parent), depth + 1)
        except WAITING:
            raise
        except TrackingError:
            return new  # it is not ours
        return replace(new, tags={**new.tags, PARENT_RUN_ID: parent})

    def create_kept(self, box: RunBox, depth: int = 0) -> str:
        """Make a run that is to be made, and return the server's id of it."""
        if not box.is_new():
            return self.outbox.find_id(box.run_id)
        try:
            with box.hold():
                return self._create(box, depth)
        except FileNotFoundError:  # somebody else has made it, and sent all that was kept of it
            return self.outbox.find_id(box.run_id)

    def _create(self, box: RunBox, depth: int) -> str:
        known, new = self.outbox.find_id(box.run_id), box.read_new()
        if new and known == box.run_id:
            new = replace(new, experiment_id=self.resolve_experiment(new.experiment_id))
            known = create_run(self.api, self.resolve_parent(new, depth), box.run_id, look_first=True).run_id
            self.outbox.add_id(box.run_id, known)
        box.forget_new()
        return known

    def deliver(self, box: RunBox, journal: Journal, tally: Tally) -> None:
        """Bring all of a journal; what is not taken is put aside with the reason."""
        if journal.is_sent:
            return
        run_id = self.create_kept(box)
        delivery = _Delivery(self.api, box, journal, run_id, tally)
        while chunk := journal.read_chunk():
            delivery.send(chunk)
            journal.note_sent(chunk)


class _Delivery:
    """One journal on its way."""

    def __init__(self, api: Api, box: RunBox, journal: Journal, run_id: str, tally: Tally) -> None:
        self._api = api
        self._box = box
        self._journal = journal
        self._run_id = run_id
        self._tally = tally
        self._gone: str | None = None

    def send(self, chunk: Chunk) -> None:
        """Bring a chunk, or put aside of it what the server will not take."""
        if self._gone:
            self._refuse(chunk, self._gone)
        elif chunk.other is not None:
            self._try(chunk, lambda: self._send_other(chunk.other or b""))
        elif self._journal.is_doubtful(chunk) and chunk.metrics:
            self._send_batch(self._without_known(chunk))
        elif chunk.metrics:
            self._journal.note_try(chunk)
            self._send_batch(chunk, is_first=True)
        else:
            self._send_batch(chunk)

    def _refuse(self, chunk: Chunk, reason: str) -> None:
        for line in (*chunk.params, *chunk.metrics, *chunk.tags, *([chunk.other] if chunk.other else [])):
            self._box.refuse(line, reason)
            self._tally.refused.append(f"{line[:120].decode(errors='replace')}: {reason}")

    def _try(self, chunk: Chunk, deed: Callable[[], None]) -> bool:
        """Do what brings a chunk of one entry; say whether it was taken."""
        try:
            deed()
        except TrackingError as error:
            if not self._is_final(error):
                raise
            self._refuse(chunk, error.message)
            return False
        self._tally.sent += len(chunk)
        return True

    def _send_other(self, line: bytes) -> None:
        fields = parse_entry(line)
        if line[:1] == b"d":
            with suppress(TrackingNotFoundError):  # it is gone already
                self._api.change_run("delete-tag", self._run_id, key=wire.get_text(fields, "key"))
        elif line[:1] == b"u":
            status = wire.find_text(fields, "status")
            self._api.update_run(
                self._run_id,
                status=wire.parse_status(status) if status else None,
                end_time_ms=wire.find_whole(fields, "end_time"),
                name=wire.find_text(fields, "run_name"),
            )
        elif line[:1] == b"i":
            datasets = [wire.parse_dataset(each) for each in wire.list_fields(fields, "datasets")]
            self._api.log_datasets(self._run_id, datasets)
        elif line[:1] == b"a":
            self._send_artifact(fields)
        else:
            raise TrackingError("this version of repro does not know what it is")

    def _send_artifact(self, fields: wire.Fields) -> None:
        path = check_artifact_path(wire.get_text(fields, "path"))
        kept = self._box.get_file(wire.get_text(fields, "file"))
        if not kept.exists():  # it was sent, and we were ended before we could note it
            return
        place = find_place(self._api, self._run_id, self._api.get_run(self._run_id).info.artifact_uri)
        with open(kept, "rb") as file:
            place.upload(path, file)
        kept.unlink()

    def _send_batch(self, chunk: Chunk, *, is_first: bool = False) -> None:
        """Send a batch; of one that is refused, its halves, down to the entries that are the reason."""
        error: TrackingError | None = None
        for _ in range(_TRIES):
            if not len(chunk):
                return
            try:
                self._api.log_batch(chunk.format_body(self._run_id), repeatable=not chunk.metrics)
            except AnswerLostError as lost:
                error = lost
                if not chunk.metrics:  # it was sent again as often as is of use
                    break
                chunk = self._without_known(chunk)
            except TrackingError as refusal:
                if is_first and error is None:
                    self._journal.note_not_sent(chunk)
                error = refusal
                break
            else:
                self._tally.sent += len(chunk)
                return
        if len(chunk) and error:
            if not self._is_final(error):
                raise error
            self._part(chunk, error)

    def _is_final(self, error: TrackingError) -> bool:
        """Tell whether asking again is of no use: the server refuses, or fails at this while it takes other things."""
        if not isinstance(error, WAITING):
            return True
        return error.error_code == "INTERNAL_ERROR" and self._can_write()

    def _can_write(self) -> bool:
        """Tell whether the server takes a tag that the run has already."""
        with suppress(TrackingError):
            tags = self._api.get_run(self._run_id).data.tags
            for key in list(tags)[:1]:
                self._api.change_run("set-tag", self._run_id, key=key, value=tags[key])
                return True
        return False

    def _part(self, chunk: Chunk, error: TrackingError) -> None:
        self._gone = self._gone or self._find_gone()
        if self._gone or len(chunk) == 1:
            self._refuse(chunk, self._gone or error.message)
            return
        if chunk.metrics:
            self._journal.note_try(chunk)  # some of it will have arrived, whatever becomes of the rest
        for part in chunk.split():
            self._send_batch(part)

    def _find_gone(self) -> str | None:
        """Return why nothing of the run can be taken."""
        try:
            stage = self._api.get_run(self._run_id).info.lifecycle_stage
        except TrackingNotFoundError as error:
            return error.message
        return None if stage == "active" else f"the run `{self._run_id}` is deleted"

    def _without_known(self, chunk: Chunk) -> Chunk:
        """Return a batch without the points that the run's history on the server has."""
        by_key: dict[str, list[bytes]] = {}
        points = {line: parse_point(line) for line in chunk.metrics}
        for line, metric in points.items():
            by_key.setdefault(metric.key, []).append(line)
        try:
            latest = self._api.get_run(self._run_id).data.points
        except TrackingNotFoundError:
            return chunk  # which is then refused, for this reason
        known: set[bytes] = set()
        for key, lines in by_key.items():
            mine = {identify(points[line].point) for line in lines}
            there = {identify(latest[key])} if key in latest else set()
            if there and mine - there:  # what is the latest says nothing of the others
                there = {identify(each) for each in self._api.get_history(self._run_id, key)}
            known.update(line for line in lines if identify(points[line].point) in there)
        return replace(chunk, metrics=tuple(line for line in chunk.metrics if line not in known))
