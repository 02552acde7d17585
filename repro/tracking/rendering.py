"""Make files of values that a script has: mappings, figures, tables. No library is imported that the script has not."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from typing import Any

from repro.errors import TrackingError
from repro.tracking.store import Store, find_text, write_text

_TABLES_TAG = "mlflow.loggedArtifacts"


def render_dict(dictionary: object, name: str) -> bytes:
    """Return a mapping or list as YAML or JSON, by the end of the file's name. Raises TrackingError."""
    try:
        if isinstance(dictionary, Mapping) and name.lower().endswith((".yaml", ".yml")):
            from repro.formats.fields import dump_mapping

            return dump_mapping(dictionary).encode()
        return json.dumps(dictionary, indent=2, default=str).encode() + b"\n"
    except (TypeError, ValueError) as error:
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
    is_row = not any(isinstance(value, list | tuple) for value in data.values())
    return pd.DataFrame([data] if is_row else data)


def keep_table(store: Store, run_id: str, data: object, name: str) -> None:
    """Keep a table, appended to the one that is there, in MLflow's form: JSON with `columns` and `data`.

    Raises TrackingError.
    """
    if not name.lower().endswith(".json"):
        raise TrackingError(f"a table is kept as `.json`, and not as `{name}`")
    frame = _make_frame(data)
    before = find_text(store, run_id, name)
    if before is not None:
        import pandas as pd

        frame = pd.concat([pd.read_json(io.StringIO(before), orient="split"), frame], ignore_index=True)
    write_text(store, run_id, name, frame.to_json(orient="split", index=False, date_format="iso"))
    _tag_table(store, run_id, name)


def _tag_table(store: Store, run_id: str, name: str) -> None:
    """Name the table in the tag that MLflow's UI looks for."""
    known = json.loads(store.get_run(run_id).data.tags.get(_TABLES_TAG, "[]"))
    entry = {"path": name, "type": "table"}
    if entry not in known:
        store.set_tag(run_id, _TABLES_TAG, json.dumps([*known, entry]))
