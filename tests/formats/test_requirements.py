"""Plain pinned requirements."""

import pytest

from repro.errors import InvalidSnapshotError
from repro.formats.requirements import parse_pinned_requirements

HASH = "sha256:" + "a" * 64


def test_pins_with_comments_hashes_and_markers_are_read() -> None:
    text = f"# made by hand\nBeta_X==2.0 \\\n    --hash={HASH}  # why\nalpha==1.0 --hash={HASH} \\\n --hash={HASH}\n"
    text += "old==1 ; python_version < '3'\n"
    snapshot = parse_pinned_requirements(text, where="r.txt")
    assert [(each.name, each.version, len(each.hashes)) for each in snapshot.distributions] == [
        ("alpha", "1.0", 2),
        ("beta-x", "2.0", 1),
    ]
    assert snapshot.interpreter is None


@pytest.mark.parametrize(
    ("line", "fault"),
    [
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
