"""`models:` URIs as values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.errors import UsageError
from repro.formats.model_uri import (
    AliasWish,
    LoggedModelWish,
    ModelWish,
    StageWish,
    VersionWish,
    format_model_uri,
    parse_model_uri,
)

TABLE = [
    ("models:/wine/3", VersionWish(name="wine", number=3)),
    ("models:/red wine/12", VersionWish(name="red wine", number=12)),
    ("models:/wine/latest", StageWish(name="wine", stage=None)),
    ("models:/wine/Production", StageWish(name="wine", stage="Production")),
    ("models:/wine@champion", AliasWish(name="wine", alias="champion")),
    ("models:/a@b@champion", AliasWish(name="a@b", alias="champion")),
    ("models:/m-0123", LoggedModelWish(model_id="m-0123")),
    ("models:/a@b/1", VersionWish(name="a@b", number=1)),
]


@pytest.mark.parametrize(("uri", "wish"), TABLE)
def test_a_uri_is_read_and_written(uri: str, wish: ModelWish) -> None:
    assert parse_model_uri(uri) == wish
    assert format_model_uri(wish) == uri
    assert parse_model_uri(uri.replace("models:/", "models:///")) == wish


NONE = ["models:", "models:/", "models://", "models://host/a/1", "models:/a/", "models:/a/b/c", "models:/@b"]


@pytest.mark.parametrize("uri", NONE)
def test_what_names_no_model_is_refused(uri: str) -> None:
    with pytest.raises(UsageError, match="names no model") as caught:
        parse_model_uri(uri)
    assert "`models:/NAME/VERSION`" in str(caught.value.hint)


def test_a_number_that_no_version_has_is_refused() -> None:
    with pytest.raises(UsageError, match="is no number of a version"):
        parse_model_uri(f"models:/wine/1{'0' * 5000}")


@given(st.text())
def test_any_text_is_a_model_or_refused(text: str) -> None:
    uri = f"models:/{text}"
    try:
        wish = parse_model_uri(uri)
    except UsageError:
        return
    assert parse_model_uri(format_model_uri(wish)) == wish
