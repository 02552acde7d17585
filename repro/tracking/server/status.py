"""Deeds that say how the server is."""

from __future__ import annotations

from repro.tracking.server.calls import Call
from repro.tracking.server.replies import JsonReply, TextReply
from repro.tracking.server.site import Site

API_VERSION = "3.17.2"


def say_hello(site: Site, call: Call) -> TextReply:
    """Tell a person who opens the server's address what it is."""
    return TextReply(
        text="This is `repro server`: an MLflow tracking server. Set MLFLOW_TRACKING_URI to this address.\n"
    )


def say_healthy(site: Site, call: Call) -> TextReply:
    """Answer those who watch whether it runs."""
    return TextReply(text="OK")


def say_version(site: Site, call: Call) -> TextReply:
    """Return the MLflow release whose API is spoken: clients compare it with their own."""
    return TextReply(text=API_VERSION)


def describe_server(site: Site, call: Call) -> JsonReply:
    """Say what clients of MLflow 3 ask before they send large files."""
    off = ("workspaces_enabled", "trace_archival_enabled", "multipart_uploads_enabled", "multipart_downloads_enabled")
    presigned = ("presigned_upload_run_id_supported", "presigned_upload_model_id_supported")
    return JsonReply(
        fields={
            "store_type": "FileStore",
            **dict.fromkeys(off, False),
            **dict.fromkeys(presigned, False),
            "features_enabled": {},
        }
    )
