"""A model that lives in its own environment: its methods are called there, by name."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

from repro.environments.lookup import Environment
from repro.errors import ModelError
from repro.formats.signature import Signature
from repro.inside import model_codec
from repro.models.worker import Worker

_IS_MODEL = object()


def call_method(worker: Worker, method: str, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
    """Return what a method of a worker's model returns, `_IS_MODEL` for the model itself.

    Raises TypeError for what cannot cross, RemoteError for what the model raises, and WorkerLostError.
    """
    try:
        trees, buffers = model_codec.encode([list(args), kwargs])
    except TypeError as error:
        raise TypeError(f"the arguments of `{method}`: {error}") from None
    fields = {"method": method, "args": trees[0], "kwargs": trees[1]}
    header, received = worker.ask("call", fields, buffers)
    return _IS_MODEL if header.get("is_model") else worker.decode(header, received)


class RestoredModel:
    """A model in the environment that its snapshot names.

    `predict` and every other method of the model are carried out there. Arguments and results are None, truths,
    numbers, texts, bytes, dates, lists, tuples and dicts of these, numpy's arrays, pandas' Series, Index and DataFrame,
    and scipy's sparse matrices; another is a TypeError that names the method and the type. Close it, or use it in a
    `with` block.
    """

    def __init__(self, worker: Worker, *, name: str, environment: Environment, signature: Signature | None) -> None:
        self._worker = worker
        self._name = name
        self._methods: dict[str, Callable[..., Any]] = {}
        self.environment = environment
        self.signature = signature

    @property
    def flavor(self) -> str:
        """The flavor that it was loaded as."""
        return str(self._worker.facts["flavor"])

    def __repr__(self) -> str:
        facts = self._worker.facts
        state = f"pid={facts['pid']}" if self._worker.is_open else "closed"
        return f"<RestoredModel `{self._name}` ({facts['class']}), Python {facts['python']}, {state}>"

    def _call(self, method: str, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        value = call_method(self._worker, method, args, kwargs)
        return self if value is _IS_MODEL else value

    def predict(self, data: object, params: dict[str, object] | None = None, **options: object) -> Any:
        """Return the model's predictions for data that its signature allows; `params` are those of the signature.

        Raises ModelError for data that it does not allow, RemoteError for what the model raises.
        """
        given = {} if params is None else {"params": params}
        return self._call("predict", (data,), {**given, **options})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or "_worker" not in self.__dict__:
            raise AttributeError(name)
        if name in self._methods:
            return self._methods[name]
        header, received = self._worker.ask("get", {"attribute": name})
        if not header.get("is_method"):
            return self._worker.decode(header, received)

        def method(*args: object, **kwargs: object) -> object:
            return self._call(name, args, kwargs)

        method.__name__ = name
        self._methods[name] = method
        return method

    def __reduce__(self) -> tuple[object, ...]:
        raise ModelError(
            f"the model `{self._name}` lives in a process of its own and cannot be pickled",
            hint="load it where it is needed: `repro.load_model(uri, restore=True)`",
        )

    def close(self) -> None:
        """End its process; closing twice is fine."""
        self._worker.close()

    def __enter__(self) -> RestoredModel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
