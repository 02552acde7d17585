from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from repositories import make_work, run_git

from repro.errors import UsageError
from repro.projects.location import (
    DirectoryLocation,
    GitLocation,
    Login,
    RunLocation,
    ZipLocation,
    parse_location,
    show_uri,
)

RUN = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("uri", "location"),
    [
        ("https://example.org/x.git", GitLocation(url="https://example.org/x.git")),
        ("https://example.org/x#a/b", GitLocation(url="https://example.org/x", subdirectory="a/b")),
        ("git+https://example.org/x#/a/", GitLocation(url="https://example.org/x", subdirectory="a")),
        ("https://example.org/x#v1.2", GitLocation(url="https://example.org/x", subdirectory="v1.2")),
        ("ssh://git@example.org:22/x", GitLocation(url="ssh://git@example.org:22/x")),
        ("ssh://ada:secret@example.org/x", GitLocation(url="ssh://ada@example.org/x")),
        ("git@example.org:team/x.git#sub", GitLocation(url="git@example.org:team/x.git", subdirectory="sub")),
        (
            "https://ada:se%40cret@example.org/x",
            GitLocation(url="https://example.org/x", login=Login(user="ada", password="se@cret")),
        ),
        (
            "https://token@example.org/x",
            GitLocation(url="https://example.org/x", login=Login(user="token", password=None)),
        ),
        ("https://example.org/x.zip#a", ZipLocation(url="https://example.org/x.zip", subdirectory="a")),
        ("https://example.org/x.ZIP?key=1", ZipLocation(url="https://example.org/x.ZIP?key=1")),
        (RUN, RunLocation(run_id=RUN)),
        (f"runs:/{RUN}", RunLocation(run_id=RUN)),
    ],
)  # fmt: skip
def test_a_uri_names_a_place(uri: str, location: object) -> None:
    assert parse_location(uri) == location


def test_what_is_there_is_taken_as_it_is_called(tmp_path: Path) -> None:
    for name in ("a:b", "wine.git", "wine.zip", "a#b", RUN, "git@host:x"):
        (tmp_path / name).mkdir()
        assert parse_location(str(tmp_path / name)) == DirectoryLocation(path=tmp_path / name)
    assert parse_location((tmp_path / "wine.git").as_uri()) == DirectoryLocation(path=tmp_path / "wine.git")
    (tmp_path / "c" / "b").mkdir(parents=True)
    expected = DirectoryLocation(path=tmp_path / "c", subdirectory="b")
    assert parse_location(f"{(tmp_path / 'c').as_uri()}#b") == parse_location(f"{tmp_path / 'c'}#b") == expected
    (tmp_path / "x.zip").touch()
    expected_zip = ZipLocation(path=tmp_path / "x.zip", subdirectory="b")
    assert parse_location(f"{tmp_path / 'x.zip'}#b") == expected_zip
    assert parse_location(f"{(tmp_path / 'x.zip').as_uri()}#b") == expected_zip


def test_a_bare_repository_is_one_and_a_version_makes_one_of_a_directory(tmp_path: Path, git_config: Path) -> None:
    run_git(tmp_path, "init", "--quiet", "--bare", "x.git")
    assert parse_location(f"{tmp_path / 'x.git'}#a") == GitLocation(url=str(tmp_path / "x.git"), subdirectory="a")
    (make_work(tmp_path / "code") / "sub" / "deep").mkdir(parents=True)
    location = parse_location(f"{tmp_path / 'code' / 'sub'}#deep", version="v1")
    assert location == GitLocation(url=str(tmp_path / "code"), subdirectory="sub/deep", version="v1")
    assert location.name == f"file://{tmp_path}/code#sub/deep"


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("gone", "there is no project directory `gone`"),
        ("--upload-pack=touch x", "there is no project directory `--upload-pack=touch x`"),
        ("ext::sh -c touch% x", "`ext::sh -c touch% x` is of a kind that repro takes no projects from"),
        ("ftp://example.org/x", "`ftp://example.org/x` is of a kind"),
        ("file://host/x", "`file://host/x` lies on another machine"),
        ("file://x", "`file://x` lies on another machine"),
        ("file:///nowhere/at/all", "there is no project directory `file:///nowhere/at/all`"),
        ("https://-oProxy=x/y", "`https://-oProxy=x/y` is no URL of a project"),
        ("https://[x/y", "is no URL of a project"),
        ("ssh://example.org:port/y", "is no URL of a project"),
        ("git@-oProxy:y", "there is no project directory"),
        ("-ogit@example.org:y", "there is no project directory"),
        ("https://ada:secret@example.org/x?token=secret", "git takes no query in a URL: `https://example.org/x`"),
        ("https://example.org/x#../y", "the subdirectory must be the name of a directory within the project"),
        ("https://example.org/x#.git/hooks", "the subdirectory must be the name of a directory within the project"),
        ("runs:/nope", "`runs:/nope` is no run"),
        ("runs:/" + RUN + "/model", "is no run"),
        ("", "there is no project directory ``"),
    ],
)  # fmt: skip
def test_what_names_no_project_is_refused_in_one_sentence(uri: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_location(uri)
    assert sentence in caught.value.message
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "version", ["", "-x", "--upload-pack=x", "a..b", "a b", "HEAD~1", "HEAD^", "@{u}", "a:b", "a\nb"]
)
def test_a_version_is_one_ref_and_nothing_else(version: str) -> None:
    with pytest.raises(UsageError, match="names no commit"):
        parse_location("https://example.org/x", version=version)


def test_a_version_of_what_has_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.zip").touch()
    for uri in (str(tmp_path), str(tmp_path / "x.zip"), "https://example.org/x.zip", RUN):
        with pytest.raises(UsageError, match="`--version v1` is for git repositories"):
            parse_location(uri, version="v1")


@given(st.text(), st.from_regex(r"[^/#?@]*", fullmatch=True))
def test_no_text_is_more_than_a_place_or_one_sentence(uri: str, password: str) -> None:
    for text in (uri, f"https://ada:{password}@example.org/{uri}"):
        with suppress(UsageError):
            location = parse_location(text)
            assert "ada" not in getattr(location, "name", "")


def test_a_uri_is_shown_without_its_login() -> None:
    assert show_uri("https://ada:secret@example.org/x?key=secret#sub") == "https://example.org/x#sub"
    assert "secret" not in repr(parse_location("https://ada:secret@example.org/x"))
