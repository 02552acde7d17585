"""What a request ends with instead of an answer: MLflow's error codes and the HTTP status of each."""

from __future__ import annotations

from repro.errors import TrackingError

STATUSES = {
    "BAD_REQUEST": 400,
    "INVALID_PARAMETER_VALUE": 400,
    "RESOURCE_ALREADY_EXISTS": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "ENDPOINT_NOT_FOUND": 404,
    "RESOURCE_DOES_NOT_EXIST": 404,
    "INTERNAL_ERROR": 500,
    "NOT_IMPLEMENTED": 501,
    "TEMPORARILY_UNAVAILABLE": 503,
}


class Refusal(Exception):
    """A request that is not done; `status` is that of the error code where none is given."""

    def __init__(self, error_code: str, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.error_code = error_code
        self.message = message
        self.status = status or STATUSES[error_code]


def refuse_error(error: TrackingError) -> Refusal:
    """Return the refusal that says what a deed raised."""
    known = error.error_code in STATUSES
    return Refusal(error.error_code if known else "INTERNAL_ERROR", error.message)
