"""What is read from variables."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from repro.errors import UsageError
from repro.settings import get_cache_dir


@pytest.mark.parametrize("name", ["MLFLOW_SNAPSHOT_CACHE", "XDG_CACHE_HOME"])
def test_a_cache_in_the_home_of_nobody_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError, match="`~no-such-user/x` names a home directory, and there is none"):
        get_cache_dir({name: "~no-such-user/x"})


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody without a home")
def test_a_user_without_a_home_has_to_name_a_cache() -> None:
    script = """
import os, pwd
from repro.errors import UsageError
from repro.settings import get_cache_dir
os.environ.pop("HOME", None)
os.setuid(54321)
try:
    print(get_cache_dir({}))
except UsageError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "`~/.cache` names a home directory, and there is none",
        "hint: name a directory with `--cache DIR` or MLFLOW_SNAPSHOT_CACHE",
    ]
