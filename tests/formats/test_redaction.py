"""Credentials in URLs and in what other programs say."""

from __future__ import annotations

import pytest

from repro.formats.direct_url import clean_url
from repro.formats.redaction import drop_login, redact


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no URL: a@b", "no URL: a@b"),
        ("see https://example.org/simple, please", "see https://example.org/simple, please"),
        ("`https://u:p@example.org/x`: failed", "`https://example.org/x`: failed"),
        ("`https://u:p@ss@example.org/x` failed", "`https://example.org/x` failed"),
        ("https://u:pa/ss@example.org/x failed", "https://example.org/x failed"),
        ("https://u:12/34@example.org/x failed", "https://example.org/x failed"),
        ("https://u:p'q@example.org/x", "https://example.org/x"),
        ("https://u:p?q@example.org/x", "https://example.org/x"),
        ("https://token@example.org:8080/x#y", "https://example.org:8080/x#y"),
        ("(https://example.org/x?token=a)b`), then", "(https://example.org/x`), then"),
        ("https://example.org/x?mail=a@b.org y", "https://example.org/x y"),
        ("git+https://u:p@example.org/x@v1#egg=a", "git+https://example.org/x@v1#egg=a"),
        ("git+ssh://git@example.org/x.git@abc", "git+ssh://example.org/x.git@abc"),
        ("http://u:p@[::1]:80/x", "http://[::1]:80/x"),
        ("two http://a@h/ http://b@h/", "two http://h/ http://h/"),
    ],
)
def test_user_info_and_queries_are_taken_out_of_text(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://u:p@example.org/x?t=1#f", "https://example.org/x"),
        ("https://u:p@ss@example.org/x", "https://example.org/x"),
        ("https://u:pa/ss@example.org/x", "https://example.org/x"),
        ("ssh://git:p@example.org/x", "ssh://git@example.org/x"),
        ("ssh://me:p@example.org/x", "ssh://example.org/x"),
        ("https://u:p@[::1/x?t=1", "https://[::1/x"),
        ("/a/path", "/a/path"),
    ],
)
def test_a_url_is_cleaned_of_all_that_could_be_secret(url: str, expected: str) -> None:
    assert clean_url(url) == expected


def test_what_is_no_url_has_no_login() -> None:
    assert drop_login("a@b") == "a@b"
