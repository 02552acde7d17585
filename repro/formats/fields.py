"""YAML as mappings: the only user of yaml (the environment's own copy, else the one that is lent to a script)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import yaml

from repro.errors import ProjectError

_BaseLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BaseDumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Loader(_BaseLoader):  # type: ignore[misc,valid-type]
    """A safe loader that refuses a key that stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key `{key.value}` stands twice", key.start_mark
                )
            seen.add(key.value)
        return dict(super().construct_mapping(node, deep=deep))


def load_mapping(text: str, *, where: str) -> dict[str, object]:
    """Return the mapping a YAML text holds. Raises ProjectError with `where`, line and column."""
    try:
        content = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ProjectError(f"`{where}`{place} is not valid YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date or a number that there cannot be
        raise ProjectError(f"`{where}` is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ProjectError(f"`{where}` is not a YAML mapping of `key: value` lines")
    return {str(key): value for key, value in content.items()}


def dump_mapping(mapping: Mapping[str, object]) -> str:
    """Return a mapping as YAML with sorted keys."""
    return str(
        yaml.dump(dict(mapping), Dumper=_BaseDumper, sort_keys=True, allow_unicode=True, default_flow_style=False)
    )
