"""Loose requirements files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.formats.loose_requirements import parse_requirements

HASH = "sha256:" + "a" * 64
COMMIT = "0" * 40


def test_requirements_options_and_includes_are_read_with_their_lines() -> None:
    text = f"""\
# what we want
Flask_Login[x] >= 1 ; python_version > '3'  # why
six==1.17 \\
    --hash={HASH} --hash {HASH}
-r more.txt
--constraint=c.txt
-i https://example.org/simple --extra-index-url https://example.org/more
-fwheels
--no-binary :none: --pre
mine @ https://user:secret@example.org/mine-1-py3-none-any.whl
"""
    wanted = parse_requirements(text, where="r.txt")
    assert wanted.faults == ()
    assert [(each.name, each.place.line, len(each.hashes)) for each in wanted.required] == [
        ("flask-login", 2, 0),
        ("six", 3, 2),
        ("mine", 10, 0),
    ]
    assert [(each.path, each.constraint) for each in wanted.includes] == [("more.txt", False), ("c.txt", True)]
    assert [(each.name, each.value) for each in wanted.options] == [
        ("--index-url", "https://example.org/simple"),
        ("--extra-index-url", "https://example.org/more"),
        ("--find-links", "wheels"),
        ("--no-binary", ":none:"),
        ("--pre", ""),
    ]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("https://example.org/mine-1-py3-none-any.whl", "mine @ https://example.org/mine-1-py3-none-any.whl"),
        (f"git+https://example.org/m.git@{COMMIT}#egg=mine", f"mine @ git+https://example.org/m.git@{COMMIT}"),
        ("git+ssh://git@example.org/m#subdirectory=s&egg=mine", "mine @ git+ssh://git@example.org/m#subdirectory=s"),
        (f"-e git+https://example.org/m@{COMMIT}#egg=mine", f"mine @ git+https://example.org/m@{COMMIT}"),
        ("mine @ https://${USER}:${TOKEN}@example.org/m.zip", "mine @ https://${USER}:${TOKEN}@example.org/m.zip"),
    ],
)
def test_urls_and_commits_get_their_name(line: str, text: str) -> None:
    wanted = parse_requirements(line, where="r.txt")
    assert (wanted.faults, [each.text for each in wanted.required]) == ((), [text])


LOCAL = "is a local path, which means nothing on another machine"


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("mlflow == 2..7.1", "`mlflow == 2..7.1` is not a requirement (expected comma"),
        ("-e .", LOCAL),
        ("./wheels/a-1-py3-none-any.whl", LOCAL),
        ("a-1-py3-none-any.whl", LOCAL),
        ("../project[extra]", LOCAL),
        ("mine @ file:///srv/mine", LOCAL),
        ("git+file:///srv/mine@main#egg=mine", LOCAL),
        ("git+https://user:secret@example.org/m", "`git+https://example.org/m` has no name: write `NAME @ git+"),
        ("x @ https://example.org/${TOKEN}/x.zip", "has `${TOKEN}` outside user and password"),
        ("--frobnicate", "unknown option `--frobnicate`"),
        ("--index-url", "`--index-url` needs a value"),
        (f"--hash={HASH}", "`--hash` belongs to no requirement"),
        ("six --hash=md5:abc", "`md5:abc` is not a sha256 hash"),
        ("six --pre", "`--pre` may not stand behind a requirement"),
        ("six --config-settings=a=b", "unknown option `--config-settings`"),
        ("--no-binary 'x --index-url https://example.org'", "names no distributions"),
        ("-r 'open", "cannot be read (No closing quotation)"),
        ("six; python_version > '3\x1b'", "has control characters"),
    ],
)
def test_each_fault_is_named_with_its_line_and_no_secret(line: str, fault: str) -> None:
    (found,) = parse_requirements(f"six\n{line}\n", where="r.txt").faults
    assert found.startswith("r.txt, line 2: ")
    assert fault in found
    assert "secret" not in found


@given(st.text(st.sampled_from("ab=<>.;@:/-#[]${}'\"\\ \n\t\x00é\u2028") | st.characters(), max_size=40))
def test_any_text_is_read_or_has_faults(text: str) -> None:
    wanted = parse_requirements(text, where="r.txt")
    assert all(each.text.isprintable() for each in wanted.required)
    assert all(each.startswith("r.txt, line ") for each in wanted.faults)
