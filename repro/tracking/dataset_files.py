"""The datasets that a run has read, in MLflow's FileStore layout.

<experiment>/datasets/<id>/meta.yaml     name, digest, source, schema, profile; shared by its runs
<run>/inputs/<id>/meta.yaml              which dataset, and the tags that say how it was used

The ids are MLflow's: MD5 over name and digest, and over that and the run.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from repro.errors import ReproError, TrackingError
from repro.files import write_atomically
from repro.formats.fields import dump_mapping, load_mapping
from repro.tracking.entities import Dataset
from repro.tracking.run_files import explaining, read_text

_META = "meta.yaml"


def _make_id(*parts: str) -> str:
    import hashlib

    return hashlib.md5("".join(parts).encode(), usedforsecurity=False).hexdigest()


def _write_once(directory: Path, content: Mapping[str, object]) -> None:
    if not (directory / _META).exists():
        directory.mkdir(parents=True, exist_ok=True)
        write_atomically(directory / _META, dump_mapping(content), durable=False)


def keep_dataset(run_dir: Path, dataset: Dataset) -> None:
    """Keep that a run has read a dataset; once is enough. Raises TrackingError."""
    dataset_id = _make_id(dataset.name, dataset.digest)
    description = {
        "name": dataset.name,
        "digest": dataset.digest,
        "source_type": dataset.source_type,
        "source": dataset.source,
        "schema": dataset.schema,
        "profile": dataset.profile,
    }
    edge = {
        "source_type": "DATASET",
        "source_id": dataset_id,
        "destination_type": "RUN",
        "destination_id": run_dir.name,
        "tags": dict(dataset.tags),
    }
    with explaining("dataset", dataset.name):
        _write_once(run_dir.parent / "datasets" / dataset_id, description)
        _write_once(run_dir / "inputs" / _make_id(dataset_id, run_dir.name), edge)


def _load(path: Path) -> dict[str, object]:
    return load_mapping(read_text(str(path)), where=str(path))


def _find_text(content: dict[str, object], key: str) -> str | None:
    return None if content.get(key) is None else str(content[key])


def _read_dataset(run_dir: Path, edge: dict[str, object]) -> Dataset | None:
    if edge.get("source_type") != "DATASET":
        return None
    dataset_id = str(edge.get("source_id"))
    if not dataset_id.isalnum():
        raise TrackingError(f"`{dataset_id}` is no dataset's id")
    path = run_dir.parent / "datasets" / dataset_id / _META
    content = _load(path)
    tags = edge.get("tags")
    return Dataset(
        name=str(content.get("name")),
        digest=str(content.get("digest")),
        source_type=_find_text(content, "source_type") or "",
        source=_find_text(content, "source") or "",
        schema=_find_text(content, "schema"),
        profile=_find_text(content, "profile"),
        tags={str(key): str(value) for key, value in tags.items()} if isinstance(tags, dict) else {},
    )


def list_dataset_files(run_dir: Path) -> list[str]:
    """Return the files that say which datasets a run has read, relative to its experiment's directory."""
    found = []
    for path in sorted(run_dir.glob(f"inputs/*/{_META}")):
        found.append(path.relative_to(run_dir.parent).as_posix())
        with suppress(OSError, ReproError):
            dataset_id = _load(path).get("source_id")
            found.append(f"datasets/{dataset_id}/{_META}")
    return found


def read_datasets(run_dir: Path) -> tuple[Dataset, ...]:
    """Return the datasets that a run has read, by name; what is damaged is left out."""
    found = []
    try:
        names = os.listdir(run_dir / "inputs")
    except (FileNotFoundError, NotADirectoryError):
        return ()
    for name in names:
        path = run_dir / "inputs" / name / _META
        with suppress(OSError, ReproError):
            dataset = _read_dataset(run_dir, _load(path))
            found += [dataset] if dataset else []
    return tuple(sorted(found, key=lambda each: (each.name, each.digest)))
