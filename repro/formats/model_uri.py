"""The `models:` URIs of MLflow as values: which model of a registry is meant, or which logged model.

    models:/<name>/<version>  models:/<name>/latest  models:/<name>/<stage>  models:/<name>@<alias>  models:/<model id>

Names, stages and aliases stand as they are, without percent-encoding, as MLflow has it.
"""

from __future__ import annotations

import re

from repro.errors import UsageError
from repro.formats.direct_url import clean_url
from repro.values import frozen

_URI = re.compile(r"models:(?://)?/(?P<rest>[^/].*)", re.DOTALL)
_LATEST = "latest"
_MOST_DIGITS = 18
FORMS = "`models:/NAME/VERSION`, `models:/NAME@ALIAS`, `models:/NAME/latest`, `models:/NAME/STAGE` or `models:/m-ID`"


@frozen
class LoggedModelWish:
    """A model that a run has logged."""

    model_id: str


@frozen
class VersionWish:
    """A version of a registered model."""

    name: str
    number: int


@frozen
class StageWish:
    """The newest version of a registered model in a stage; in any stage where that is None."""

    name: str
    stage: str | None


@frozen
class AliasWish:
    """The version of a registered model that an alias names."""

    name: str
    alias: str


ModelWish = LoggedModelWish | VersionWish | StageWish | AliasWish


def _parse_suffix(name: str, suffix: str) -> ModelWish:
    if suffix.isascii() and suffix.isdecimal():
        if len(suffix) > _MOST_DIGITS:
            raise UsageError(f"`{suffix[:_MOST_DIGITS]}...` is no number of a version", hint=FORMS)
        return VersionWish(name=name, number=int(suffix))
    return StageWish(name=name, stage=None if suffix.lower() == _LATEST else suffix)


def parse_model_uri(uri: str) -> ModelWish:
    """Return which model a `models:` URI means. Raises UsageError for one that means none."""
    match = _URI.fullmatch(uri)
    parts = match["rest"].split("/") if match else []
    if len(parts) == 2 and all(part.strip() for part in parts):
        return _parse_suffix(*parts)
    if len(parts) == 1 and "@" not in parts[0]:
        return LoggedModelWish(model_id=parts[0])
    name, _, alias = parts[0].rpartition("@") if len(parts) == 1 else ("", "", "")
    if name.strip() and alias.strip():
        return AliasWish(name=name, alias=alias)
    raise UsageError(f"`{clean_url(uri)}` names no model", hint=FORMS)


def format_model_uri(wish: ModelWish) -> str:
    """Return the URI of a model."""
    match wish:
        case LoggedModelWish(model_id=model_id):
            return f"models:/{model_id}"
        case VersionWish(name=name, number=number):
            return f"models:/{name}/{number}"
        case StageWish(name=name, stage=stage):
            return f"models:/{name}/{stage or _LATEST}"
        case AliasWish(name=name, alias=alias):
            return f"models:/{name}@{alias}"
