"""Regular expressions that are compiled when they are first used: a module has many, and most runs need few of them."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Later:
    """A pattern that is compiled when anything of it is asked for, which it then has itself."""

    def __init__(self, text: str, flags: int) -> None:
        self._text = text
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found = getattr(re.compile(self._text, self._flags), name)
        setattr(self, name, found)
        return found


def compile_later(text: str, flags: int = 0) -> re.Pattern[str]:
    """Return what `re.compile` returns, as far as its methods go; what is wrong with `text` is said when it is used."""
    pattern: Any = _Later(text, flags)
    return pattern  # type: ignore[no-any-return]
