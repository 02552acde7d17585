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

    from repro.environments.restore import Request

_EXAMPLES = """\
  repro restore                          the environment of ./requirements-lock.txt
  repro restore project/ --cache ~/.cache
  repro restore mlruns/0/RUN/artifacts --used   only what that run has used
  repro restore -- python train.py       run a command inside it
  repro restore --json | jq -r .python   its interpreter, for scripts
  repro restore project.zip              of a bundle, with no network
  repro restore --link                   .venv here leads to it, for editors
  repro restore models:/wine/2           what a model needs: its lock, or what MLflow wrote beside it
  repro restore --into .venv             a writable one of your own, which pip and uv may change
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


def _restore_into(options: argparse.Namespace) -> Environment:
    """Make the private environment that is asked for, or find it."""
    from repro.cli.options import make_machine
    from repro.environments.private import restore_into

    with console.Progress() as progress:
        machine = make_machine(options, report=progress)
        return restore_into(machine, _make_request(options), options.into, force=options.force)


def _link(environment: Environment, options: argparse.Namespace) -> str:
    """Make the link that is asked for, beside the lock where no other place is named, and return its path."""
    from repro.environments.linked import FILE_NAME, link_environment

    project = options.lock if os.path.isdir(options.lock) else os.path.dirname(options.lock)
    store = Store(locate_store(options.cache or settings.get_cache_dir(settings.own_environment())))
    return link_environment(store, environment, options.link or os.path.join(project, FILE_NAME))


def _make_request(options: argparse.Namespace, *, has_command: bool = False) -> Request:
    from pathlib import Path

    from repro.environments.restore import Check, Request

    check = Check.CONTENTS if options.repair else Check.FILES if has_command else Check.DIRECTORIES
    return Request(
        lock=Path(options.lock),
        python=options.python,
        offline=options.offline,
        allow_missing=options.allow_missing,
        engine=options.engine,
        used=options.used,
        check=check,
    )


def _names_model(place: str) -> bool:
    """Tell whether what is to be restored is a model that has no lock of its own, or one that a URI names."""
    if place.startswith(("runs:", "models:", "mlflow-artifacts:")):
        return True
    return os.path.isfile(os.path.join(place, "MLmodel")) and not os.path.isfile(
        os.path.join(place, "requirements-lock.txt")
    )


def _restore_model(options: argparse.Namespace) -> Environment:
    from repro.cli.options import make_machine
    from repro.models.environment import EnvironmentWish, restore_for
    from repro.models.load import open_model

    with console.Progress() as progress:
        machine = make_machine(options, report=progress)
        directory = open_model(machine, options.lock).directory
        wish = EnvironmentWish(python=options.python, offline=options.offline)
        return restore_for(machine, directory, wish, console.note)


def _restore(options: argparse.Namespace, *, has_command: bool) -> Environment:
    if _names_model(options.lock):
        return _restore_model(options)
    from repro.cli.options import make_machine
    from repro.environments.restore import restore_environment

    with console.Progress() as progress:
        machine = make_machine(options, report=progress)
        return restore_environment(machine, _make_request(options, has_command=has_command))


def _run_inside(environment: Environment, command: list[str], options: argparse.Namespace) -> int:
    from repro.process import Runner

    environ = settings.make_sealed_environment(
        settings.own_environment(), bin_dir=os.path.join(environment.path, "bin"), prefix=environment.path
    )
    runner = Runner(console.echo if options.verbose or settings.is_verbose(environ) else None)
    try:
        return runner.supervise(command, env=environ, stdout_to_stderr=options.json).exit_code
    except OSError as error:
        raise UsageError(f"`{command[0]}` cannot be started ({error.strerror})") from error


def _show(environment: Environment, *, link: str | None = None, is_private: bool = False) -> None:
    how = "was ready" if environment.reused else "restored"
    console.say(f"{environment.path} (Python {environment.python_version}) {how} in {environment.seconds:.2f} s")
    if is_private:
        from shlex import quote

        console.say(f"  use it: source {quote(environment.path)}/bin/activate")
    else:
        console.say(f"  use it: {environment.python} SCRIPT, or `repro restore -- COMMAND`")
    if link:
        console.say(f"  {link} leads to it")


def _show_document(environment: Environment, *, into: bool, link: str | None, exit_code: int | None) -> None:
    """Print `--json`'s document; `exit_code` is that of the command, where there was one."""
    outcome = environment.to_dict()
    if into:
        outcome["into"] = environment.path
    if link:
        outcome["link"] = link
    if exit_code is not None:
        outcome |= {"stage": "child", "exit_code": exit_code}
    console.show_json(outcome)


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


def _add_places(parser: argparse.ArgumentParser) -> None:
    places = parser.add_mutually_exclusive_group()
    places.add_argument(
        "--into", metavar="DIR", help="make a private, writable environment at DIR, which pip and uv may change"
    )
    places.add_argument(
        "--link", nargs="?", const="", metavar="=PATH", help="link the environment as .venv beside the lock, or at PATH"
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="replace what was changed in DIR since, and another tool's environment",
    )


def _check_places(options: argparse.Namespace) -> None:
    if options.into == "":
        raise UsageError("`--into` names no directory", hint="repro restore --into .venv")
    if options.force and not options.into:
        raise UsageError("`--force` is for `--into DIR` alone", hint="repro restore --into .venv --force")
    if options.into and (options.verify or options.repair):
        raise UsageError(
            "`--verify` and `--repair` are for the environments of the cache",
            hint="`repro restore --into DIR` says what was changed in one of your own",
        )


def _find_usable(options: argparse.Namespace, *, has_command: bool) -> Environment | None:
    """Return the ready environment that the options ask for, unless it needs a closer look or mending."""
    if options.repair:
        return None
    ready = _find_ready(
        options.lock,
        cache=options.cache,
        python=options.python,
        allow_missing=options.allow_missing,
        used=options.used,
    )
    if ready and has_command:
        from repro.environments.sound import is_sound

        store = Store(locate_store(options.cache or settings.get_cache_dir(settings.own_environment())))
        return ready if is_sound(store, ready.path) else None
    return ready


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
    parser.usage = "repro restore [options] [DIR|LOCK|ZIP|MODEL] [-- COMMAND ...]"
    parser.add_argument(
        "lock",
        nargs="?",
        default=".",
        metavar="DIR|LOCK|ZIP|MODEL",
        help="a lock, its directory (default: here), a bundle, or a model",
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
    _add_places(parser)
    # A `--link` without `=` takes no word: what follows it is the lock.
    options = parser.parse_args(["--link=" if word == "--link" else word for word in arguments])
    _check_places(options)
    if options.into:
        environment = _restore_into(options)
    else:
        has_command = bool(command)
        environment = _find_usable(options, has_command=has_command) or _restore(options, has_command=has_command)
    for sentence in environment.notes:
        console.warn(sentence)
    link = None if options.link is None else _link(environment, options)
    if options.verify:
        return _verify(environment, options)
    exit_code = _run_inside(environment, command, options) if command else None
    if options.json:
        _show_document(environment, into=bool(options.into), link=link, exit_code=exit_code)
    elif exit_code is None:
        _show(environment, link=link, is_private=bool(options.into))
    return exit_code or ExitCode.DONE
