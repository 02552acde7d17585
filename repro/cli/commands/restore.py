"""`repro restore`: a look-up where the lock was restored before, imported apart so that it costs next to nothing."""

from __future__ import annotations

import os

from repro import settings
from repro.cli import console
from repro.environments.lookup import Environment, look_up, name_options, stamp_bundle
from repro.environments.store import Store, locate_store
from repro.errors import ExitCode, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


_EXAMPLES = """\
  repro restore                          the environment of ./requirements-lock.txt
  repro restore project/ --cache ~/.cache
  repro restore mlruns/0/RUN/artifacts --used   only what that run has used
  repro restore -- python train.py       run a command inside it
  repro restore --json | jq -r .python   its interpreter, for scripts
  repro restore project.zip              of a bundle, with no network
"""


def _find_ready(
    lock: str, *, cache: str | None, python: str | None = None, allow_missing: bool = False, used: bool = False
) -> Environment | None:
    """Return the environment where these bytes were restored before; what is no file (a pipe) is read but once."""
    environ = settings.own_environment()
    store = Store(locate_store(cache or settings.get_cache_dir(environ)))
    lock = os.path.join(lock, "requirements-lock.txt") if os.path.isdir(lock) else lock
    if lock.lower().endswith(".zip"):
        stamp = stamp_bundle(lock)
        if stamp is None:
            return None
        content = stamp
    elif not os.path.isfile(lock):
        return None
    else:
        try:
            with open(lock, "rb") as file:
                content = file.read()
        except OSError:
            return None
    store.check()
    python = settings.locate_python(python, environ) if python else None
    options = name_options(python=python, allow_missing=allow_missing, used=used)
    return look_up(store, content, options, lock=lock)


def _restore(options: argparse.Namespace, *, has_command: bool) -> Environment:
    from pathlib import Path

    from repro.cli.options import make_machine
    from repro.environments.restore import Check, Request, restore_environment

    check = Check.CONTENTS if options.repair else Check.FILES if has_command else Check.DIRECTORIES
    request = Request(
        lock=Path(options.lock),
        python=options.python,
        offline=options.offline,
        allow_missing=options.allow_missing,
        engine=options.engine,
        used=options.used,
        check=check,
    )
    with console.Progress() as progress:
        return restore_environment(make_machine(options, report=progress), request)


def _run_inside(environment: Environment, command: list[str], options: argparse.Namespace) -> int:
    from repro.process import Runner

    environ = settings.make_sealed_environment(
        settings.own_environment(), bin_dir=os.path.join(environment.path, "bin"), prefix=environment.path
    )
    runner = Runner(console.echo if options.verbose or settings.is_verbose(environ) else None)
    try:
        return runner.supervise(command, env=environ, stdout_to_stderr=options.json)
    except OSError as error:
        raise UsageError(f"`{command[0]}` cannot be started ({error.strerror})") from error


def _show(environment: Environment) -> None:
    how = "was ready" if environment.reused else "restored"
    console.say(f"{environment.path} (Python {environment.python_version}) {how} in {environment.seconds:.2f} s")
    console.say(f"  use it: {environment.python} SCRIPT, or `repro restore -- COMMAND`")


def _verify(environment: Environment, options: argparse.Namespace) -> int:
    """Compare every file of an environment with its manifest by content, and name what is not as it was made."""
    from repro.environments.manifest import find_damage

    damage = find_damage(environment.path, deep=True)
    if options.json:
        found = {"changed": list(damage.changed), "missing": list(damage.missing), "extra": list(damage.extra)}
        console.show_json({**environment.to_dict(), "sound": not damage, "damage": found})
    elif damage:
        for line in damage.describe():
            console.say(f"  {line}")
        console.say(f"{environment.path} was changed behind our back; mend it: repro restore --repair")
    else:
        console.say(f"{environment.path}: every file is as it was made")
    return ExitCode.NO if damage else ExitCode.DONE


def _is_sound(environment: Environment) -> bool:
    from repro.environments.manifest import find_damage

    return not find_damage(environment.path, deep=False)


def _find_plainly(arguments: list[str]) -> Environment | None:
    """Return the ready environment for `[DIR|LOCK] [--cache DIR]`: argparse alone would double the time this takes."""
    rest = list(arguments)
    cache = None
    if "--cache" in rest[:-1]:
        at = rest.index("--cache")
        cache = rest[at + 1]
        del rest[at : at + 2]
    if len(rest) > 1 or any(word.startswith("-") for word in rest):
        return None
    return _find_ready(rest[0] if rest else ".", cache=cache)


def run(arguments: list[str]) -> int:
    """Restore, print where the environment is, or run a command inside it."""
    if plainly := _find_plainly(arguments):
        _show(plainly)
        return ExitCode.DONE
    from repro.cli.options import add_cache, add_python, make_parser

    command: list[str] = []
    if "--" in arguments:
        at = arguments.index("--")
        arguments, command = arguments[:at], arguments[at + 1 :]
        if not command:
            raise UsageError("there is no command behind `--`", hint="repro restore -- python train.py")
    parser = make_parser("restore", "Recreate the environment of a lock, read-only, in the cache.", _EXAMPLES)
    parser.usage = "repro restore [options] [DIR|LOCK|ZIP] [-- COMMAND ...]"
    parser.add_argument(
        "lock",
        nargs="?",
        default=".",
        metavar="DIR|LOCK|ZIP",
        help="a lock, its directory (default: here), or a bundle",
    )
    parser.add_argument("--offline", action="store_true", help="never touch the network")
    parser.add_argument("--allow-missing", action="store_true", help="leave out what the lock names no file for")
    parser.add_argument(
        "--used", action="store_true", help="only what a run has used, by its own lock's marks, and what that requires"
    )
    parser.add_argument("--engine", choices=("uv", "pip"), help="what fetches and installs (default: uv, else pip)")
    parser.add_argument("--verify", action="store_true", help="compare every file by content; exit 1 where one differs")
    parser.add_argument("--repair", action="store_true", help="the same, and mend what differs")
    add_python(parser, "the base interpreter (default: the lock's version, searched on this machine)")
    add_cache(parser)
    options = parser.parse_args(arguments)
    ready = _find_ready(
        options.lock,
        cache=options.cache,
        python=options.python,
        allow_missing=options.allow_missing,
        used=options.used,
    )
    if ready and (options.repair or (command and not _is_sound(ready))):
        ready = None
    environment = ready or _restore(options, has_command=bool(command))
    for sentence in environment.notes:
        console.warn(sentence)
    if options.verify:
        return _verify(environment, options)
    exit_code = _run_inside(environment, command, options) if command else ExitCode.DONE
    if options.json:
        outcome = environment.to_dict()
        if command:
            outcome |= {"stage": "child", "exit_code": exit_code}
        console.show_json(outcome)
    elif not command:
        _show(environment)
    return exit_code
