"""What Spark's executors are told: which model, in which environment, and what its answers are to be."""

from __future__ import annotations

from collections.abc import Mapping

from repro.values import asdict, field, frozen

MODEL_DIR = "model"
LOCK_NAME = "requirements-lock.txt"


@frozen
class Parcel:
    """A zip that Spark gives to every executor: its name among Spark's files, and its sha256."""

    name: str
    sha256: str


@frozen
class Errand:
    """The parcel `model` holds the model's directory (MODEL_DIR) and, where it `restores`, its lock (LOCK_NAME).

    Where the environment comes from: `packed` is a directory that `spark.archives` has unpacked, `bundle` a parcel that
    is restored, else the lock is; `known` is where the driver has it, for executors that see the same files. Without
    all of these the model works in the environment of Spark's Python. `result` and `features` are those of
    `inside/model_table.py`; `variables` are for the model's process alone.
    """

    name: str
    model: Parcel
    description: Mapping[str, object]
    result: Mapping[str, object]
    features: tuple[str, ...] | None = None
    params: Mapping[str, object] | None = None
    restores: bool = False
    packed: str | None = None
    bundle: Parcel | None = None
    known: str | None = None
    digest: str | None = None
    python: str | None = None
    offline: bool = False
    cache: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[object, ...]:
        """What tells one model in one environment from another."""
        bundle = self.bundle.sha256 if self.bundle else None
        flavor = self.description.get("flavor")
        variables = tuple(sorted(self.variables.items()))
        return (self.model.sha256, flavor, self.restores, self.packed, bundle, self.python, self.cache, variables)


def pack_errand(errand: Errand) -> dict[str, object]:
    """Return an errand as plain values, which can be read before repro can be imported."""
    return asdict(errand)


def _read_parcel(value: object) -> Parcel:
    return Parcel(**value) if isinstance(value, dict) else Parcel(name="", sha256="")


def unpack_errand(facts: Mapping[str, object]) -> Errand:
    """Return what `pack_errand` has packed."""
    bundle = _read_parcel(facts["bundle"]) if facts["bundle"] else None
    read: dict[str, object] = {**facts, "model": _read_parcel(facts["model"]), "bundle": bundle}
    return Errand(**read)  # type: ignore[arg-type]
