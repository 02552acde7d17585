"""How much a difference matters: the one enumeration of the product, and who gets which class.

docs/drift.md is its table. Pure and cheap: the model loader asks at every load.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from repro.formats.direct_url import Editable, System
from repro.formats.lockfile import Distribution, Interpreter, Snapshot
from repro.values import frozen


class Severity(Enum):
    """The class of a difference, worst first."""

    BREAKS_LOADING = "breaks-loading"
    """Another implementation, X.Y or ABI of Python, or a library of the model's flavor is missing."""
    NUMERIC = "numeric"
    """A library whose version can change numbers, or whether a pickle loads."""
    USED = "used"
    """A distribution that a run has imported, that the code imports, or that was asked for by name."""
    NATIVE = "native"
    """Not known to be used, but it has compiled code, which others in the process may meet."""
    PLATFORM = "platform"
    """Another operating system or machine, or a distribution that belongs to the system."""
    UNUSED = "unused"
    """Nothing says that it is used, or its files are the same and only where they came from differs."""
    EXTRA = "extra"
    """It is there and was not asked for."""

    @property
    def rank(self) -> int:
        """Its place from the worst, 0, on."""
        return _RANKS[self]


_RANKS = {severity: rank for rank, severity in enumerate(Severity)}

# Arrays, statistics, learning, and what their pickles pass through; packaging's canonical names.
_NUMERIC = frozenset(
    {
        "accelerate", "autograd", "bottleneck", "catboost", "category-encoders", "cloudpickle", "cudf", "cuml",
        "cupy", "daal", "daal4py", "dask", "datasets", "dgl", "diffusers", "dill", "dm-tree", "fastai", "flax",
        "gensim", "gpytorch", "h2o", "h5py", "imbalanced-learn", "intel-openmp", "jax", "jaxlib", "joblib", "keras",
        "lightgbm", "lightning", "llvmlite", "mkl", "ml-dtypes", "mxnet", "networkx", "nltk", "numba", "numexpr",
        "numpy", "opt-einsum", "optree", "paddlepaddle", "pandas", "patsy", "peft", "pillow", "pmdarima", "polars",
        "prophet", "protobuf", "pyarrow", "pycaret", "pydantic", "pydantic-core", "pymc", "pyro-ppl", "pyspark",
        "pytensor", "pytorch-lightning", "safetensors", "scikit-image", "scikit-learn", "scikit-learn-intelex",
        "scipy", "sentence-transformers", "sentencepiece", "shap", "skops", "spacy", "statsmodels", "sympy", "tbb",
        "tf-keras", "theano", "thinc", "timm", "tokenizers", "torch", "transformers", "triton", "xarray", "xgboost",
    }
)  # fmt: skip
_NUMERIC_PREFIXES = ("cupy-", "jax-", "nvidia-", "onnx", "opencv-", "paddlepaddle-", "tensorflow", "torch", "xgboost-")
# What installs and builds: it runs before the code, not with it.
_INSTALLERS = frozenset(
    {
        "build", "conda", "flit-core", "hatchling", "pip", "pip-tools", "pipx", "poetry-core", "setuptools", "uv",
        "virtualenv", "wheel",
    }
)  # fmt: skip


def is_numeric(name: str) -> bool:
    """Tell whether the version of a distribution (canonical name) can change numbers or unpickling."""
    return name in _NUMERIC or name.startswith(_NUMERIC_PREFIXES)


def is_native(distribution: Distribution) -> bool:
    """Tell whether the file it is installed from is known to hold compiled code: a wheel for one platform (PEP 425)."""
    file = distribution.file or ""
    return file.endswith(".whl") and not file.endswith("-any.whl")


@frozen
class Known:
    """What is known beside the two snapshots, by canonical names.

    `flavor` are the libraries without which the model cannot be loaded, `imported` what the project's code imports.
    """

    flavor: frozenset[str] = frozenset()
    imported: frozenset[str] = frozenset()


NOTHING_KNOWN = Known()


def _close_over(names: Iterable[str], snapshot: Snapshot) -> set[str]:
    """Return the names and all that they require."""
    required: dict[str, list[str]] = {}
    for each in snapshot.distributions:
        for dependent in each.via:
            required.setdefault(dependent, []).append(each.name)
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += required.get(name, ())
    return found


def find_used(before: Snapshot, after: Snapshot, known: Known) -> frozenset[str]:
    """Return the names taken for used.

    Those a run has marked, and what the code imports with all that it requires. Where neither is known, those that were
    asked for by name; where nothing is, all but what only installs.
    """
    both = (before, after)
    used = {each.name for snapshot in both for each in snapshot.distributions if each.used}
    if known.imported:
        used |= _close_over(known.imported, before) | _close_over(known.imported, after)
    if not used:
        used = {each.name for snapshot in both for each in snapshot.distributions if each.requested} - _INSTALLERS
    if not used:
        used = {each.name for snapshot in both for each in snapshot.distributions} - _INSTALLERS
    return frozenset(used)


def classify_interpreters(before: Interpreter, after: Interpreter) -> Severity | None:
    """Return the class of a difference between two Pythons, None where they fit each other."""
    if before.compatibility != after.compatibility:
        return Severity.BREAKS_LOADING
    return Severity.PLATFORM if before.platform != after.platform else None


def _has_same_files(before: Distribution, after: Distribution) -> bool:
    """Tell whether only where it came from differs; an editable's files lie elsewhere."""
    if isinstance(before.source, Editable) or isinstance(after.source, Editable):
        return False
    return before.version == after.version and before.record == after.record and before.record is not None


def classify(
    before: Distribution | None, after: Distribution | None, *, used: frozenset[str], known: Known = NOTHING_KNOWN
) -> Severity:
    """Return the class of a distribution that differs, the worst that fits; `used` is what `find_used` has found."""
    there = before or after
    if there is None:
        raise ValueError("a difference has at least one side")
    name = there.name
    if before is None:
        return Severity.USED if name in known.imported else Severity.EXTRA
    if after is None and name in known.flavor:
        return Severity.BREAKS_LOADING
    if after is not None and _has_same_files(before, after) and not set(after.modified) - set(before.modified):
        return Severity.UNUSED
    if is_numeric(name) or name in known.flavor:
        return Severity.NUMERIC
    if name in used:
        return Severity.USED
    sides = [each for each in (before, after) if each is not None]
    if any(map(is_native, sides)):
        return Severity.NATIVE
    if any(isinstance(each.source, System) for each in sides):
        return Severity.PLATFORM
    return Severity.UNUSED
