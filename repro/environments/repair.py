"""Mend a stored environment that was changed behind our back, by replacing just the damaged files.

A file that is linked from a tree is the same file in every environment that holds the wheel. So the trees themselves
are looked at first: one with a damaged file is discarded and unpacked again from its wheel, whose sha256 is checked.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from repro.environments.assemble import Blueprint, perform_part
from repro.environments.build import finish_environment, plan_order
from repro.environments.machine import Machine
from repro.environments.manifest import Damage, read_manifest
from repro.environments.order import Order
from repro.environments.ready import Ready
from repro.environments.trees import Tree
from repro.files import sha256_file


def _is_sound(tree: Tree, paths: set[str]) -> bool:
    """Tell whether the files of a tree that these paths of an environment come from are what the wheel has."""
    for file in tree.files:
        if file.path in paths:
            try:
                if sha256_file(tree.path / file.path) != file.sha256:
                    return False
            except OSError:
                return False
    return True


def _discard_damaged_trees(machine: Machine, blueprint: Blueprint, damaged: set[str]) -> set[str]:
    """Discard the trees that damaged files come from and that are damaged themselves, and return their sha256s."""
    paths: dict[str, set[str]] = {}
    trees = {}
    for link in blueprint.links:
        if link.path in damaged:
            paths.setdefault(link.tree.sha256, set()).add(link.file.path)
            trees[link.tree.sha256] = link.tree
    bad = [tree for sha256, tree in trees.items() if not _is_sound(tree, paths[sha256])]
    for tree in bad:
        machine.report(f"unpacking {tree.name} again: its files in the store were changed")
        machine.store.open_trees().discard(tree.sha256)
    return {tree.sha256 for tree in bad}


def _remove_extra(env_dir: str, paths: Sequence[str]) -> None:
    for path in paths:
        place = f"{env_dir}/{path}"
        os.chmod(os.path.dirname(place), 0o755)
        os.unlink(place)
        directory = os.path.dirname(place)
        while directory != env_dir and not os.listdir(directory):
            os.chmod(os.path.dirname(directory), 0o755)
            os.rmdir(directory)
            directory = os.path.dirname(directory)


def mend_environment(machine: Machine, order: Order, env_dir: str, damage: Damage) -> Ready | None:
    """Mend an environment and return its new marker; None where only building it again helps.

    The caller holds the key's lock. Raises RestoreError where the files cannot be had, and OSError.
    """
    damaged = {*damage.changed, *damage.missing}
    blueprint = plan_order(machine, order, env_dir)
    discarded = _discard_damaged_trees(machine, blueprint, damaged)
    if discarded:
        blueprint = plan_order(machine, order, env_dir)
        damaged |= {link.path for link in blueprint.links if link.tree.sha256 in discarded}
    ours = {link.path for link in blueprint.links} | {own.path for own in blueprint.own}
    caches = {cache.path for cache in blueprint.caches}
    if not damaged <= ours | caches:
        return None
    _remove_extra(env_dir, damage.extra)
    perform_part(blueprint, env_dir, damaged)
    base = [entry.path for entry in read_manifest(env_dir) if entry.path not in ours | caches]
    return finish_environment(order, env_dir, blueprint, base)
