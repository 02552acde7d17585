"""What a server's answer means: the JSON asked for, or the error it says."""

from __future__ import annotations

import json
from collections.abc import Mapping

from repro.errors import (
    ServerUnavailableError,
    TrackingError,
    TrackingExistsError,
    TrackingNotFoundError,
    TrackingRefusedError,
)
from repro.tracking.rest.address import Address
from repro.values import frozen

LARGEST_BYTES = 1 << 28
"""How much of an answer is held in memory."""
_LONGEST_MESSAGE = 1000
_KINDS: dict[str, type[TrackingError]] = {
    "RESOURCE_DOES_NOT_EXIST": TrackingNotFoundError,
    "NOT_FOUND": TrackingNotFoundError,
    "RESOURCE_ALREADY_EXISTS": TrackingExistsError,
    "PERMISSION_DENIED": TrackingRefusedError,
    "UNAUTHENTICATED": TrackingRefusedError,
    "CUSTOMER_UNAUTHORIZED": TrackingRefusedError,
    "TEMPORARILY_UNAVAILABLE": ServerUnavailableError,
    "REQUEST_LIMIT_EXCEEDED": ServerUnavailableError,
}


class AnswerLostError(ServerUnavailableError):
    """A server may have done what it was asked for, or not: its answer did not come."""


class UnexplainedError(TrackingError):
    """Something refuses in words that are not an MLflow server's: what stands before it, or another server."""


@frozen
class Answer:
    """What a server answered; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def parse_object(body: bytes) -> dict[str, object] | None:
    """Return the JSON object of a body, None for anything else."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _choose_kind(status: int, code: str) -> type[TrackingError]:
    if status in (401, 407):
        return TrackingRefusedError
    if code in _KINDS:
        return _KINDS[code]
    if status == 403:
        return TrackingRefusedError
    if status >= 500 or status in (408, 425, 429):
        return ServerUnavailableError
    return TrackingError if code or status == 413 else UnexplainedError


def make_refusal(address: Address, endpoint: str, answer: Answer) -> TrackingError:
    """Return the error of an answer that is none of success; its text is free of our credentials."""
    found = parse_object(answer.body) or {}
    code, said = str(found.get("error_code") or ""), str(found.get("message") or "")
    if not found and "html" not in answer.headers.get("content-type", ""):
        said = answer.body[:_LONGEST_MESSAGE].decode(errors="replace")
    said = " ".join(address.hide_secrets(said).split())[:_LONGEST_MESSAGE]
    facts = " ".join(each for each in (f"HTTP {answer.status}", code) if each)
    kind = _choose_kind(answer.status, code)
    hint = None
    if kind is TrackingRefusedError:
        hint = "MLFLOW_TRACKING_USERNAME and _PASSWORD, or MLFLOW_TRACKING_TOKEN, say who asks"
    elif 300 <= answer.status < 400:
        said, hint = "it leads elsewhere", "name the place it leads to as the tracking URI"
    elif answer.status == 404 and not code:
        said, hint = said or "it has no such endpoint", "is it an MLflow server, and its tracking URI complete?"
    error = kind(f"`{address.uri}` answers {endpoint} with {facts}{': ' if said else ''}{said}", hint=hint)
    if code:
        error.error_code = code
    return error


def read_object(address: Address, endpoint: str, answer: Answer) -> dict[str, object]:
    """Return the JSON of an answer. Raises the TrackingError it says, ServerUnavailableError for what is no JSON."""
    if not 200 <= answer.status < 300:
        raise make_refusal(address, endpoint, answer)
    found = parse_object(answer.body or b"{}")
    if found is None:
        kind = answer.headers.get("content-type", "no type")
        raise ServerUnavailableError(
            f"`{address.uri}` answers {endpoint} with {kind[:60]} instead of a JSON object",
            hint="is it an MLflow server, and is a login page before it?",
        )
    return found
