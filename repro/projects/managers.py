"""What makes the environment of a run: the words for it, and whose word counts."""

from __future__ import annotations

from enum import Enum

from repro import settings
from repro.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class EnvManager(Enum):
    """Name what makes the environment of a run."""

    LOCAL = "local"
    RESTORE = "restore"
    VIRTUALENV = "virtualenv"
    UV = "uv"

    @property
    def engine(self) -> str | None:
        """What a restore has environments made by."""
        return {EnvManager.VIRTUALENV: "pip", EnvManager.UV: "uv"}.get(self)


ENV_MANAGERS = tuple(each.value for each in EnvManager)


def _read_manager(word: str, source: str) -> EnvManager:
    if word in ENV_MANAGERS:
        return EnvManager(word)
    if word == "conda":
        hint = "`--env-manager restore` makes the environment of conda.yaml without conda"
    else:
        import difflib

        close = difflib.get_close_matches(word.lower(), ENV_MANAGERS, n=1)
        hint = f"did you mean `{close[0]}`?" if close else f"one of {', '.join(ENV_MANAGERS)}"
    raise UsageError(f"`{source}` is `{word}`, which makes no environments here", hint=hint)


def choose_manager(word: str | None, *, restore: bool | None, environ: Mapping[str, str]) -> EnvManager | None:
    """Return what makes the environment: given > `REPRO_ENV_MANAGER` > `REPRO_RESTORE`; None where nobody has said.

    Raises UsageError for an unknown word, and for one that contradicts `restore`.
    """
    if word is not None:
        manager = _read_manager(word, "--env-manager")
        if restore and manager is EnvManager.LOCAL:
            raise UsageError("`--restore` and `--env-manager local` exclude each other")
        return manager
    if restore is not None:
        return EnvManager.RESTORE if restore else EnvManager.LOCAL
    named = settings.find_env_manager(environ)
    return _read_manager(named, "REPRO_ENV_MANAGER") if named else None
