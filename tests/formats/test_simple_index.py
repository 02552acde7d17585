"""Pages of the simple API: JSON and HTML, the fast reading of one version, and hostile ones."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from repro.formats import simple_index
from repro.formats.simple_index import (
    IndexFile,
    is_file_name,
    parse_html_page,
    parse_json_page,
    select_version,
)

PAGE = "https://example.org/simple/x/"
SHA256 = "0123456789abcdef" * 4
WHEEL = "x-1.0-py3-none-any.whl"


def make_entry(filename: str = WHEEL, **more: object) -> dict[str, object]:
    return {"filename": filename, "url": f"https://example.org/files/{filename}", "hashes": {}, **more}


def dump(*entries: object, **more: object) -> bytes:
    return json.dumps({"meta": {"api-version": "1.1"}, "name": "x", "files": entries, **more}).encode()


def parse_one(**more: object) -> IndexFile:
    (file,) = parse_json_page(dump(make_entry(**more)), url=PAGE, index="i")
    return file


def test_a_json_entry_is_read_whole() -> None:
    file = parse_one(
        hashes={"md5": "x", "sha256": SHA256.upper()},
        size=12,
        yanked="bad\nbuild",
        **{"core-metadata": {"sha256": SHA256}, "upload-time": "2024-01-02T03:04:05Z", "requires-python": ">=3"},
    )
    assert file == IndexFile(
        filename=WHEEL,
        url=f"https://example.org/files/{WHEEL}",
        sha256=SHA256,
        size_bytes=12,
        yanked="bad build",
        metadata_sha256=SHA256,
        upload_time="2024-01-02T03:04:05Z",
        requires_python=">=3",
        index="i",
    )
    assert (file.is_wheel, file.version, file.project, file.tags) == (True, "1.0", "x", {"py3-none-any"})


@pytest.mark.parametrize(
    ("yanked", "expected"), [(False, None), (None, None), (True, ""), ("", ""), ("why", "why"), (7, "")]
)
def test_yanked_is_a_reason_or_true(yanked: object, expected: str | None) -> None:
    assert parse_one(yanked=yanked).yanked == expected


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("core-metadata", {"sha256": SHA256}, SHA256),
        ("dist-info-metadata", {"sha256": SHA256}, SHA256),
        ("data-dist-info-metadata", {"sha256": SHA256}, None),
        ("core-metadata", True, None),
        ("core-metadata", {"sha256": "short"}, None),
    ],
)
def test_the_digest_of_metadata_is_found_under_both_of_its_names(key: str, value: object, expected: str | None) -> None:
    assert parse_one(**{key: value}).metadata_sha256 == expected


@pytest.mark.parametrize("value", ["z" * 64, SHA256[:-1], 5, None, [SHA256]])
def test_what_is_no_sha256_is_none(value: object) -> None:
    assert parse_one(hashes={"sha256": value}).sha256 is None
    assert parse_one(hashes=value).sha256 is None


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        (WHEEL, ("x", "1.0", True)),
        ("X_y.Z-1.0-1build-cp311-abi3-linux_x86_64.whl", ("x-y-z", "1.0", True)),
        ("torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl", ("torch", "2.13.0+cpu", True)),
        ("some-name-1.0.tar.gz", ("some-name", "1.0", False)),
        ("x-2024.01.zip", ("x", "2024.01", False)),
    ],
)
def test_project_and_version_are_read_from_the_name(filename: str, expected: tuple[str, str, bool]) -> None:
    file = parse_one(filename=filename)
    assert (file.project, file.version, file.is_wheel) == expected


@pytest.mark.parametrize(
    "filename",
    [
        "", "x", "x.whl", "x-1.0.whl", "x-1.0-py3-none.whl", "x-1.0-py3.none-any.whl", "../x-1.0-py3-none-any.whl",
        "a/x-1.0.tar.gz", "x-1.0-py3-none-any.whl\n", "x 1-1.0.tar.gz", "x-1.0.exe", "x-1.0.tar.gz.asc", ".tar.gz",
        "é-1.0.tar.gz", "x-1.0-py3-none-any.whl\x00.tar.gz", "x" * 300 + "-1.0.tar.gz", "x-1.0`-py3-none-any.whl",
    ],
)  # fmt: skip
def test_a_name_that_is_no_wheels_or_sdists_is_passed_over(filename: str) -> None:
    assert not is_file_name(filename)
    assert parse_json_page(dump(make_entry(filename), make_entry()), url=PAGE) == parse_json_page(
        dump(make_entry()), url=PAGE
    )


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("../../files/f.whl", "https://example.org/files/f.whl"),
        ("/f.whl", "https://example.org/f.whl"),
        ("//cdn.example.org/f.whl", "https://cdn.example.org/f.whl"),
        ("http://example.org:8080/f.whl?token=1", "http://example.org:8080/f.whl?token=1"),
        ("https://user:secret@example.org/f.whl#sha256=1", "https://example.org/f.whl"),
        ("f%20g.whl", "https://example.org/simple/x/f%20g.whl"),
        ("file:///etc/passwd", None),
        ("FILE:///etc/passwd", None),
        ("file:f.whl", None),
        ("ftp://example.org/f.whl", None),
        ("javascript:alert(1)", None),
        ("https:///f.whl", "https://example.org/f.whl"),
        ("https://[::1/f.whl", None),
        ("https://example.org:99999/f.whl", None),
        ("https://example.org:x/f.whl", None),
    ],
)
def test_where_a_file_is_follows_the_page_and_never_leads_to_this_machine(place: str, expected: str | None) -> None:
    (good,) = parse_json_page(dump(make_entry()), url=PAGE)
    files = parse_json_page(dump(make_entry(url=place), make_entry()), url=PAGE)
    assert [each.url for each in files if each != good] == ([expected] if expected else [])
    html = f'<a href="{place.replace("f.whl", WHEEL)}">x</a>'.encode()
    linked = [each.url for each in parse_html_page(html, url=PAGE)]
    assert linked in ([], [(expected or "").replace("f.whl", WHEEL)])
    assert not any(url.startswith("file") for url in linked)


def test_a_base_leads_no_remote_page_to_this_machine() -> None:
    for base in ("file:///etc/", "FILE:///etc/"):
        for href in (WHEEL, f"FILE:///etc/{WHEEL}", f"file:///etc/{WHEEL}"):
            page = f'<base href="{base}"><a href="{href}">x</a>'.encode()
            assert parse_html_page(page, url=PAGE) == ()
            assert parse_html_page(page, url="file:///index/x/index.html")[0].url == f"file:///etc/{WHEEL}"


def test_an_html_page_is_read_as_the_json_one() -> None:
    page = f"""<!DOCTYPE html><html><head><meta name="pypi:repository-version" content="1.3">
    <base href="/files/"></head><body>
    <a href="{WHEEL}#sha256={SHA256}" data-yanked="b&amp;d" data-core-metadata="sha256={SHA256}">x</a><br/>
    <A HREF='x-1.0.tar.gz#md5=1' data-yanked data-dist-info-metadata="true">x</A>
    <a href="torch-2%2Bcpu-py3-none-any.whl">x</a><a>none</a><a href="">none</a><a href="readme.txt">x</a>"""
    wheel, sdist, local = parse_html_page(page.encode(), url=PAGE, index="i")
    assert wheel == IndexFile(
        filename=WHEEL,
        url=f"https://example.org/files/{WHEEL}",
        sha256=SHA256,
        yanked="b&d",
        metadata_sha256=SHA256,
        index="i",
    )
    assert (sdist.filename, sdist.sha256, sdist.yanked, sdist.metadata_sha256) == ("x-1.0.tar.gz", None, "", None)
    assert (local.filename, local.url) == (
        "torch-2+cpu-py3-none-any.whl",
        "https://example.org/files/torch-2%2Bcpu-py3-none-any.whl",
    )


@pytest.mark.parametrize(
    "content",
    [
        b"", b"null", b"[]", b"7", b'"x"', b"{}", b"\xff\xfe", b'{"files": 3}', b'{"files": {}}', b'{"files": null}',
        b'{"files": [], "meta": 3}', b'{"files": [], "meta": []}', b'{"files": [], "meta": null}', b'{"files": [}',
        b"[" * 100_000, b'{"files": ' + b"[" * 100_000, b"<html></html>",
    ],
)  # fmt: skip
@pytest.mark.parametrize("version", [None, "1.0"])
def test_what_is_no_page_is_refused(content: bytes, version: str | None) -> None:
    with pytest.raises(ValueError, match="not a page of the simple API"):
        parse_json_page(content, url=PAGE, version=version)


@pytest.mark.parametrize("entry", [None, 3, "x", [], {}, {"filename": WHEEL}, {"url": "x"}, {"filename": 3, "url": 4}])
def test_an_entry_that_is_none_is_passed_over(entry: object) -> None:
    assert len(parse_json_page(dump(entry, make_entry()), url=PAGE)) == 1


@pytest.mark.parametrize("version", ["2.0", "2", "10.0", "0.9", "x", "", "1.x", 1.5, None])
def test_another_version_of_the_api_is_refused(version: object) -> None:
    page = dump(make_entry(), make_entry("x-1.0.tar.gz"), meta={"api-version": version})
    if version == 1.5:
        assert parse_json_page(page, url=PAGE, version="1.0")
        return
    for asked in (None, "1.0"):
        with pytest.raises(ValueError, match="this repro version 1"):
            parse_json_page(page, url=PAGE, version=asked)
    html = f'<meta name="pypi:repository-version" content="{version}">'.encode()
    with pytest.raises(ValueError, match="this repro version 1"):
        parse_html_page(html, url=PAGE)


@pytest.mark.parametrize(
    "content", [b"<![x[", b"<!" * 1000, b"<a " * 5000, b"\x00\xff<a href=", b"<a href='http://[x'>"]
)
def test_damaged_html_gives_no_file_or_one_sentence(content: bytes) -> None:
    try:
        assert parse_html_page(content, url=PAGE) == ()
    except ValueError as error:
        assert str(error) == "not a page of links: its HTML cannot be read"  # noqa: PT017


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.0", ["x-1.0-py3-none-any.whl", "x-1.0.tar.gz"]),
        ("1.0.0", ["x-1.0-py3-none-any.whl", "x-1.0.tar.gz"]),
        ("2024.1", ["x-2024.01.tar.gz"]),
        ("2024.01", ["x-2024.01.tar.gz"]),
        ("3.0.post1", ["x-3.0_1-py3-none-any.whl", "x-3.0.post1.tar.gz"]),
        ("1.0.1", []),
        ("2.0+cpu.1", ["x-2.0+cpu_1-py3-none-any.whl"]),
        ("2.0", []),
        ("nonsense", []),
    ],
)
def test_a_version_is_found_however_it_is_spelled(version: str, expected: list[str]) -> None:
    names = ["x-1.0-py3-none-any.whl", "x-1.0.tar.gz", "x-2024.01.tar.gz", "x-3.0_1-py3-none-any.whl",
             "x-3.0.post1.tar.gz", "x-2.0+cpu_1-py3-none-any.whl", "x-0.1nonsense.tar.gz"]  # fmt: skip
    page = dump(*map(make_entry, names))
    for asked in (version, None):
        found = select_version(parse_json_page(page, url=PAGE, version=asked), version)
        assert [each.filename for each in found] == expected


VERSIONS = ["1.0", "1.0.0", "1.0.1", "11.0", "1.0rc1", "1.0.post1", "01.0", "1.0+cpu", "2.0", "0.1.0", "1!1.0", "1.0_1"]
TRICKY = ["-1.0", "{", "}", "[", ']"', '"files": [', "\\", "\\u002d1.0", "{}-1.0", '"filename"', ", {", "é\u2028", '"',
          '"api-version": "2.0"', "x-1.0.tar.gz", "files", "api-version"]  # fmt: skip
texts = st.lists(st.sampled_from([*TRICKY, "a", " "]), max_size=4).map("".join)
filenames = st.builds(
    lambda version, suffix: f"x-{version}{suffix}",
    st.sampled_from(VERSIONS),
    st.sampled_from(["-py3-none-any.whl", ".tar.gz", "-cp311-cp311-linux_x86_64.whl", ".exe", ".zip"]),
)
nested: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers() | texts | filenames,
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(["filename", "url", "files", "x", "meta", "api-version"]), children, max_size=3
        )
    ),
    max_leaves=5,
)


def shuffle(draw: Any, content: dict[str, object]) -> dict[str, object]:
    return {key: content[key] for key in draw(st.permutations(list(content)))}


entries = st.builds(
    lambda filename, url, more, last: {**more, "filename": filename, "url": url or filename, **last},
    filenames,
    st.sampled_from([None, "a", "/x-1.0"]),
    st.dictionaries(st.sampled_from(["hashes", "core-metadata", "extra"]), nested, max_size=2),
    st.sampled_from(
        [{}, {"yanked": "-1.0 [{"}, {"hashes": {"sha256": SHA256}}, {"extra": [{"filename": "x-1.0.zip"}]}]
    ),
)
tops = st.fixed_dictionaries(
    {
        "meta": st.sampled_from([{}, {"api-version": "1.0"}, {"x": {}, "api-version": "1.2"}]),
        "files": st.lists(entries, max_size=4),
    },
    optional={
        "versions": st.sampled_from([VERSIONS, ["x-1.0"], []]),
        "name": st.sampled_from(["x-1.0", "files", "x"]),
        "_extra": nested,
    },
)


def escape(text: str, char: str | None, start: int) -> str:
    """Write one character of a JSON text as an escape, where that leaves the same content."""
    at = text.find(char, min(start, len(text))) if char else -1
    changed = f"{text[:at]}\\u{ord(text[at]):04x}{text[at + 1 :]}" if at >= 0 else text
    try:
        return changed if json.loads(changed) == json.loads(text) else text
    except ValueError:
        return text


@st.composite
def pages(draw: Any) -> str:
    content = draw(tops)
    usual: list[Any] = [make_entry(), make_entry("x-1.0.zip", url="x-1.0.zip")]
    content["files"] = draw(
        st.sampled_from([[*usual, *content["files"]], [*content["files"], *usual], content["files"]])
    )
    text = json.dumps(
        {key: content[key] for key in draw(st.permutations(list(content)))},
        indent=draw(st.sampled_from([None, None, 1, 70])),
        separators=draw(st.sampled_from([None, (",", ":"), (" , ", " : ")])),
        ensure_ascii=draw(st.booleans()),
    )
    return escape(text, draw(st.sampled_from([None, None, "-1.0", "1.0.zip", "filename"])), draw(st.integers(0, 400)))


def read_or_refuse(text: str, version: str, asked: str | None) -> object:
    try:
        return select_version(parse_json_page(text.encode(), url=PAGE, version=asked), version)
    except ValueError:
        return "refused"


USUAL = f'{{"filename": "{WHEEL}", "url": "a"}}, {{"filename": "x-1.0.zip", "url": "a"}}'


@settings(max_examples=300, deadline=None)
@given(pages(), st.sampled_from(["1.0", "1.0", "1.0", *VERSIONS]))
@example(f'{{"files": [{{"extra": {{"filename": "x-1.0.tar", "url": "a"}}}}, {USUAL}]}}', "1.0")
@example(f'{{"files": [{{"extra": [{{"filename": "x-1.0.tar", "url": "a"}}]}}, {USUAL}]}}', "1.0")
@example(f'{{"files": [{{"filename": "x\\u002d1.0.tar", "url": "a"}}, {USUAL}]}}', "1.0")
@example(f'{{"a": {{"files": [{USUAL}]}}, "files": []}}', "1.0")
@example(f'{{"files": [], "a": [{USUAL}]}}', "1.0")
@example(f'{{"meta": {{"api-version": "2.0"}}, "files": [{{"api-version": "1.0"}}, {USUAL}]}}', "1.0")
def test_the_fast_reading_of_a_version_is_the_whole_reading(text: str, version: str) -> None:
    whole = read_or_refuse(text, version, None)
    if whole != "refused" or "2.0" in text:
        assert read_or_refuse(text, version, version) == whole


def test_an_ordinary_page_is_read_fast_and_an_unusual_one_whole() -> None:
    usual_entries = [
        make_entry(f"x-{each}{end}") for each in ("1.0", "1.0.1", "2.0") for end in ("-py3-none-any.whl", ".zip")
    ]
    for entry in usual_entries:
        entry |= {"core-metadata": {"sha256": SHA256}, "hashes": {"sha256": SHA256}}
    usual = dump(*usual_entries).decode()
    sorted_keys = json.dumps(json.loads(usual), sort_keys=True)
    for text in (usual, sorted_keys):
        found = simple_index._find_files(text, "1.0", url=PAGE, index="")
        assert found is not None
        assert select_version(found, "1.0") == select_version(parse_json_page(text.encode(), url=PAGE), "1.0")
    unusual = [
        usual.replace("-1.0", "\\u002d1.0", 1),
        usual.replace('"1.1"', '"2.0"'),
        usual.replace('"hashes": {', '"more": [{}], "hashes": {', 1),
        dump(*(each for each in usual_entries if str(each["filename"]).endswith(".whl"))).decode(),
    ]
    assert [simple_index._find_files(text, "1.0", url=PAGE, index="") for text in unusual] == [None] * 4
