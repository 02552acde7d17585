"""What clients may change: everything, or one run and the runs that they make here."""

from __future__ import annotations

from repro.tracking.server.refusal import Refusal


class Permit:
    """The runs that may be changed; without `allowed_run` all of them, and all else."""

    def __init__(self, allowed_run: str | None) -> None:
        self._runs = None if allowed_run is None else {allowed_run}

    def check_run(self, run_id: str) -> None:
        """Let a run be changed. Raises Refusal."""
        if self._runs is not None and run_id not in self._runs:
            raise Refusal("PERMISSION_DENIED", f"only the runs made here may be changed, and not `{run_id}`")

    def check_removal(self, what: str) -> None:
        """Let something be removed or renamed that many runs share. Raises Refusal."""
        if self._runs is not None:
            raise Refusal("PERMISSION_DENIED", f"{what} may not be changed here: only a run is open to clients")

    def note_run(self, run_id: str) -> None:
        """Remember that a run was made here."""
        if self._runs is not None:
            self._runs.add(run_id)
