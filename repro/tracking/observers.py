"""Tell others what is logged: `repro.register_observer(observer)`, as MLflow's R package has it.

An observer has a method `register_tracking_event(event, data)`, or is callable so. Events: `tracking_uri`,
`active_experiment_id`, `active_run_id`, `create_run`, `set_terminated`, `delete_run`, `restore_run`, `log_metric`,
`log_param`, `log_batch`, `set_tag`, `delete_tag`; `data` is a dict. What an observer raises is dropped: it is a guest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

Observer = Callable[[str, Mapping[str, object]], object]

observers: list[Observer] = []


def register_observer(observer: object) -> None:
    """Call an observer with every event from now on. Raises TypeError for what cannot be called."""
    call = getattr(observer, "register_tracking_event", observer)
    if not callable(call):
        raise TypeError(f"{observer!r} has no method `register_tracking_event(event, data)` and cannot be called")
    observers.append(call)


def notify(event: str, **data: object) -> None:
    """Tell every observer of an event."""
    for call in tuple(observers):
        with suppress(Exception):
            call(event, data)
