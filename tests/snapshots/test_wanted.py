"""The files that say what is wanted, and what they include."""

from __future__ import annotations

from pathlib import Path

import pytest

from repro.errors import ProjectError, ReproError, UsageError
from repro.formats.wanted import Wanted
from repro.snapshots.wanted import expand_variables, hide_variables, read_wanted


def read(*names: str, **environ: str) -> Wanted:
    return read_wanted([Path(name) for name in names], environ=environ)


def write(**texts: str) -> None:
    for name, text in texts.items():
        path = Path(name.replace("__", "/").replace("_", "."))
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def test_included_files_are_followed_relative_to_their_own_directory() -> None:
    write(a_txt="six\n-r sub/b.txt\n-c c.txt\n", sub__b_txt="idna\n-f ../links\n-r d.txt", sub__d_txt="attrs")
    write(c_txt="six<2\n-r sub/d.txt", links__x_txt="")
    wanted = read("a.txt")
    assert [each.name for each in wanted.required] == ["six", "idna", "attrs"]
    assert [(each.text, str(each.place)) for each in wanted.constraints] == [
        ("six<2", "c.txt, line 1"),
        ("attrs", "sub/d.txt, line 1"),
    ]
    assert [Path(value).resolve() for value in wanted.get_values("--find-links")] == [Path("links").resolve()]


def test_several_files_of_several_kinds_make_one_wish() -> None:
    write(a_txt="six", b_py="# /// script\n# dependencies = ['idna']\n# ///\n", python__env_yaml="")
    Path("python_env.yaml").write_text("python: '3.11'\ndependencies: [-r a.txt, attrs]\n")
    Path("env.yaml").write_text("dependencies:\n- python=3.11\n- pip:\n  - pluggy\n")
    Path("other.yaml").write_text("build_dependencies: [wheel]\n")
    wanted = read("a.txt", "b.py", "python_env.yaml", "env.yaml", "other.yaml")
    assert [each.name for each in wanted.required] == ["six", "idna", "attrs", "six", "pluggy", "wheel"]
    assert [each.version for each in wanted.pythons] == ["3.11", "3.11"]


def test_all_faults_of_all_files_are_told_at_once() -> None:
    write(a_txt="-r b.txt\n-r gone.txt\nmlflow == 2..7.1\n-r https://example.org/r.txt", b_txt="-c a.txt\n--what\n${X")
    write(c_txt="x @ https://example.org/1.zip\nx @ https://example.org/2.zip\n-i https://${NOT_SET}@example.org/")
    Path("bytes.txt").write_bytes(b"\xff")
    Path("a.txt").write_text(Path("a.txt").read_text() + "\n-r bytes.txt\n-r .")
    with pytest.raises(ProjectError) as caught:
        read("a.txt", "c.txt")
    told = "\n".join(caught.value.details)
    for sentence in (
        "a.txt, line 2: there is no file `gone.txt`",
        "a.txt, line 3: `mlflow == 2..7.1` is not a requirement",
        "a.txt, line 4: an included file has to be on this machine",
        "a.txt, line 5: `bytes.txt` is not text",
        "a.txt, line 6: `.` is a directory",
        "b.txt, line 1: the files include each other in a circle: a.txt -> b.txt -> a.txt",
        "b.txt, line 2: unknown option `--what`",
        "b.txt, line 3: `${X` is not a requirement",
        "c.txt, line 2: `x` is asked for from another place before",
        "c.txt, line 3: the variable `NOT_SET` is not set",
    ):
        assert sentence in told


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("poetry.lock", "", "`poetry.lock` is not read"),
        ("requirements-lock.txt", "# repro-lock: 1\n", "is a lock already"),
        ("sub/", "", "`sub` is a directory"),
        ("gone.txt", None, "there is no file `gone.txt`"),
        ("x.yaml", "- a", "is not a YAML mapping"),
        ("x.toml", "a", "is not valid TOML"),
        ("x.py", "", "has no `# /// script` header"),
    ],
)
def test_a_file_that_is_not_for_this_is_refused(name: str, text: str | None, sentence: str) -> None:
    if name.endswith("/"):
        Path(name).mkdir()
    elif text is not None:
        Path(name).write_text(text)
    with pytest.raises(ReproError, match=sentence):
        read(name)
    with pytest.raises(UsageError, match=r"there is no file `nowhere\.txt`"):
        read("nowhere.txt")


def test_variables_are_replaced_and_hidden_again() -> None:
    write(a_txt="x @ https://${TOKEN}@example.org/x.zip\n-i https://example.org/${PLACE}/simple")
    environ = {"TOKEN": "s3cret", "PLACE": "there"}
    wanted = read("a.txt", **environ)
    assert expand_variables(wanted.required[0].text, environ) == "x @ https://s3cret@example.org/x.zip"
    assert hide_variables("at there: s3cret", wanted, environ) == "at ${PLACE}: ${TOKEN}"
