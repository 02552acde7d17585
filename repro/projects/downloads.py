"""Have a directory for what `path` parameters bring from elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from repro import settings
from repro.errors import UsageError
from repro.files import make_directory, make_temporary_dir, remove_tree


def _list_parents(storage_dir: str | None) -> list[str]:
    named = os.path.expanduser(storage_dir) if storage_dir else None
    return [named] if named else settings.list_temporary_dirs(settings.own_environment())


@contextmanager
def make_download_dir(storage_dir: str | None, say: Callable[[str], None]) -> Iterator[Path]:
    """Have a directory for what `path` parameters bring from elsewhere: one that is named is kept, where it is used."""
    try:
        if storage_dir:
            make_directory(os.path.expanduser(storage_dir))
        directory = make_temporary_dir("repro-run-", _list_parents(storage_dir))
    except OSError as error:
        raise UsageError(f"nothing can be kept in `{storage_dir}` ({error.strerror})", hint="name another") from error
    say(f"=== Created directory {directory} for remote files of parameters of type 'path' ===")
    try:
        yield Path(directory).absolute()
    finally:
        if not storage_dir or not os.listdir(directory):
            remove_tree(directory)
