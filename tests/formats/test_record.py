"""The record digest."""

from repro.formats.record import digest_record

WHEEL = "alpha/__init__.py,sha256=aa,3\nalpha-1.0.dist-info/METADATA,sha256=bb,4\nalpha-1.0.dist-info/RECORD,,\n"


def test_what_installers_add_does_not_change_the_digest() -> None:
    added = [
        "../../../bin/alpha,sha256=cc,5",
        "alpha/__pycache__/__init__.cpython-311.pyc,,",
        "alpha-1.0.dist-info/INSTALLER,sha256=dd,2",
        "alpha-1.0.dist-info/REQUESTED,sha256=ee,0",
        "alpha-1.0.dist-info/direct_url.json,sha256=ff,9",
        "alpha-1.0.dist-info/uv_cache.json,sha256=00,9",
    ]
    assert digest_record(WHEEL + "\n".join(added)) == digest_record(WHEEL)


def test_the_order_of_rows_does_not_matter() -> None:
    assert digest_record("\n".join(reversed(WHEEL.splitlines()))) == digest_record(WHEEL)


def test_a_file_with_another_hash_changes_the_digest() -> None:
    assert digest_record(WHEEL.replace("=aa", "=ab")) != digest_record(WHEEL)


def test_a_file_called_installer_outside_dist_info_counts() -> None:
    assert digest_record(WHEEL + "alpha/INSTALLER,sha256=dd,2\n") != digest_record(WHEEL)


def test_a_quoted_path_with_a_comma_is_one_path() -> None:
    assert digest_record('"a,b.py",sha256=aa,3\n') != digest_record('"a,c.py",sha256=aa,3\n')
