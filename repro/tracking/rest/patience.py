"""How often and after which wait a server is asked again: values only."""

from __future__ import annotations

import random
from collections.abc import Callable

from repro.values import frozen

LONGEST_WAIT_S = 60.0
"""However long a server asks us to wait, and however often it was asked."""


@frozen
class Patience:
    """Ask `retries` times again, after `factor_s` doubled each time and up to `jitter_s` more."""

    retries: int = 5
    factor_s: float = 0.5
    jitter_s: float = 0.5

    def compute_wait_s(
        self, tried: int, asked_s: float | None = None, *, draw: Callable[[], float] = random.random
    ) -> float | None:
        """Return the seconds before the next try where there have been `tried`; None for no other.

        What the server asks for (`asked_s`) counts, up to LONGEST_WAIT_S.
        """
        if tried > self.retries:
            return None
        wait_s = self.factor_s * 2.0 ** (tried - 1)
        if asked_s is not None:
            wait_s = asked_s
        return min(wait_s, LONGEST_WAIT_S) + draw() * min(self.jitter_s, max(wait_s, 0.0))


QUICK = Patience(retries=1, factor_s=0.1, jitter_s=0.1)
"""For what is kept on disk where it cannot be sent: the run goes on."""


def parse_retry_after(text: str | None, *, now_s: float) -> float | None:
    """Return the seconds that a Retry-After asks for, as a number or as a date (RFC 9110, 10.2.3); None for neither."""
    text = (text or "").strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    from email.utils import parsedate_to_datetime

    try:
        return max(parsedate_to_datetime(text).timestamp() - now_s, 0.0) if text else None
    except (ValueError, TypeError, OverflowError):
        return None
