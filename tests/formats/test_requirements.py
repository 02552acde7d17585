"""Plain pinned requirements."""

import pytest

from repro.errors import InvalidSnapshotError
from repro.formats.lockfile import Interpreter
from repro.formats.requirements import parse_pinned_requirements

HASH = "sha256:" + "a" * 64
SHAPE = "(`sha256:` and 64 hexadecimal digits)"
PYTHON_310 = Interpreter(implementation="cpython", version="3.10.2", abi="cp310", platform="linux-x86_64")


def test_pins_with_comments_hashes_and_markers_are_read() -> None:
    text = f"# made by hand\nBeta_X==2.0 \\\n    --hash={HASH}  # why\nalpha==1.0 --hash={HASH} \\\n --hash={HASH}\n"
    text += "old==1 ; python_version < '3'\n"
    snapshot = parse_pinned_requirements(text, where="r.txt", get_python=lambda: PYTHON_310)
    assert [(each.name, each.version, len(each.hashes)) for each in snapshot.distributions] == [
        ("alpha", "1.0", 2),
        ("beta-x", "2.0", 1),
    ]
    assert snapshot.interpreter is None


def test_markers_are_those_of_the_python_the_file_is_read_for() -> None:
    text = "".join(f"p{minor}==1 ; python_version == '3.{minor}'\n" for minor in (9, 10, 11, 12, 13))
    text += "pypy==1 ; implementation_name == 'pypy'\nwindows==1 ; sys_platform == 'win32'\n"
    found = parse_pinned_requirements(text, where="r.txt", get_python=lambda: PYTHON_310)
    assert [each.name for each in found.distributions] == ["p10"]
    with pytest.raises(InvalidSnapshotError) as caught:
        parse_pinned_requirements(text, where="r.txt")
    assert caught.value.details[0] == (
        'line 1: which Python the marker `python_version == "3.9"` is for is not known here'
    )


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "   \n#\n"])
def test_a_file_without_a_line_is_no_snapshot(text: str) -> None:
    with pytest.raises(InvalidSnapshotError, match=r"`r\.txt` names no distribution"):
        parse_pinned_requirements(text, where="r.txt")


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("a==1 --hash=sha256:zz", f"line 1: `sha256:zz` is not a sha256 hash {SHAPE}"),
        (f"a==1 --hash=md5:{'a' * 32}", f"line 1: `md5:{'a' * 32}` is not a sha256 hash {SHAPE}"),
        ("numpy", "line 1: `numpy` is not pinned with `==`"),
        ("numpy>=1", "line 1: `numpy>=1` is not pinned with `==`"),
        ("numpy==1.*", "line 1: `numpy==1.*` is not pinned with `==`"),
        ("-r other.txt", "line 1: `-r other.txt` is an option, not a pinned requirement"),
        ("mlflow == 2..7.1", "line 1: `mlflow == 2..7.1` is not a requirement"),
        ("a==1\na==2", "line 2: `a` stands twice"),
    ],
)
def test_what_is_not_pinned_is_named(line: str, fault: str) -> None:
    with pytest.raises(InvalidSnapshotError) as caught:
        parse_pinned_requirements(line, where="r.txt")
    assert caught.value.details == (fault,)
