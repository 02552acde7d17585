from __future__ import annotations

import re
import urllib.error
import urllib.request
from datetime import datetime, timezone

import pytest
from conftest import LocalIndex

from repro.formats.simple_index import IndexFile, parse_html_page
from repro.snapshots.dated_index import format_page, serving_dated_index
from repro.snapshots.indexes import Indexes

DAY = datetime(2021, 1, 1, tzinfo=timezone.utc)


def make_file(name: str, **more: str) -> IndexFile:
    return IndexFile(filename=name, url=f"https://example.org/{name}", **more)  # type: ignore[arg-type]


def test_a_page_has_what_was_there_then_with_what_the_index_says_of_it() -> None:
    files = (
        make_file("x-1.0.tar.gz", upload_time="2020-12-31T23:59:59Z", sha256="a" * 64, requires_python=">=3.6,<4"),
        make_file("x-1.1.tar.gz", upload_time="2021-01-01T00:00:00Z"),
        make_file("x-1.2.tar.gz", yanked='bad "build"'),
    )
    page = format_page(files, DAY).encode()
    read = parse_html_page(page, url="https://example.org/x/")
    assert [(each.filename, each.sha256, each.requires_python, each.yanked) for each in read] == [
        ("x-1.0.tar.gz", "a" * 64, ">=3.6,<4", None),
        ("x-1.2.tar.gz", None, None, 'bad "build"'),
    ]


def get(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_pages_and_files_are_served_to_who_knows_the_place(index: LocalIndex) -> None:
    index.json = True
    old, new = index.add("zeta", "1.0"), index.add("zeta", "2.0")
    index.uploaded = {old.name: "2020-01-01T00:00:00Z", new.name: "2022-01-01T00:00:00Z"}
    with serving_dated_index(Indexes(default_url=index.url), {}, environ={}, before=DAY) as env:
        base = env["PIP_INDEX_URL"]
        assert re.findall(rb">([^<]+)</a>", get(f"{base}zeta/")[1]) == [old.name.encode()]
        assert get(f"{base}zeta/{old.name}") == (200, old.read_bytes())
        assert get(f"{base}nothing/")[0] == 404
        assert get(f"{base}zeta/none.whl")[0] == 404
        guessed = base.replace(base.rstrip("/").rpartition("/")[2], "guess")
        assert get(f"{guessed}zeta/")[0] == 404
    with pytest.raises(urllib.error.URLError):
        get(f"{base}zeta/")
