"""The one interface of what runs the command of a run, and the choice of one by its name.

`local` starts it on this machine. Others come with distributions that declare an entry point of the group
`repro.backends`: a class or function that is called with nothing and returns a Backend. One that has a method
`check_config(config)` is asked before a run exists whether it can be configured so; what that raises is the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from repro.errors import ReproError, UsageError
from repro.process import Ended, Leash, Runner
from repro.values import field, frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.metadata import EntryPoint
    from typing import BinaryIO, Protocol

    from repro.formats.backend_config import Config
else:
    from repro.kinds import Protocol

GROUP = "repro.backends"
LOCAL = "local"


@frozen
class Terminal:
    """The caller's terminal, for a task that runs alone; with `stdout_to_stderr` its output is not the result."""

    stdout_to_stderr: bool = False


def _do_nothing() -> None:
    pass


@frozen
class Task:
    """The command of a run that has begun, for a shell in `project_dir`, and all that starts it.

    `environ` is its whole environment: it names the run and where it logs to. `lock` is the requirements-lock.txt of
    what it runs in, where that is known, and `python` its interpreter here. What it writes goes to `output`, which is
    not buffered, and to the `terminal` where it has one. It ends after `timeout_s` seconds, and when `leash` is pulled.
    `meanwhile` is called once while it runs. `config` is the caller's JSON object for the backend.
    """

    run_id: str
    experiment_id: str
    command: str
    project_dir: Path
    environ: Mapping[str, str]
    python: str
    lock: Path | None
    output: BinaryIO
    terminal: Terminal | None = None
    timeout_s: float | None = None
    leash: Leash = field(default_factory=Leash)
    meanwhile: Callable[[], None] = _do_nothing
    config: Config = field(default_factory=dict, repr=False)


class Backend(Protocol):
    """What runs tasks."""

    def execute(self, task: Task) -> Ended:
        """Run a task to its end and say how it ended; of a sweep several threads call this at once.

        Raises OSError and ReproError where it cannot be started, and Terminated where its leash has ended it.
        """


class LocalBackend:
    """Run tasks on this machine, each in a process group of its own."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def execute(self, task: Task) -> Ended:
        """Run a task through bash, with our terminal where it has one."""
        args = ["bash", "-c", task.command]
        cwd = str(task.project_dir)
        if task.terminal:
            return self._runner.supervise(
                args,
                env=task.environ,
                cwd=cwd,
                stdout_to_stderr=task.terminal.stdout_to_stderr,
                copy=task.output,
                timeout_s=task.timeout_s,
                meanwhile=task.meanwhile,
            )
        return self._runner.attend(
            args,
            env=task.environ,
            cwd=cwd,
            leash=task.leash,
            output=task.output,
            timeout_s=task.timeout_s,
            meanwhile=task.meanwhile,
        )


class _Foreign:
    """A backend of another distribution; what it raises and we do not know is an error of it."""

    def __init__(self, name: str, backend: Backend) -> None:
        self._name = name
        self._backend = backend

    def execute(self, task: Task) -> Ended:
        """Run a task there. Raises ReproError."""
        try:
            ended = self._backend.execute(task)
        except (ReproError, OSError):
            raise
        except Exception as error:
            raise ReproError(f"the backend `{self._name}` failed: {type(error).__name__}: {error}") from error
        if not isinstance(ended, Ended):
            raise ReproError(f"the backend `{self._name}` returned `{ended!r}` and not how the task ended")
        return ended


def _find_installed() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {each.name: each for each in entry_points(group=GROUP)}


def _check_config(backend: Backend, name: str, config: Config) -> None:
    """Ask a backend whether it can be configured so, where it has an answer. Raises ReproError."""
    check = getattr(backend, "check_config", None)
    if check is None:
        return
    try:
        check(config)
    except ReproError:
        raise
    except (ValueError, TypeError, LookupError) as error:
        said = error.args[0] if isinstance(error, LookupError) and error.args else error
        raise UsageError(f"the backend `{name}` refuses its configuration: {said}") from error
    except Exception as error:
        raise ReproError(f"the backend `{name}` failed: {type(error).__name__}: {error}") from error


def _refuse_config(config: Config) -> None:
    if config:
        names = ", ".join(f"`{name}`" for name in config)
        raise UsageError(
            f"the backend `{LOCAL}` takes no configuration, and was given {names}",
            hint="leave `--backend-config` out, or name another backend with `--backend`",
        )


def _load(entry: EntryPoint, config: Config) -> Backend:
    try:
        backend = entry.load()()
    except Exception as error:
        raise ReproError(
            f"the backend `{entry.name}` (`{entry.value}`) cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    if not callable(getattr(backend, "execute", None)):
        raise ReproError(f"the backend `{entry.name}` (`{entry.value}`) has no `execute`")
    _check_config(backend, entry.name, config)
    return _Foreign(entry.name, backend)


def get_backend(name: str, runner: Runner, config: Config) -> Backend:
    """Return the backend of a name, which can be configured so.

    Raises UsageError for one that is not installed or refuses the configuration, ReproError for a broken one.
    """
    if name == LOCAL:
        _refuse_config(config)
        return LocalBackend(runner)
    installed = _find_installed()
    if name in installed:
        return _load(installed[name], config)
    names = sorted({LOCAL, *installed})
    import difflib

    close = difflib.get_close_matches(name, names, n=1)
    raise UsageError(
        f"there is no backend `{name}`; installed: {', '.join(f'`{each}`' for each in names)}",
        hint=f"did you mean `{close[0]}`?" if close else f"a distribution brings one as an entry point of `{GROUP}`",
    )
