"""Flavors: how a kind of model is written into a directory, one module each, and those that others add.

A distribution adds one by an entry point of the group `repro.flavors`, whose name is the flavor's and whose value is a
module or an object with `recognizes` and `save`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol, cast

from repro.errors import ModelError
from repro.values import frozen

GROUP = "repro.flavors"
LOADER = Path(__file__).resolve().parents[2] / "inside" / "saved_model.py"
_MODULES = ("repro_crate", "xgboost", "lightgbm", "pytorch", "onnx", "sklearn", "python_object")


@frozen
class Saved:
    """What a flavor has written: the `keys` of its entry in the MLmodel, as YAML and JSON have them.

    `loader` is a file that needs nothing of repro and defines `_load_pyfunc(directory)`, which returns an object with
    `predict(data, params=None)`; it finds the keys in the directory's `flavor.json`. `needs` are the modules that it
    imports, `modules` those that what was written names itself.
    """

    keys: Mapping[str, object]
    needs: tuple[str, ...] = ()
    loader: Path = LOADER
    modules: frozenset[str] = frozenset()


class Flavor(Protocol):
    """A kind of model."""

    def recognizes(self, model: object) -> bool:
        """Tell whether a model is of this kind, without importing its library."""
        ...

    def save(self, model: object, directory: Path, example: object) -> Saved:
        """Write a model into a directory; `example` is what it may be asked, None where nobody has given one.

        Raises ModelError.
        """
        ...


def is_of(model: object, library: str, *names: str) -> bool:
    """Tell whether a model's class, or one that it derives from, is one of a library's, with one of `names`."""
    return any(
        each.__module__.partition(".")[0] == library and (not names or each.__name__ in names)
        for each in type(model).__mro__
    )


def name_class(model: object) -> str:
    """Return the full name of a model's class."""
    return f"{type(model).__module__}.{type(model).__qualname__}"


def get_version(library: str) -> str:
    """Return the version of a library that is imported, as its own module says it."""
    import importlib

    return str(getattr(importlib.import_module(library), "__version__", "unknown"))


def _load_builtin(name: str) -> Flavor:
    import importlib

    return cast("Flavor", importlib.import_module(f"repro.models.flavors.{name}"))


def _iterate_added() -> Iterator[tuple[str, Flavor]]:
    """Yield the flavors that other distributions add. Raises ModelError for one that cannot be imported."""
    from importlib.metadata import entry_points

    for entry in entry_points(group=GROUP):
        try:
            yield entry.name, entry.load()
        except Exception as error:
            raise ModelError(
                f"the flavor `{entry.name}` ({entry.value}) cannot be imported: {error}",
                hint="name the model's own flavor with `flavor=`, or uninstall what brings that one",
            ) from error


def _iterate_flavors() -> Iterator[tuple[str, Flavor]]:
    """Yield every flavor, in the order in which a model is shown to them: what is broad comes last."""
    yield _MODULES[0], _load_builtin(_MODULES[0])
    yield from _iterate_added()
    for name in _MODULES[1:]:
        yield name, _load_builtin(name)


def choose_flavor(model: object, wanted: str | None) -> tuple[str, Flavor]:
    """Return the name and the flavor that a model is saved as. Raises ModelError where there is none."""
    if wanted in _MODULES:
        return wanted, _load_builtin(wanted)
    names = []
    for name, flavor in _iterate_flavors():
        names.append(name)
        if name == wanted or (wanted is None and flavor.recognizes(model)):
            return name, flavor
    if wanted is not None:
        raise ModelError(f"there is no flavor `{wanted}`", hint=f"one of {', '.join(names)}")
    raise ModelError(
        f"a `{name_class(model)}` is no model: it has no `predict`",
        hint="wrap a function with `repro.crate(function, name=value)`",
    )
