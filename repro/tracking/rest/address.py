"""Where a tracking server is, how to get to it, and who to be there; nothing of it shows a secret."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from urllib.parse import SplitResult, unquote, urlsplit

from repro import settings
from repro.errors import TrackingError
from repro.values import field, frozen

_PORTS = {"http": 80, "https": 443}


@frozen
class Proxy:
    """A proxy over http; `authorization` is what it is shown."""

    host: str
    port: int
    authorization: str | None = field(default=None, repr=False)


@frozen
class Address:
    """A tracking server: `path` is the prefix it lies below, without a `/` at its end."""

    scheme: str
    host: str
    port: int
    path: str
    authorization: str | None = field(default=None, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    proxy: Proxy | None = None
    trusts_all: bool = False
    server_cert: str | None = None
    client_cert: str | None = None

    @property
    def authority(self) -> str:
        """The host, and the port where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def uri(self) -> str:
        """The tracking URI, without credentials."""
        return f"{self.scheme}://{self.authority}{self.path}"

    @property
    def digest(self) -> str:
        """What names the server in a path, 16 hexadecimal digits."""
        return hashlib.sha256(self.uri.encode()).hexdigest()[:16]

    def hide_secrets(self, text: str) -> str:
        """Return a text, which may be the server's, without our own credentials."""
        for secret in self.secrets:
            text = text.replace(secret, "*****")
        return text


def _format_basic(user: str, password: str) -> str:
    """Return the value of an authorization header (RFC 7617)."""
    import base64

    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _split(uri: str) -> tuple[SplitResult, int]:
    """Return the parts and the port of an http(s) URI. Raises TrackingError, without showing what may be a password."""
    try:
        parts = urlsplit(uri)
        port = parts.port or _PORTS[parts.scheme]
        if not parts.hostname or any(ord(char) < 33 for char in uri):
            raise ValueError
    except (ValueError, KeyError) as error:
        raise TrackingError(
            "the tracking URI is no http(s) URL", hint="MLFLOW_TRACKING_URI=https://mlflow.example.org"
        ) from error
    return parts, port


def _find_authorization(parts: SplitResult, environ: Mapping[str, str]) -> tuple[str | None, tuple[str, ...]]:
    """Return the authorization header and the secrets in it: the URI's user info, else basic, else a token."""
    login = settings.find_tracking_login(environ)
    if parts.username:
        login = (unquote(parts.username), unquote(parts.password or ""))
    if login:
        header = _format_basic(*login)
        secrets = (header.partition(" ")[2], login[1])
        return header, tuple(each for each in secrets if each)
    token = settings.find_tracking_token(environ)
    if token and not token.isprintable():
        raise TrackingError("MLFLOW_TRACKING_TOKEN holds what no header can", hint="is there a line end in it?")
    return (f"Bearer {token}", (token,)) if token else (None, ())


def _find_proxy(scheme: str, authority: str, environ: Mapping[str, str]) -> Proxy | None:
    """Return the proxy that leads to a server. Raises TrackingError, without showing what may be a password."""
    found = settings.find_proxies(environ)
    text = found.get(scheme) or found.get("all")
    if not text:
        return None
    from urllib import request

    if request.proxy_bypass_environment(authority, found):  # type: ignore[attr-defined] # typeshed does not know it
        return None
    parts = urlsplit(text if "://" in text else f"http://{text}")
    if parts.scheme != "http" or not parts.hostname:
        raise TrackingError("the proxy that is named is no http proxy", hint="http_proxy=http://HOST:PORT")
    login = _format_basic(unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    return Proxy(host=parts.hostname, port=parts.port or 80, authorization=login)


def find_address(uri: str, environ: Mapping[str, str]) -> Address:
    """Return the server of a tracking URI, and what variables say of the way to it. Raises TrackingError."""
    parts, port = _split(uri)
    authorization, secrets = _find_authorization(parts, environ)
    server_cert, client_cert = settings.find_tracking_certificates(environ)
    assert parts.hostname
    return Address(
        scheme=parts.scheme,
        host=parts.hostname,
        port=port,
        path=parts.path.rstrip("/"),
        authorization=authorization,
        secrets=secrets,
        proxy=_find_proxy(parts.scheme, f"{parts.hostname}:{port}", environ),
        trusts_all=settings.trusts_any_server(environ),
        server_cert=server_cert and os.path.abspath(server_cert),
        client_cert=client_cert and os.path.abspath(client_cert),
    )
