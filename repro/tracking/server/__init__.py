"""MLflow's REST API over the plain-file store: for MLflow clients of any version and language."""

from __future__ import annotations

from repro.tracking.server.endpoint import Endpoint, is_loopback, serve_in_background

__all__ = ["Endpoint", "is_loopback", "serve_in_background"]
