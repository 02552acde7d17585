"""Ask a model about a file: what `repro predict` does, in the model's own environment or in the one that is here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from repro.environments.machine import Machine
from repro.formats.signature import Signature
from repro.models.conform import conform_input, conform_params
from repro.models.load import LoadRequest, plan_model
from repro.models.score_file import FileType, parse_input
from repro.models.scored import encode_input, read_answers
from repro.models.worker import Worker, begin_worker
from repro.models.worker_process import WorkerLostError
from repro.values import frozen, replace

if TYPE_CHECKING:
    from repro.formats.scoring import ScoringBody


@frozen
class Question:
    """The content of a file and its type, how messages call it, and what the answer is to be written as."""

    content: bytes
    type: FileType
    where: str
    answer_type: FileType = FileType.JSON
    params: Mapping[str, object] | None = None


def _ask(worker: Worker, body: ScoringBody, signature: Signature | None, answer_type: FileType) -> object:
    input_ = conform_input(body, signature, wants_frame=bool(worker.facts["wants_frame"]))
    params = conform_params(body.params, signature.params if signature else None)
    buffers: list[bytes] = []
    fields = {"calls": [encode_input(input_, buffers)], "params": params, "form": answer_type.value}
    header, received = worker.ask("score", fields, buffers)
    try:
        (answer,) = read_answers(header, received, 1)
    except ValueError as error:
        raise WorkerLostError(f"the process that holds the model has sent no answer: {error}") from error
    if isinstance(answer, Exception):
        raise answer
    return answer


def predict_file(
    machine: Machine, request: LoadRequest, question: Question, say: Callable[[str], None], *, here: str | None = None
) -> object:
    """Return the model's answer to a file, as JSON can say it; bytes where it is to be Parquet.

    One that is not restored is asked in the environment of `here`, else in the active one. Raises ModelError,
    UsageError, TrackingError and what restoring raises.
    """
    model = plan_model(machine, request, say, here=here)
    signature = model.directory.model.signature
    worker = begin_worker(model.plan, meanwhile=model.mind)
    try:
        names = tuple(each.name for each in (signature.params if signature else None) or ())
        body = parse_input(question.content, question.type, where=question.where, known_params=names)
        params = {**(body.params or {}), **(question.params or {})}
        worker.hear_loaded()
        return _ask(worker, replace(body, params=params), signature, question.answer_type)
    finally:
        worker.close()
