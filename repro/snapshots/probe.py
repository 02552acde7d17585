"""Ask an interpreter what it is and what it holds, through the guest script `inside/probe.py`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from repro.errors import InterpreterNotFoundError
from repro.formats.lockfile import Interpreter
from repro.process import Runner
from repro.settings import make_guest_environment
from repro.values import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SCRIPT = str(Path(__file__).resolve().parents[1] / "inside" / "probe.py")
TIMEOUT_S = 120.0


@frozen
class Found:
    """One `.dist-info` or `.egg-info` as it lies in a site directory; `record` is the sha256 of its RECORD file.

    `requires` are its `Requires-Dist` lines as they stand.
    """

    name: str
    version: str
    site: str
    entry: str
    requires: tuple[str, ...]
    record: str | None
    installer: str | None
    requested: bool
    direct_url: str | None


@frozen
class Report:
    """What a probe tells: the interpreter, where it lies, and what it holds."""

    interpreter: Interpreter
    executable: str
    base_executable: str
    prefix: str
    base_prefix: str
    sites: tuple[str, ...]
    found: tuple[Found, ...]


def read_report(content: Mapping[str, Any]) -> Report:
    """Return what the probe has found. Raises KeyError and TypeError where that is no probe's."""
    python = content["python"]
    return Report(
        interpreter=Interpreter(
            **{key: python[key] for key in ("implementation", "version", "abi", "platform", "libc")}
        ),
        **{key: python[key] for key in ("executable", "base_executable", "prefix", "base_prefix")},
        sites=tuple(content.get("sites", ())),
        found=tuple(
            Found(**{**each, "requires": tuple(each["requires"])}) for each in content.get("distributions", [])
        ),
    )


def probe(python: str, *, runner: Runner, environ: Mapping[str, str], scope: str = "all") -> Report:
    """Run the probe in the interpreter `python`; `scope` is `all`, or `interpreter` for the facts about Python alone.

    Raises InterpreterNotFoundError where it is no Python that runs.
    """
    memory = os.memfd_create("repro-probe", 0)
    try:
        finished = runner.capture(
            [python, "-I", _SCRIPT, str(memory), scope],
            env=make_guest_environment(environ),
            pass_fds=(memory,),
            timeout_s=TIMEOUT_S,
            brief=True,
        )
        os.lseek(memory, 0, os.SEEK_SET)
        with open(memory, encoding="ascii", closefd=False) as file:
            text = file.read()
    except (OSError, TimeoutError) as error:
        raise InterpreterNotFoundError(
            f"`{python}` cannot be run as a Python interpreter ({error})", hint="name another with `--python PATH`"
        ) from error
    finally:
        os.close(memory)
    try:
        return read_report(json.loads(text))
    except (ValueError, KeyError, TypeError) as error:
        last = (finished.stderr.strip().splitlines() or ["no output"])[-1]
        raise InterpreterNotFoundError(
            f"`{python}` is no Python interpreter that works (exit code {finished.returncode}: {last})",
            hint="name another with `--python PATH`",
        ) from error
