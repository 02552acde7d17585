"""The model that is served, as the HTTP side knows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from repro.formats.scoring import Input
from repro.formats.signature import Signature
from repro.values import field, frozen


@frozen
class Served:
    """A model's name, what it takes, a body that may be sent to it, and what it runs in.

    `environment` is the value of `X-Repro-Env`; `facts` are what `/version?verbose=1` tells.
    """

    name: str
    environment: str
    signature: Signature | None = None
    wants_frame: bool = True
    example: Mapping[str, object] | None = None
    facts: Mapping[str, object] = field(default_factory=dict)

    @property
    def param_names(self) -> tuple[str, ...]:
        """The parameters that its signature names."""
        params = self.signature.params if self.signature else None
        return tuple(each.name for each in params or ())


class Scorer(Protocol):
    """Whoever asks the model; an answer is what JSON can say, or the error of that call alone."""

    @property
    def workers(self) -> int:
        """How many can work at a time."""

    def has_room(self) -> bool:
        """Tell whether one is ready and idle."""

    async def predict(
        self, inputs: Sequence[Input], params: Mapping[str, object] | None
    ) -> Sequence[object | Exception]:
        """Ask the model once for each input, in one go by one worker. Raises WorkerLostError."""
