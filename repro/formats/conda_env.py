"""conda's `environment.yml` and MLflow's `conda.yaml`: the Python version and the part that pip installs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from repro.formats.fields import dump_mapping, load_mapping
from repro.formats.python_env import read_requirement_list
from repro.formats.wanted import Place, PythonWish, Wanted, find_line, merge

FILE_NAME = "conda.yaml"
# Packages of conda's channels that an index has too; the others' names are the same there.
_RENAMED = {
    "pytorch": "torch",
    "py-xgboost": "xgboost",
    "matplotlib-base": "matplotlib",
    "category_encoders": "category-encoders",
    "tensorflow-cpu": "tensorflow",
    "tensorflow-eigen": "tensorflow",
    "tensorflow-gpu": "tensorflow",
    "tensorflow-mkl": "tensorflow",
    "pytorch-cpu": "torch",
    "pytorch-gpu": "torch",
}
_OF_INDEX = frozenset(
    {
        "accelerate", "altair", "arviz", "bayesian-optimization", "beautifulsoup4", "bokeh", "boto3", "catboost",
        "category-encoders", "click", "cloudpickle", "dask", "datasets", "dill", "eli5", "evaluate", "faker",
        "fastapi", "fire", "flask", "gensim", "gitpython", "great-expectations", "h5py", "hdbscan", "httpx",
        "hydra-core", "hyperopt", "imageio", "imbalanced-learn", "ipython", "jinja2", "joblib", "keras", "lightgbm",
        "lightning", "lime", "lxml", "matplotlib", "missingno", "mlflow", "networkx", "nltk", "numba", "numpy",
        "omegaconf", "onnx", "onnxruntime", "opencv-python", "openpyxl", "optuna", "pandas", "patsy", "pillow",
        "plotly", "polars", "prophet", "protobuf", "psutil", "pyarrow", "pycaret", "pydantic", "pymc", "pymongo",
        "pymysql", "pyspark", "pytest", "python-dotenv", "pytorch-lightning", "pyyaml", "requests", "rich", "s3fs",
        "scikit-image", "scikit-learn", "scikit-optimize", "scikit-plot", "scipy", "seaborn", "sentence-transformers",
        "sentencepiece", "shap", "sktime", "spacy", "sqlalchemy", "statsmodels", "streamlit", "sympy", "tabulate",
        "tensorboard", "tensorflow", "tensorflow-datasets", "tensorflow-hub", "textblob", "tokenizers", "torch",
        "torchaudio", "torchmetrics", "torchvision", "tqdm", "transformers", "tsfresh", "typer", "umap-learn",
        "uvicorn", "wandb", "xarray", "xgboost", "xlrd", "yellowbrick", "zarr",
    }
)  # fmt: skip
_KEYS = ("name", "channels", "dependencies", "prefix", "variables", "platforms", "category")
# [channel::]name, then a version (`=3.11`, `==3.11.7`, `>=3.10,<4`) and perhaps a build, as conda writes them.
_PACKAGE = re.compile(r"(?:[^:\s]+::)?(?P<name>[A-Za-z0-9_.-]+)\s*(?P<version>[=<>!~ ].*)?")


def _read_python(spec: str, place: Place, faults: list[str]) -> tuple[PythonWish, ...]:
    """Return the wish behind `python` in a conda match specification."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    text = re.sub(r"\s", "", spec)
    exact = re.fullmatch(r"={0,2}(\d+\.\d+(?:\.\d+)?)(\.?\*)?(=[A-Za-z0-9_*]+)?", text)
    if exact:
        return (PythonWish(place=place, version=exact[1]),)
    try:
        return (PythonWish(place=place, range=str(SpecifierSet(text))),)
    except InvalidSpecifier:
        faults.append(f"{place}: `python{spec}` is not a Python version such as `python=3.11.7`")
        return ()


def _read_match(version: str) -> str | None:
    """Return the specifier for the version in a conda match specification, None where it has none.

    `=1.2` is fuzzy, `=1.2=build` and `==1.2` are exact (conda's "Package match specifications").
    """
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    text = version.strip()
    if built := re.fullmatch(r"=?=?\s*([^=<>!~*\s]+)(?:=|\s+)[A-Za-z0-9_*]+", text):
        text = f"=={built[1]}"
    elif fuzzy := re.fullmatch(r"(?:=\s*|(?![=<>!~]))([^=<>!~*,|\s]+?)(?:\.?\*)?", text):
        text = f"=={fuzzy[1]}.*"
    try:
        return str(SpecifierSet(text.replace(" ", "")))
    except InvalidSpecifier:
        return None


def _read_package(name: str, version: str, place: Place) -> Wanted | None:
    """Return the wish for a package of conda that an index has too, None for any other."""
    from repro.formats.loose_requirements import read_lines

    name = _RENAMED.get(name, name)
    specifier = _read_match(version) if version else ""
    return None if name not in _OF_INDEX or specifier is None else read_lines([(place, name + specifier)])


def _read_tool(name: str, version: str, place: Place) -> Wanted:
    """Return the wish for pip, setuptools or wheel, which MLflow takes from an index too where it makes the place."""
    from repro.formats.loose_requirements import read_lines

    text = re.sub(r"\s", "", version)
    pinned = re.fullmatch(r"=([^=<>]+)(=[A-Za-z0-9_*]+)?", text)
    return read_lines([(place, f"{name}=={pinned[1]}" if pinned else name + text)])


def parse_conda_env(text: str, *, where: str) -> Wanted:
    """Return what pip would install of a conda environment file, and well-known packages that an index has too.

    Both those and conda's other packages, which are left out, are named in a note.

    Raises ProjectError where it is not YAML; other faults, unknown keys among them, are gathered.
    """
    content = load_mapping(text, where=where)
    faults = [f"{where}: unknown key `{key}`; it may have {', '.join(_KEYS)}" for key in content if key not in _KEYS]
    parts: list[Wanted] = []
    others: list[str] = []
    taken: list[str] = []
    items = content.get("dependencies")
    if not isinstance(items, list | None):
        faults.append(f"{where}: `dependencies` is not a list")
        items = None
    for item in items or ():
        place = Place(file=where, line=find_line(text, str(item)))
        match item:
            case {"pip": pip, **rest} if not rest:
                parts.append(read_requirement_list(pip, text=text, where=where, key="dependencies.pip", faults=faults))
            case str() if found := _PACKAGE.fullmatch(item.strip()):
                name, version = found["name"].lower(), (found["version"] or "").strip()
                if name == "python":
                    parts.append(Wanted(pythons=_read_python(version, place, faults) if version else ()))
                elif name in ("pip", "setuptools", "wheel"):
                    parts.append(_read_tool(name, version, place) if version else Wanted())
                elif package := _read_package(name, version, place):
                    parts.append(package)
                    taken.append(item.strip())
                else:
                    others.append(item.strip())
            case _:
                faults.append(f"{place}: `{item}` is neither a package of conda nor a `pip:` list")
    return merge([*parts, Wanted(faults=tuple(faults), notes=tuple(_describe_others(where, taken, others)))])


def _describe_others(where: str, taken: Sequence[str], others: Sequence[str]) -> Iterator[str]:
    if taken:
        yield f"{where}: packages of conda, taken from the package index instead: {', '.join(taken)}"
    if others:
        yield f"{where}: packages of conda that no package index is known to have, left out: {', '.join(others)}"


def format_conda_env(*, python: str | None, pins: Sequence[str]) -> str:
    """Return the conda.yaml for exact pins, as MLflow writes and reads it."""
    pip = [pin.replace("==", "=") for pin in pins if pin.startswith("pip==")] or ["pip"]
    content = {
        "name": "mlflow-env",
        "channels": ["conda-forge"],
        "dependencies": [
            *([f"python={python}"] if python else []),
            *pip,
            {"pip": [pin for pin in pins if not pin.startswith("pip==")]},
        ],
    }
    return dump_mapping(content)
