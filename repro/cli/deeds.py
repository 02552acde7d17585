"""A command that is a family of deeds (`repro runs list`): find the deed and run it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from repro.cli import console
from repro.errors import ExitCode, UsageError
from repro.values import frozen

Deed = Callable[[list[str]], int]


@frozen
class Deeds:
    """A command's deeds: each a function of its arguments or `module[:function]` (`run`), and what it does."""

    command: str
    summary: str
    deeds: Mapping[str, tuple[Deed | str, str]]

    def _format_help(self) -> str:
        width = max(map(len, self.deeds)) + 2
        lines = [f"usage: repro {self.command} DEED [options]", "", self.summary, "", "deeds:"]
        lines += [f"  {name:<{width}}{meaning}" for name, (_, meaning) in self.deeds.items()]
        return "\n".join([*lines, "", f"`repro {self.command} DEED --help` shows its options, with examples."])

    def _suggest(self, name: str) -> str:
        import difflib

        close = difflib.get_close_matches(name, self.deeds, n=1)
        return f"did you mean `repro {self.command} {close[0]}`?" if close else f"repro {self.command} --help"

    def run(self, arguments: list[str]) -> int:
        """Run the deed that the first argument names. Raises UsageError."""
        if not arguments or arguments[0] in ("-h", "--help", "help"):
            console.say(self._format_help())
            return ExitCode.DONE if arguments else ExitCode.USAGE
        name, *rest = arguments
        if name not in self.deeds:
            raise UsageError(f"there is no deed `{name}` of `repro {self.command}`", hint=self._suggest(name))
        deed = self.deeds[name][0]
        if isinstance(deed, str):
            from importlib import import_module

            module, _, function = deed.partition(":")
            return int(getattr(import_module(module), function or "run")(rest))
        return deed(rest)
