"""Lend the trees of projects that the store keeps: each to one run at a time, and each as it was made.

    <store>/checkouts/<key>/<nonce>/tree/           the files, in which a run may write what it likes
    <store>/checkouts/<key>/<nonce>/repro-checkout  what it is of (JSON), written last: it is ready
    <store>/flocks/checkout-<nonce>.lock            held by the run that has it

The key names what the files are: a commit, a patch on it, a zip. A run takes a tree that nobody has, which is looked
over first: what an earlier run has left in it goes, and one that was edited is made anew. Where all are taken, one more
is made, so no run waits for another or sees its files. A tree is made in `tmp/` and moved into place when it is whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from repro.environments.store import CHECKOUT, Store
from repro.errors import ReproError
from repro.files import hold_free_lock, hold_shared, make_directory, new_nonce, remove_tree, unlink, write_atomically
from repro.values import frozen

Note = Mapping[str, object]


@frozen
class Recipe:
    """How a tree is made, and how one that was made is looked over.

    `make` fills an empty directory and returns what to note of it; `refresh` makes a tree as it was made, and says
    whether it could.
    """

    key: str
    make: Callable[[Path], Note]
    refresh: Callable[[Path, Note], bool]


def _read_note(directory: str) -> Note | None:
    try:
        with open(os.path.join(directory, CHECKOUT), encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _list_nonces(store: Store, key: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(store.room("checkouts", key)) if len(name) == 8)
    except FileNotFoundError:
        return []


def _take(stack: ExitStack, store: Store, recipe: Recipe, nonce: str, report: Callable[[str], None]) -> Path | None:
    """Return a tree that nobody has, held until the stack ends; one that is not as it was made is removed."""
    directory, lock = store.room("checkouts", recipe.key, nonce), store.room("flocks", f"checkout-{nonce}.lock")
    with ExitStack() as attempt:
        if not attempt.enter_context(hold_free_lock(lock)):
            return None
        note, tree = _read_note(directory), Path(directory, "tree")
        if note is not None and recipe.refresh(tree, note):
            os.utime(os.path.join(directory, CHECKOUT))
            stack.enter_context(attempt.pop_all())
            return tree
        if os.path.isdir(directory):
            report(f"making `{directory}` anew: it was edited there")
            remove_tree(directory)
        unlink(lock)
    return None


def _make(stack: ExitStack, store: Store, recipe: Recipe) -> Path:
    """Make one more tree, held until the stack ends."""
    nonce = new_nonce()
    stack.enter_context(hold_free_lock(store.room("flocks", f"checkout-{nonce}.lock")))
    with store.stage() as stage:
        made = os.path.join(stage, "checkout")
        tree = Path(made, "tree")
        make_directory(tree)
        note = recipe.make(tree)
        write_atomically(os.path.join(made, CHECKOUT), json.dumps(dict(note), sort_keys=True) + "\n")
        make_directory(store.room("checkouts", recipe.key))
        place = store.room("checkouts", recipe.key, nonce)
        os.rename(made, place)
    return Path(place, "tree")


@contextmanager
def lend_tree(store: Store, recipe: Recipe, *, report: Callable[[str], None]) -> Iterator[Path]:
    """Have a tree for the block, and nobody else has it. Raises ReproError."""
    store.prepare()
    with ExitStack() as stack:
        try:
            with hold_shared(store.gate):
                with suppress(OSError):
                    store.remove_dead_stages()
                taken = (_take(stack, store, recipe, nonce, report) for nonce in _list_nonces(store, recipe.key))
                tree = next((each for each in taken if each), None) or _make(stack, store, recipe)
        except OSError as error:
            raise ReproError(
                f"the project's files cannot be put into the cache `{store.root}` ({error.strerror or error})",
                hint="make room, or name another cache with `--cache DIR`",
            ) from error
        yield tree
