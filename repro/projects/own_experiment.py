"""Find the experiment that a script chooses in its code, as it stands there: `mlflow.set_experiment("wine")`.

A script that does so refuses a run of any other experiment: MLflow's `start_run` compares the two.
"""

from __future__ import annotations

from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast

_VERB = "set_experiment"


def _read_call(call: ast.Call) -> ast.expr | None:
    """Return what a call names the experiment with, None where it is another call."""
    import ast

    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", None)
    if name != _VERB:
        return None
    named = [each.value for each in call.keywords if each.arg == "experiment_name"]
    return next(iter([*call.args, *named]), None)


def _read_constants(tree: ast.Module) -> dict[str, set[object]]:
    """Return what each name is made, where that is written out; anything else stands as None."""
    import ast

    found: dict[str, set[object]] = {}
    for each in ast.walk(tree):
        if isinstance(each, ast.Assign):
            value = each.value.value if isinstance(each.value, ast.Constant) else None
            for target in each.targets:
                if isinstance(target, ast.Name):
                    found.setdefault(target.id, set()).add(value)
    return found


def parse_experiment(code: bytes) -> str | None:
    """Return the one experiment that Python code chooses, None where it chooses none, several, or computes its name."""
    if _VERB.encode() not in code:
        return None
    import ast

    from repro.formats.source_code import parse_source

    try:
        tree = parse_source(code)
    except ValueError:
        return None
    calls = [each for each in ast.walk(tree) if isinstance(each, ast.Call)]
    wanted = [named for named in map(_read_call, calls) if named is not None]
    constants = _read_constants(tree) if wanted else {}
    names: set[object] = set()
    for each in wanted:
        names |= {each.value} if isinstance(each, ast.Constant) else constants.get(getattr(each, "id", ""), {None})
    name = names.pop() if len(names) == 1 else None
    return name if isinstance(name, str) and name.strip() else None


def find_own_experiment(script: Path) -> str | None:
    """Return the experiment that a script chooses, as `parse_experiment`; None for one that cannot be read."""
    try:
        return parse_experiment(script.read_bytes())
    except OSError:
        return None
