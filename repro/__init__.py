"""Snapshot, restore and run Python environments, exactly.

Every name is imported when it is first used, so that `import repro` costs a training script nothing.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.environments.lookup import Environment as Environment
    from repro.errors import ReproError as ReproError
    from repro.errors import SnapshotNotFoundError as SnapshotNotFoundError
    from repro.errors import SnapshotNotRestoredWarning as SnapshotNotRestoredWarning
    from repro.face import restore as restore
    from repro.face import restore_or_warn as restore_or_warn
    from repro.face import run as run
    from repro.face import snapshot as snapshot
    from repro.projects.parameters import param as param
    from repro.tracking.active_run import active_run as active_run
    from repro.tracking.active_run import end_run as end_run
    from repro.tracking.active_run import log_artifact as log_artifact
    from repro.tracking.active_run import log_metric as log_metric
    from repro.tracking.active_run import log_metrics as log_metrics
    from repro.tracking.active_run import log_param as log_param
    from repro.tracking.active_run import log_params as log_params
    from repro.tracking.active_run import log_text as log_text
    from repro.tracking.active_run import set_tag as set_tag
    from repro.tracking.active_run import set_tags as set_tags
    from repro.tracking.active_run import start_run as start_run

__version__ = "0.1.0"

_HOMES = {
    "repro.environments.lookup": ("Environment",),
    "repro.errors": ("ReproError", "SnapshotNotFoundError", "SnapshotNotRestoredWarning"),
    "repro.face": ("restore", "restore_or_warn", "run", "snapshot"),
    "repro.projects.parameters": ("param",),
    "repro.tracking.active_run": (
        "active_run", "end_run", "log_artifact", "log_metric", "log_metrics", "log_param", "log_params", "log_text",
        "set_tag", "set_tags", "start_run",
    ),
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
