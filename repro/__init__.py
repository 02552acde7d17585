"""Snapshot, restore and run Python environments, exactly.

Every name is imported when it is first used, so that `import repro` costs a training script nothing.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.environments.lookup import Environment as Environment
    from repro.errors import ModelError as ModelError
    from repro.errors import ReproError as ReproError
    from repro.errors import SnapshotNotFoundError as SnapshotNotFoundError
    from repro.errors import SnapshotNotRestoredWarning as SnapshotNotRestoredWarning
    from repro.errors import TrackingError as TrackingError
    from repro.face import load_model as load_model
    from repro.face import predict as predict
    from repro.face import restore as restore
    from repro.face import restore_or_warn as restore_or_warn
    from repro.face import run as run
    from repro.face import serve as serve
    from repro.face import snapshot as snapshot
    from repro.face import source as source
    from repro.face import spark_udf as spark_udf
    from repro.face import sweep as sweep
    from repro.models.crate import crate as crate
    from repro.models.crate import is_crate as is_crate
    from repro.models.infer import infer_signature as infer_signature
    from repro.models.log import ModelInfo as ModelInfo
    from repro.models.log import log_model as log_model
    from repro.models.save import save_model as save_model
    from repro.notebook import load_ipython_extension as load_ipython_extension
    from repro.projects.parameters import param as param
    from repro.tracking.active_experiment import get_tracking_uri as get_tracking_uri
    from repro.tracking.active_experiment import set_experiment as set_experiment
    from repro.tracking.active_experiment import set_tracking_uri as set_tracking_uri
    from repro.tracking.active_registry import get_registry_uri as get_registry_uri
    from repro.tracking.active_registry import set_registry_uri as set_registry_uri
    from repro.tracking.active_run import ActiveRun as ActiveRun
    from repro.tracking.active_run import active_run as active_run
    from repro.tracking.active_run import end_run as end_run
    from repro.tracking.active_run import last_active_run as last_active_run
    from repro.tracking.active_run import start_run as start_run
    from repro.tracking.client import Client as Client
    from repro.tracking.entities import Run as Run
    from repro.tracking.entities import ViewType as ViewType
    from repro.tracking.fluent import create_experiment as create_experiment
    from repro.tracking.fluent import delete_experiment as delete_experiment
    from repro.tracking.fluent import delete_run as delete_run
    from repro.tracking.fluent import delete_tag as delete_tag
    from repro.tracking.fluent import download_artifacts as download_artifacts
    from repro.tracking.fluent import flush as flush
    from repro.tracking.fluent import get_experiment as get_experiment
    from repro.tracking.fluent import get_experiment_by_name as get_experiment_by_name
    from repro.tracking.fluent import get_metric_history as get_metric_history
    from repro.tracking.fluent import get_run as get_run
    from repro.tracking.fluent import list_artifacts as list_artifacts
    from repro.tracking.fluent import log_artifact as log_artifact
    from repro.tracking.fluent import log_artifacts as log_artifacts
    from repro.tracking.fluent import log_batch as log_batch
    from repro.tracking.fluent import log_dict as log_dict
    from repro.tracking.fluent import log_figure as log_figure
    from repro.tracking.fluent import log_metric as log_metric
    from repro.tracking.fluent import log_metrics as log_metrics
    from repro.tracking.fluent import log_param as log_param
    from repro.tracking.fluent import log_params as log_params
    from repro.tracking.fluent import log_table as log_table
    from repro.tracking.fluent import log_text as log_text
    from repro.tracking.fluent import rename_experiment as rename_experiment
    from repro.tracking.fluent import restore_experiment as restore_experiment
    from repro.tracking.fluent import restore_run as restore_run
    from repro.tracking.fluent import search_experiments as search_experiments
    from repro.tracking.fluent import search_runs as search_runs
    from repro.tracking.fluent import set_experiment_tag as set_experiment_tag
    from repro.tracking.fluent import set_experiment_tags as set_experiment_tags
    from repro.tracking.fluent import set_tag as set_tag
    from repro.tracking.fluent import set_tags as set_tags
    from repro.tracking.observers import register_observer as register_observer
    from repro.tracking.register import register_model as register_model

__version__ = "0.1.0"

_HOMES = {
    "repro.environments.lookup": ("Environment",),
    "repro.errors": (
        "ModelError", "ReproError", "SnapshotNotFoundError", "SnapshotNotRestoredWarning", "TrackingError",
    ),
    "repro.face": (
        "load_model", "predict", "restore", "restore_or_warn", "run", "serve", "snapshot", "source", "spark_udf",
        "sweep",
    ),
    "repro.models.crate": ("crate", "is_crate"),
    "repro.models.infer": ("infer_signature",),
    "repro.models.log": ("ModelInfo", "log_model"),
    "repro.models.save": ("save_model",),
    "repro.notebook": ("load_ipython_extension",),
    "repro.projects.parameters": ("param",),
    "repro.tracking.active_experiment": ("get_tracking_uri", "set_experiment", "set_tracking_uri"),
    "repro.tracking.active_registry": ("get_registry_uri", "set_registry_uri"),
    "repro.tracking.active_run": ("ActiveRun", "active_run", "end_run", "last_active_run", "start_run"),
    "repro.tracking.client": ("Client",),
    "repro.tracking.entities": ("Run", "ViewType"),
    "repro.tracking.fluent": (
        "create_experiment", "delete_experiment", "delete_run", "delete_tag", "download_artifacts", "flush",
        "get_experiment", "get_experiment_by_name", "get_metric_history", "get_run", "list_artifacts", "log_artifact",
        "log_artifacts", "log_batch", "log_dict", "log_figure", "log_metric", "log_metrics", "log_param",
        "log_params", "log_table", "log_text", "rename_experiment", "restore_experiment", "restore_run",
        "search_experiments", "search_runs", "set_experiment_tag", "set_experiment_tags", "set_tag", "set_tags",
    ),
    "repro.tracking.observers": ("register_observer",),
    "repro.tracking.register": ("register_model",),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = list(_HOME_OF)


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'repro' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
