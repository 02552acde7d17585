from __future__ import annotations

import json

from repro.formats.compiled import Compiled
from repro.formats.wanted import Place, Required
from repro.snapshots.choose import Question
from repro.snapshots.old_pip import name_files, parse_report

REPORT = {
    "install": [
        {
            "metadata": {"name": "Old.Pandas", "version": "0.22.0", "requires_dist": ["pytz (>=2011k)", "numpy"]},
            "download_info": {"url": "https://example.org/old.whl", "archive_info": {}},
            "is_direct": False,
            "requested": True,
        },
        {
            "metadata": {"name": "pytz", "version": "2020.1"},
            "download_info": {
                "url": "https://example.org/pytz.git",
                "vcs_info": {"vcs": "git", "commit_id": "0a1b", "requested_revision": "main"},
            },
            "is_direct": True,
            "requested": False,
        },
    ]
}


def test_a_report_gives_pins_and_who_requires_them() -> None:
    assert parse_report(json.dumps(REPORT)) == (
        Compiled(name="old-pandas", version="0.22.0", url=None, via=(), requested=True),
        Compiled(
            name="pytz",
            version="2020.1",
            url="git+https://example.org/pytz.git@0a1b",
            via=("old-pandas",),
            requested=False,
        ),
    )


def test_downloaded_files_give_pins() -> None:
    question = Question(required=(Required(name="old-pandas", text="old-pandas", place=Place(file="r.txt")),))
    names = ["old_pandas-0.22.0-cp36-cp36m-manylinux1_x86_64.whl", "pytz-2020.1.zip", "querystring_parser-1.2.4.tar.gz"]
    assert name_files(names, question) == (
        Compiled(name="old-pandas", version="0.22.0", url=None, via=(), requested=True),
        Compiled(name="pytz", version="2020.1", url=None, via=(), requested=False),
        Compiled(name="querystring-parser", version="1.2.4", url=None, via=(), requested=False),
    )
