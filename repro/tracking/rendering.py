"""Make files of values that a script has: mappings, figures, tables. No library is imported that the script has not."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from typing import Any

from repro.errors import ProjectError, TrackingError
from repro.tracking.store import Store, find_text, write_text

_TABLES_TAG = "mlflow.loggedArtifacts"


def render_dict(dictionary: object, name: str) -> bytes:
    """Return a mapping or list as YAML or JSON, by the end of the file's name. Raises TrackingError."""
    try:
        if isinstance(dictionary, Mapping) and name.lower().endswith((".yaml", ".yml")):
            from repro.formats.fields import dump_mapping

            return dump_mapping(dictionary).encode()
        return json.dumps(dictionary, indent=2, default=str).encode() + b"\n"
    except ProjectError as error:
        raise TrackingError(f"`{name}` cannot hold this value: {error.message}", hint=error.hint) from error
    except (TypeError, ValueError, RecursionError) as error:
        raise TrackingError(f"`{name}` cannot hold this value ({error})") from error


def render_figure(figure: Any, name: str, options: Mapping[str, object]) -> bytes:
    """Return a figure of matplotlib or plotly as a file. Raises TrackingError for what is none."""
    ending = os.path.splitext(name)[1].lstrip(".").lower()
    if hasattr(figure, "savefig"):
        buffer = io.BytesIO()
        figure.savefig(buffer, **{"format": ending or "png", **options})
        return buffer.getvalue()
    if hasattr(figure, "to_html"):
        if ending in ("html", "htm"):
            return str(figure.to_html(**{"include_plotlyjs": "cdn", **options})).encode()
        return bytes(figure.to_image(format=ending, **options))
    raise TrackingError(f"{type(figure).__name__} is no figure of matplotlib or plotly")


def _make_frame(data: object) -> Any:
    try:
        import pandas as pd
    except ImportError as error:
        raise TrackingError("tables need pandas", hint="pip install pandas") from error
    if isinstance(data, pd.DataFrame):
        return data
    if not isinstance(data, Mapping):
        raise TrackingError(f"a table is a pandas DataFrame or a mapping of columns, and not {type(data).__name__}")
    is_row = all(isinstance(value, str) or not hasattr(value, "__len__") for value in data.values())
    try:
        return pd.DataFrame([data] if is_row else data)
    except ValueError as error:
        raise TrackingError(f"the columns are no table ({error})") from error


def _merge_tables(before: str, after: str, name: str) -> str:
    """Return a table with the rows of another, each value as it was written: pandas would guess types anew.

    Raises TrackingError where the first is none.
    """
    new = json.loads(after)
    try:
        old = json.loads(before)
        columns = list(dict.fromkeys([*old["columns"], *new["columns"]]))
        rows = [dict(zip(part["columns"], row, strict=True)) for part in (old, new) for row in part["data"]]
    except (ValueError, TypeError, KeyError) as error:
        raise TrackingError(f"`{name}` is there and is no table ({error})") from error
    return json.dumps({"columns": columns, "data": [[row.get(column) for column in columns] for row in rows]})


def keep_table(store: Store, run_id: str, data: object, name: str) -> None:
    """Keep a table, appended to the one that is there, in MLflow's form: JSON with `columns` and `data`.

    Raises TrackingError.
    """
    if not name.lower().endswith(".json"):
        raise TrackingError(f"a table is kept as `.json`, and not as `{name}`")
    frame = _make_frame(data)
    before = find_text(store, run_id, name)
    try:
        text = str(frame.to_json(orient="split", index=False, date_format="iso", double_precision=15))
    except (ValueError, OverflowError, RecursionError) as error:
        raise TrackingError(f"`{name}` cannot hold this table ({error})") from error
    write_text(store, run_id, name, text if before is None else _merge_tables(before, text, name))
    _tag_table(store, run_id, name)


def _tag_table(store: Store, run_id: str, name: str) -> None:
    """Name the table in the tag that MLflow's UI looks for."""
    try:
        known = list(json.loads(store.get_run(run_id).data.tags.get(_TABLES_TAG, "[]")))
    except (ValueError, TypeError):  # somebody's own words
        return
    entry = {"path": name, "type": "table"}
    if entry not in known:
        store.set_tag(run_id, _TABLES_TAG, json.dumps([*known, entry]))
