"""Keep what a run writes to its terminal as the artifact `output.log`.

In a directory it is written there as it comes, so that a runner that is killed has kept it; for a server it is sent at
the end. What a script wrote nothing to leaves no file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from repro.tracking.file_store import FileStore
from repro.tracking.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

FILE_NAME = "output.log"


@contextmanager
def _opening(path: Path) -> Iterator[BinaryIO]:
    """Open a file to be written to without a buffer; one that stays empty goes away."""
    with path.open("wb", buffering=0) as file:
        try:
            yield file
        finally:
            if not file.tell():
                path.unlink(missing_ok=True)


@contextmanager
def keeping_output(store: Store, run_id: str) -> Iterator[BinaryIO]:
    """Have a file for what a run writes, which becomes its artifact. Raises TrackingError and OSError."""
    if isinstance(store, FileStore):
        place = store.open_artifacts(run_id).locate(FILE_NAME)
        place.parent.mkdir(parents=True, exist_ok=True)
        with _opening(place) as file:
            yield file
        return
    import tempfile

    with tempfile.TemporaryDirectory(prefix="repro-output-") as directory:
        place = Path(directory) / FILE_NAME
        try:
            with _opening(place) as file:
                yield file
        finally:
            if place.exists():
                store.log_artifact(run_id, place)
