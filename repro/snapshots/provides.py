"""Which distribution provides a module: by the paths of its RECORD, since the two names may differ."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping

from repro.formats.lockfile import canonicalize_name
from repro.patterns import compile_later
from repro.snapshots.probe import Found
from repro.snapshots.severity import is_numeric

# Where nothing is installed that could tell: import names that are not the distribution's.
_KNOWN = {
    "absl": "absl-py", "apiclient": "google-api-python-client", "attr": "attrs", "azureml": "azureml-core",
    "Bio": "biopython", "bs4": "beautifulsoup4", "bson": "pymongo", "cairosvg": "CairoSVG",
    "community": "python-louvain", "Crypto": "pycryptodome", "cv2": "opencv-python", "dateutil": "python-dateutil",
    "decouple": "python-decouple", "discord": "discord.py", "docx": "python-docx", "dotenv": "python-dotenv",
    "faiss": "faiss-cpu", "fitz": "pymupdf", "git": "gitpython", "google.auth": "google-auth",
    "google.generativeai": "google-generativeai", "google.oauth2": "google-auth", "google.protobuf": "protobuf",
    "googleapiclient": "google-api-python-client", "grpc": "grpcio", "hydra": "hydra-core",
    "imblearn": "imbalanced-learn", "jose": "python-jose", "jwt": "pyjwt", "kafka": "kafka-python",
    "ldap": "python-ldap", "Levenshtein": "levenshtein", "magic": "python-magic", "mpl_toolkits": "matplotlib",
    "MySQLdb": "mysqlclient", "nacl": "pynacl", "OpenGL": "pyopengl", "OpenSSL": "pyopenssl", "osgeo": "gdal",
    "PIL": "pillow", "pkg_resources": "setuptools", "pptx": "python-pptx", "psycopg2": "psycopg2-binary",
    "pylab": "matplotlib", "pywt": "pywavelets", "rest_framework": "djangorestframework",
    "ruamel.yaml": "ruamel.yaml", "serial": "pyserial", "skimage": "scikit-image", "sklearn": "scikit-learn",
    "skopt": "scikit-optimize", "sksurv": "scikit-survival", "slugify": "python-slugify",
    "snowflake.connector": "snowflake-connector-python", "socks": "pysocks", "surprise": "scikit-surprise",
    "talib": "TA-Lib", "telegram": "python-telegram-bot", "umap": "umap-learn", "usb": "pyusb",
    "websocket": "websocket-client", "win32api": "pywin32", "win32com": "pywin32", "wx": "wxpython",
    "yaml": "pyyaml", "zmq": "pyzmq",
}  # fmt: skip
# Well known under the name they are imported by.
_PLAIN = frozenset(
    {
        "adlfs", "aiohttp", "alibi", "altair", "arviz", "boto3", "botorch", "cachetools", "captum", "click",
        "colorama", "cx-oracle", "cython", "dagshub", "dalex", "darts", "dash", "databricks-cli", "django", "docopt",
        "duckdb", "einops", "emcee", "evidently", "fastapi", "feast", "featuretools", "fiona", "fire", "flask",
        "flask-cors", "folium", "fsspec", "gcsfs", "geopandas", "geopy", "gpy", "gpyopt", "gradio", "gym",
        "gymnasium", "h5netcdf", "hdbscan", "httpx", "hydra-core", "hyperopt", "imageio", "interpret", "ipython",
        "ipywidgets", "jinja2", "kaggle", "kubernetes", "langchain", "librosa", "lifelines", "lime", "loguru",
        "lxml", "matplotlib", "mlflow", "mlforecast", "mlxtend", "netcdf4", "neuralprophet", "omegaconf", "openai",
        "openpyxl", "optuna", "packaging", "pandas-profiling", "pdfplumber", "pendulum", "plotly", "plotnine",
        "praw", "prefect", "psutil", "pydub", "pymongo", "pymysql", "pyod", "pyodbc", "pypdf2", "pyproj",
        "pytesseract", "pytest", "pytz", "rasterio", "ray", "redis", "requests", "rich", "ruptures", "s3fs",
        "seaborn", "selenium", "shapely", "simplejson", "six", "sktime", "soundfile", "sqlalchemy",
        "stable-baselines3", "statsforecast", "streamlit", "tabulate", "tenacity", "tensorboard", "termcolor",
        "textblob", "tiktoken", "tpot", "tqdm", "tsfresh", "tslearn", "tweepy", "typer", "typing-extensions",
        "ujson", "uvicorn", "vadersentiment", "wandb", "wget", "wordcloud", "xlrd", "ydata-profiling", "yellowbrick",
        "yfinance",
    }
)  # fmt: skip
_NAMESPACES = frozenset({"azure", "backports", "google", "jaraco", "opentelemetry", "sphinxcontrib", "zope"})
_MAPPING = compile_later(r"^MAPPING(?:: [^=]+)? = (\{.*\})$", re.MULTILINE)  # of setuptools' editable finder


def guess_distribution(name: str) -> tuple[str, bool]:
    """Return the distribution that most likely provides a module, and whether that is known rather than guessed."""
    parts = name.split(".")
    if known := _KNOWN.get(".".join(parts[:2])) or _KNOWN.get(parts[0]):
        return canonicalize_name(known), True
    if parts[0] in _NAMESPACES:
        lower = [part for part in parts[:3] if part.islower()]
        return canonicalize_name("-".join(lower)), False
    guess = canonicalize_name(parts[0])
    return guess, guess in _PLAIN or is_numeric(guess)


def _read(*parts: str) -> str:
    try:
        with open(os.path.join(*parts), encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _name_module(path: str) -> str | None:
    """Return the dotted name of an installed file, e.g. `a.b` of `a/b.py`, `a/b/__init__.py` and `a/b.abi3.so`."""
    directory, _, file = path.rpartition("/")
    stem = file.partition(".")[0]
    if path.startswith(("../", "/")) or ".dist-info/" in path or not path.endswith((".py", ".so", ".pyd")):
        return None
    parts = [*directory.split("/"), *([] if stem == "__init__" else [stem])] if directory else [stem]
    return ".".join(parts) if all(part.isidentifier() for part in parts) else None


def _list_record(found: Found) -> Iterator[str]:
    for line in _read(found.site, found.entry, "RECORD").splitlines():
        path = line[1:].partition('"')[0] if line.startswith('"') else line.partition(",")[0]
        yield path


def _list_directory(path: str) -> Iterator[str]:
    """Yield the modules and packages that a directory on the path holds."""
    for name in os.listdir(path) if os.path.isdir(path) else ():
        if name.endswith(".py") or os.path.isdir(os.path.join(path, name)):
            yield name.removesuffix(".py")


def _evaluate(literal: str) -> Iterable[str]:
    from ast import literal_eval

    return literal_eval(literal)  # type: ignore[no-any-return]


def _list_editable(found: Found, path: str) -> Iterator[str]:
    """Yield what an editable install brings: the directories of its .pth file, or setuptools' table of modules."""
    if path.endswith(".pth"):
        for line in _read(found.site, path).splitlines():
            if line and not line.startswith(("import ", "#")):
                yield from _list_directory(os.path.join(found.site, line.strip()))
    elif path.startswith("__editable__") and path.endswith("_finder.py"):
        mapping = _MAPPING.search(_read(found.site, path))
        try:
            yield from _evaluate(mapping.group(1)) if mapping else ()
        except (ValueError, SyntaxError):
            return


def _list_modules(found: Found) -> Iterator[str]:
    """Yield the dotted names of a distribution's modules, top-level names alone where it has no RECORD."""
    for path in _list_record(found):
        if name := _name_module(path):
            yield name
        if path.endswith(".pth") or path.startswith("__editable__"):
            yield from _list_editable(found, path)
    yield from _read(found.site, found.entry, "top_level.txt").split()


class Provided:
    """Which distributions, by canonical name, provide a module."""

    def __init__(self, modules: Mapping[str, frozenset[str]]) -> None:
        """Take the dotted names of each distribution's modules."""
        self._modules = modules
        self._parts: dict[str, frozenset[str]] = {}
        self._owners: dict[str, set[str]] = {}
        for distribution, names in modules.items():
            for top in {name.partition(".")[0] for name in names}:
                self._owners.setdefault(top, set()).add(distribution)

    def _find_parts(self, distribution: str) -> frozenset[str]:
        """Return a distribution's modules and all the packages they lie in."""
        if distribution not in self._parts:
            parts = set(self._modules[distribution])
            for name in self._modules[distribution]:
                while "." in name and (name := name.rpartition(".")[0]) not in parts:
                    parts.add(name)
            self._parts[distribution] = frozenset(parts)
        return self._parts[distribution]

    def find(self, name: str) -> frozenset[str]:
        """Return the distributions that provide a dotted name, none where it is not installed.

        The longest part of the name that is theirs decides; of a namespace (PEP 420) its first part alone is nobody's.
        """
        top, dot, _ = name.partition(".")
        owners = self._owners.get(top, set())
        if not dot:
            return frozenset(owners)
        while "." in name:
            closer = {each for each in owners if name in self._find_parts(each)}
            if closer:
                return frozenset(closer)
            name = name.rpartition(".")[0]
        return frozenset(each for each in owners if top in self._modules[each])


def read_provided(founds: Iterable[Found]) -> Provided:
    """Return what the distributions that a probe has found provide."""
    modules: dict[str, frozenset[str]] = {}
    for found in founds:
        name = canonicalize_name(found.name)
        modules[name] = modules.get(name, frozenset()) | frozenset(_list_modules(found))
    return Provided(modules)
