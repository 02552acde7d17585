"""Say in one sentence why a command failed, by the last error in what it wrote: most have written a page."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from repro.formats.redaction import redact
from repro.snapshots.provides import guess_distribution
from repro.tracking.store import Store
from repro.values import frozen

_TAIL_BYTES = 64 * 1024
_MOST_CHARACTERS = 400
# The last line of a traceback, of R's and of a shell's errors, of argparse's, and of a Python without its script.
_FAULT = re.compile(
    r"^(?:(?:[A-Za-z_][\w.]*)?(?:Error|Exception|NotFound|Denied|Failed)(?:: .*)?"
    r"|Error in .* ?:.*|Error: .*|Fatal error: .*|.*: (?:command )?not found|\S+: error: .*"
    r"|.*: (?:No such file or directory|Permission denied)|.*: can't open file .*)$",
    re.MULTILINE,
)
_MODULE = re.compile(r"(?:ModuleNotFoundError|ImportError): No module named '?([\w.]+)'?")
_R_PACKAGE = re.compile(r"there is no package called .([\w.]+).")
_PROTOBUF = re.compile(r"Descriptors cannot (?:not )?be created directly")
_NO_SCRIPT = re.compile(r".*: (can't open file .*)")
_NETWORK = re.compile(
    r"urlopen error [^>\n]*|\b(?:\w+\.)*(?:URLError|HTTPError|NewConnectionError|ConnectTimeout|gaierror)\b"
    r"|Max retries exceeded|Connection refused|Name or service not known|Temporary failure in name resolution"
)


@frozen
class Failure:
    """The error that ended a command, as it wrote it in one line, and what mends it where that is known."""

    fault: str
    hint: str | None = None


def _read_tail(path: str) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def _find_hint(fault: str, text: str) -> str | None:
    if module := _MODULE.search(fault):
        name, is_known = guess_distribution(module[1])
        wanted = name if is_known else f"DISTRIBUTION-WITH-{module[1].partition('.')[0]}"
        return f"declare what has `{module[1]}`; once: `--restore --with {wanted}`"
    if fault.startswith("can't open file "):
        return "the command names a file that the project does not have"
    if package := _R_PACKAGE.search(fault):
        return f"install the R package `{package[1]}`"
    if _PROTOBUF.search(fault):
        return "what it uses wants an older protobuf than it says: `--restore --with 'protobuf<3.21'`"
    if "active run ID does not match environment run ID" in fault:
        return "it chooses an experiment itself: name the same with `MLFLOW_EXPERIMENT_NAME`"
    if found := _NETWORK.search(text):
        return f"an address that it wants does not answer (`{found[0]}`): name a local copy with `-P`, or start it"
    return None


def parse_failure(text: str) -> Failure | None:
    """Return the last error in what a command wrote, None where nothing there looks like one."""
    lines = list(_FAULT.finditer(text.replace("\r\n", "\n")))
    if not lines:
        return None
    last = lines[-1][0]
    fault = redact(" ".join(_NO_SCRIPT.sub(r"\1", last).split()))
    shown = fault if len(fault) <= _MOST_CHARACTERS else f"{fault[:_MOST_CHARACTERS]}…"
    return Failure(fault=shown, hint=_find_hint(fault, text))


def find_failure(output: str) -> Failure | None:
    """Return the last error at the end of a file that holds what a command wrote."""
    return parse_failure(_read_tail(output))


def tell_failure(failure: Failure, store: Store, run_id: str, say: Callable[[str], None]) -> None:
    """Say why a run failed, and let that stand with it."""
    store.set_tag(run_id, "repro.error", failure.fault)
    say(f"it ended with: {failure.fault}")
    if failure.hint:
        say(f"hint: {failure.hint}")
