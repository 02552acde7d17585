"""Say what a caller asks of a run, before anything is looked at."""

from __future__ import annotations

from repro.values import field, frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.formats.backend_config import Config


@frozen
class RunRequest:
    """What a caller asks for; `parameters` are `name=value` texts, `version` is a ref of a git repository.

    `restore` is None where nobody has said: a run that is run again has its own snapshot restored then.
    `env_manager` is a word of ENV_MANAGERS, `restore` short for that of this name. `as_of` and `more` are those of an
    EnvironmentRequest. What paths name elsewhere is kept in `storage_dir`, without one for the time of the run. With
    `words` these are what the entry point gets, and the parameters are what is kept of them. `experiment` is a name,
    made where there is none, or an id; `backend` is what runs the command,
    `backend_config` a JSON object for it.
    """

    uri: str = "."
    entry_point: str | None = None
    parameters: tuple[str, ...] = ()
    words: tuple[str, ...] | None = None
    version: str | None = None
    offline: bool = False
    restore: bool | None = None
    snapshot: bool = True
    observe: bool = True
    python: str | None = None
    stdout_to_stderr: bool = False
    timeout_s: float | None = None
    env_manager: str | None = None
    as_of: str | None = None
    more: tuple[str, ...] = ()
    write_lock: bool = False
    storage_dir: str | None = None
    lenient_types: bool = False
    experiment: str | None = None
    backend: str = "local"
    backend_config: Config = field(default_factory=dict, repr=False)
