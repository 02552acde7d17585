"""What a checkup finds: one thing it looked at, how it is, and what mends it."""

from __future__ import annotations

import enum

from repro.values import frozen


class Health(enum.Enum):
    """How something is; only `BAD` makes a checkup end with exit code 1."""

    GOOD = "ok"
    DOUBTFUL = "warning"
    BAD = "bad"


@frozen
class Check:
    """A finding: `about` is what was looked at (`cache`, `index`, ...), `subject` which one, `hint` what mends it."""

    about: str
    subject: str
    health: Health
    text: str
    hint: str | None = None
    details: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Return the finding for `--json`."""
        return {
            "about": self.about,
            "subject": self.subject,
            "health": self.health.value,
            "text": self.text,
            "hint": self.hint,
            "details": list(self.details),
        }
