"""Errors a user can mend, and the exit code each ends a command with.

Every expected failure is a `ReproError`: one sentence that says what was wrong, with the value in backticks, and, where
it is known, a hint with the command that mends it. Only the command line's entry catches them.
"""

from __future__ import annotations


class ExitCode:
    """Number the documented exit codes (docs/commands.md)."""

    DONE = 0
    NO = 1
    USAGE = 2
    SNAPSHOT = 3
    RESTORE = 4
    FAILED = 5
    INTERRUPTED = 130
    TERMINATED = 143


class ReproError(Exception):
    """Say in one sentence what went wrong, and in `hint` what mends it.

    `details` are further lines, one fault each, shown below the sentence.
    """

    exit_code = ExitCode.FAILED

    def __init__(self, message: str, *, hint: str | None = None, details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details

    def __str__(self) -> str:
        lines = [self.message, *(f"  {detail}" for detail in self.details)]
        if self.hint:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)


class UsageError(ReproError):
    """A value given by the caller cannot be used."""

    exit_code = ExitCode.USAGE


class SnapshotNotFoundError(ReproError):
    """There is no lock file where one was looked for."""

    exit_code = ExitCode.SNAPSHOT


class InvalidSnapshotError(ReproError):
    """A lock file cannot be read; `details` names every fault with its line."""

    exit_code = ExitCode.SNAPSHOT


class NotObservedError(ReproError):
    """What was used is asked for, and no run was observed."""

    exit_code = ExitCode.SNAPSHOT


class RestoreError(ReproError):
    """An environment could not be made equal to its lock."""

    exit_code = ExitCode.RESTORE


class InterpreterNotFoundError(RestoreError):
    """No Python on this machine fits; `details` lists those found."""


class ProjectError(ReproError):
    """A project's own files are wrong."""


class ModelError(ReproError):
    """A model cannot be saved, read, loaded or asked; the message names the model and the place."""


class TrackingError(ReproError):
    """A run, an experiment or one of their values cannot be read or written; `error_code` is MLflow's word for why."""

    error_code = "INVALID_PARAMETER_VALUE"


class TrackingNotFoundError(TrackingError):
    """There is no such run, experiment, artifact, model or version."""

    error_code = "RESOURCE_DOES_NOT_EXIST"


class TrackingExistsError(TrackingError):
    """The name is taken."""

    error_code = "RESOURCE_ALREADY_EXISTS"


class TrackingRefusedError(TrackingError):
    """A server knows who asks, or does not, and refuses."""

    error_code = "PERMISSION_DENIED"


class ServerUnavailableError(TrackingError):
    """A tracking server gives no answer, or none that means anything; the same call may succeed later."""

    error_code = "TEMPORARILY_UNAVAILABLE"


class SnapshotNotRestoredWarning(UserWarning):
    """Code runs in an environment that does not satisfy its lock."""


class Terminated(BaseException):
    """SIGTERM arrived: unwind like ctrl-C, so that nothing half-made stays."""
