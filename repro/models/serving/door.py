"""Who may ask a served model: the Host that a request names, the page that it comes from, and its token."""

from __future__ import annotations

import hmac

from repro.formats.scoring import ScoringError
from repro.tracking.server.guard import Guard
from repro.tracking.server.refusal import Refusal

_OPEN_PATHS = frozenset(
    {"/", "/ping", "/health"}
)  # the page holds nothing of the model; the others say whether it runs
_MOST_KNOWN = 64


class Door:
    """Let requests in; `names` are those of this server beside addresses, `token` None asks for none."""

    def __init__(self, *, names: frozenset[str], token: str | None) -> None:
        self._guard = Guard(names=names, token=None)
        self._token = token.encode() if token else None
        self._known: set[tuple[bytes | None, bytes | None]] = set()

    def _check_origin(self, host: bytes | None, origin: bytes | None) -> None:
        if (host, origin) in self._known:
            return
        try:
            self._guard.check(
                path="/",
                host=None if host is None else host.decode("latin-1"),
                origin=None if origin is None else origin.decode("latin-1"),
                authorization=None,
            )
        except Refusal as refusal:
            raise ScoringError(str(refusal), status=403, error_code="PERMISSION_DENIED") from refusal
        if len(self._known) < _MOST_KNOWN:
            self._known.add((host, origin))

    def check(self, path: str, *, host: bytes | None, origin: bytes | None, authorization: bytes | None) -> None:
        """Let a request in. Raises ScoringError (401, 403)."""
        self._check_origin(host, origin)
        if self._token is None or path in _OPEN_PATHS:
            return
        scheme, _, given = (authorization or b"").strip().partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(given.strip(), self._token):
            raise ScoringError(
                "the token is missing or wrong: `Authorization: Bearer TOKEN`", status=401, error_code="UNAUTHENTICATED"
            )
