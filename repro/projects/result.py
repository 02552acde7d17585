"""Say how a run ended."""

from __future__ import annotations

from repro.environments.lookup import Environment
from repro.formats.run_meta import RunStatus
from repro.values import frozen


@frozen
class RunResult:
    """How a run ended: its id, status, the child's exit code (128+N for signal N), and where its snapshot is kept.

    `used` is how many distributions it has used, None where that was not observed; `failure` is what it ended with.
    """

    run_id: str
    experiment_id: str
    status: RunStatus
    exit_code: int
    artifacts: str
    digest: str | None
    environment: Environment | None
    used: int | None = None
    failure: str | None = None

    def to_dict(self) -> dict[str, object]:
        """Return the result for `--json`."""
        return {
            "run_id": self.run_id,
            "experiment_id": self.experiment_id,
            "status": self.status.name,
            "exit_code": self.exit_code,
            "stage": "child",
            "artifacts": self.artifacts,
            "digest": self.digest,
            "used": self.used,
            "failure": self.failure,
            "restored": self.environment is not None,
            "environment": self.environment.to_dict() if self.environment else None,
        }
