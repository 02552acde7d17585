"""PEP 610 files."""

import json

import pytest

from repro.formats.direct_url import Archive, Directory, Editable, Source, Vcs, clean_url, parse_direct_url

HEX = "0a" * 32
COMMIT = "0123456789abcdef0123456789abcdef01234567"
VCS = {"vcs": "git", "commit_id": COMMIT}


@pytest.mark.parametrize(
    ("content", "source"),
    [
        (
            {"url": "https://u:p@e.org/x.git", "vcs_info": {"vcs": "git", "commit_id": COMMIT}, "subdirectory": "s"},
            Vcs(vcs="git", url="https://e.org/x.git", commit=COMMIT, subdirectory="s"),
        ),
        ({"url": "file:///x", "dir_info": {"editable": True}}, Editable()),
        ({"url": "file:///x", "dir_info": {}}, Directory()),
        ({"url": "file:///x.whl", "archive_info": {"hashes": {"sha256": "aa"}}}, Directory()),
        (
            {"url": "https://e.org/x.whl?token=1", "archive_info": {"hashes": {"sha256": HEX}}},
            Archive(url="https://e.org/x.whl", sha256=HEX),
        ),
        (
            {"url": "https://e.org/x.whl", "archive_info": {"hash": f"sha256={HEX.upper()}"}},
            Archive(url="https://e.org/x.whl", sha256=HEX),
        ),
        (
            {"url": "https://e.org/x.whl", "archive_info": {"hash": "sha256=ZZ", "hashes": {"md5": "aa"}}},
            Archive(url="https://e.org/x.whl"),
        ),
        (
            {"url": "https://e.org/a b==1/\u00e9%20.tar.gz", "archive_info": {}, "subdirectory": "src/x y"},
            Archive(url="https://e.org/a%20b==1/%C3%A9%20.tar.gz#subdirectory=src/x%20y"),
        ),
        (
            {"url": "FILE:///x", "vcs_info": {"vcs": "git", "commit_id": COMMIT}},
            Vcs(vcs="git", url=None, commit=COMMIT),
        ),
        ({"url": "https://e.org/x.whl", "archive_info": {}}, Archive(url="https://e.org/x.whl")),
    ],
)
def test_each_kind_of_source_is_read(content: dict[str, object], source: Source) -> None:
    assert parse_direct_url(json.dumps(content)) == source


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"url": 3}',
        '{"url": "x", "vcs_info": {}}',
        "[" * 100_000,
        '{"a":' * 100_000,
        json.dumps({"url": "https://e.org/x", "vcs_info": {**VCS, "commit_id": 123}}),
        json.dumps({"url": "https://e.org/x", "vcs_info": {**VCS, "commit_id": "main\n--index-url x"}}),
        json.dumps({"url": "https://e.org/x", "vcs_info": {**VCS, "commit_id": "--upload-pack=x"}}),
        json.dumps({"url": "https://e.org/x", "vcs_info": {**VCS, "vcs": "magic"}}),
        json.dumps({"url": "https://e.org/x", "vcs_info": VCS, "subdirectory": "../../x"}),
        json.dumps({"url": "https://e.org/x", "vcs_info": VCS, "subdirectory": 3}),
        json.dumps({"url": "https://e o/x", "archive_info": {}}),
        json.dumps({"url": "https://e.org/x", "archive_info": {"hashes": {"sha256": 3}}}),
        json.dumps({"url": "https://e.org/x", "archive_info": [], "dir_info": {}}),
        json.dumps({"url": "https://[e/x", "archive_info": {}}),
    ],
)
def test_a_damaged_file_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        parse_direct_url(text)


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("https://user:secret@e.org/simple?token=x#f", "https://e.org/simple"),
        ("ssh://git@e.org/x.git", "ssh://git@e.org/x.git"),
        ("ssh://me:secret@e.org/x.git", "ssh://e.org/x.git"),
    ],
)
def test_no_credential_stays_in_a_url(url: str, clean: str) -> None:
    assert clean_url(url) == clean
