"""Have a directory for what `path` parameters bring from elsewhere."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from repro.errors import UsageError
from repro.files import make_directory, remove_tree


@contextmanager
def make_download_dir(storage_dir: str | None, say: Callable[[str], None]) -> Iterator[Path]:
    """Have a directory for what `path` parameters bring from elsewhere: one that is named is kept, where it is used."""
    try:
        if storage_dir:
            make_directory(os.path.expanduser(storage_dir))
        directory = tempfile.mkdtemp(prefix="repro-run-", dir=os.path.expanduser(storage_dir) if storage_dir else None)
    except OSError as error:
        raise UsageError(f"nothing can be kept in `{storage_dir}` ({error.strerror})", hint="name another") from error
    say(f"=== Created directory {directory} for remote files of parameters of type 'path' ===")
    try:
        yield Path(directory).absolute()
    finally:
        if not storage_dir or not os.listdir(directory):
            remove_tree(directory)
