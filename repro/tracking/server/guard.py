"""Who may ask: the Host that a request names, the page that it comes from, and its token.

A web page that its author points at this machine (DNS rebinding) names a foreign Host, and a page of another site a
foreign Origin: both are refused, whatever they ask for.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress

from repro.tracking.server.refusal import Refusal
from repro.values import frozen

_OPEN_PATHS = frozenset({"/health"})  # for those who watch whether it runs


def _strip_port(host: str) -> str:
    """Return the name or address of a Host, in lower case and without its port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower() if "]" in host else ""
    name, _, port = host.rpartition(":")
    return (name if name and port.isdecimal() else host).lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _find_secret(authorization: str) -> bytes | None:
    """Return the token of `Bearer TOKEN`, or the password of `Basic`; headers are read as Latin-1."""
    scheme, _, value = authorization.strip().partition(" ")
    if scheme.lower() == "bearer":
        return value.strip().encode("latin-1", "replace")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return None


@frozen
class Guard:
    """What a request must show: `names` are those of this server beside addresses, `token` None lets everybody in."""

    names: frozenset[str]
    token: str | None

    def check(self, *, path: str, host: str | None, origin: str | None, authorization: str | None) -> None:
        """Let a request in. Raises Refusal."""
        self._check_host(host)
        self._check_origin(origin, host)
        if path not in _OPEN_PATHS:
            self._check_token(authorization)

    def _check_host(self, host: str | None) -> None:
        """An address in digits is no name that a foreign DNS could point here."""
        name = _strip_port(host or "")
        if name not in self.names and not _is_address(name):
            raise Refusal("PERMISSION_DENIED", "the request's Host is not this server; see `--allowed-host`")

    def _check_origin(self, origin: str | None, host: str | None) -> None:
        """A browser's own page may ask; it names the server that it came from."""
        if origin is not None and origin.partition("://")[2].lower() != (host or "").lower():
            raise Refusal("PERMISSION_DENIED", "the request comes from a page of another site")

    def _check_token(self, authorization: str | None) -> None:
        if not self.token:
            return
        given = _find_secret(authorization or "")
        if given is None or not hmac.compare_digest(given, self.token.encode()):
            raise Refusal(
                "UNAUTHENTICATED", "the token is missing or wrong; MLflow's clients take it from MLFLOW_TRACKING_TOKEN"
            )
