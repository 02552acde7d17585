"""Read the variables of the process environment, and make the environments of children.

The only place that names a variable. Every reader takes the mapping, so that a test needs no real environment.
"""

from __future__ import annotations

import os
import sys

from repro.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# What steers an installer, a resolver or an interpreter from outside: none of it may decide what a restore installs.
_STEERING_PREFIXES = ("PIP_", "UV_", "VIRTUALENV_", "PYTHON", "CONDA_", "_CONDA_")
_STEERING_NAMES = ("VIRTUAL_ENV", "__PYVENV_LAUNCHER__", "SETUPTOOLS_USE_DISTUTILS")
# What makes an interpreter import, or take for its own, what is not in its environment.
_LEAKS = frozenset(
    {
        "PYTHONHOME", "PYTHONPATH", "PYTHONPLATLIBDIR", "PYTHONSTARTUP", "PYTHONUSERBASE", "PYTHONEXECUTABLE",
        "__PYVENV_LAUNCHER__",
    }
)  # fmt: skip
# What says where and how to reach an index: kept while fetching.
_INDEX_NAMES = frozenset(
    {
        "PIP_CERT", "PIP_CLIENT_CERT", "PIP_CONFIG_FILE", "PIP_DEFAULT_TIMEOUT", "PIP_EXTRA_INDEX_URL",
        "PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_KEYRING_PROVIDER", "PIP_NO_INDEX", "PIP_PROXY", "PIP_RETRIES",
        "PIP_TIMEOUT", "PIP_TRUSTED_HOST",
        "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_HTTP_RETRIES", "UV_HTTP_TIMEOUT", "UV_INDEX",
        "UV_INDEX_URL", "UV_INSECURE_HOST", "UV_KEYRING_PROVIDER", "UV_NATIVE_TLS", "UV_NO_INDEX", "UV_SYSTEM_CERTS",
    }
)  # fmt: skip
_INDEX_PREFIXES = ("UV_INDEX_",)  # UV_INDEX_<NAME>_USERNAME, _PASSWORD


def find_python(environ: Mapping[str, str]) -> str | None:
    """Return `MLFLOW_PYTHON_BIN`, `~` expanded, as it stands: whether it exists is the user's word."""
    value = environ.get("MLFLOW_PYTHON_BIN")
    return os.path.expanduser(value) if value else None


def prefer_python(environ: Mapping[str, str], python: str) -> dict[str, str]:
    """Return an environment in which `python` is taken where nothing else is asked for."""
    return dict(environ) if find_python(environ) else {**environ, "MLFLOW_PYTHON_BIN": python}


def is_verbose(environ: Mapping[str, str]) -> bool:
    """Tell whether `MLFLOW_VERBOSE` or `REPRO_VERBOSE` asks for each command that is run."""
    return bool(environ.get("MLFLOW_VERBOSE") or environ.get("REPRO_VERBOSE"))


def wants_restore(environ: Mapping[str, str]) -> bool:
    """Tell whether `REPRO_RESTORE` makes restoring the default."""
    return environ.get("REPRO_RESTORE", "").lower() not in ("", "0", "false", "no")


def find_snapshot_policy(environ: Mapping[str, str]) -> str | None:
    """Return `REPRO_SNAPSHOT_POLICY`: what happens where a model's snapshot is not restored."""
    return environ.get("REPRO_SNAPSHOT_POLICY") or None


def allows_model_code(environ: Mapping[str, str]) -> bool:
    """Tell whether loading a model may run code: MLflow's variable can forbid it."""
    return not _is_off(environ, "MLFLOW_ALLOW_MODEL_CODE_EXECUTION")


def find_env_manager(environ: Mapping[str, str]) -> str | None:
    """Return `REPRO_ENV_MANAGER`, else `restore` where `REPRO_RESTORE` asks for it."""
    return environ.get("REPRO_ENV_MANAGER") or ("restore" if wants_restore(environ) else None)


def find_as_of(environ: Mapping[str, str]) -> str | None:
    """Return `REPRO_AS_OF`, the day whose index a project's loose files are locked with."""
    return environ.get("REPRO_AS_OF") or None


def name_env_manager(environ: Mapping[str, str], manager: str, *, as_of: str | None) -> dict[str, str]:
    """Return the environment in which each `repro run` chooses environments as this one does."""
    kept = {name: value for name, value in environ.items() if name not in ("REPRO_RESTORE", "REPRO_AS_OF")}
    return {**kept, "REPRO_ENV_MANAGER": manager, **({"REPRO_AS_OF": as_of} if as_of else {})}


def wants_lenient_types(environ: Mapping[str, str]) -> bool:
    """Tell whether a run that this one is nested in takes any text for a number (`REPRO_LENIENT_TYPES`)."""
    return environ.get("REPRO_LENIENT_TYPES") == "1"


def name_run_options(environ: Mapping[str, str], *, storage_dir: str | None, lenient_types: bool) -> dict[str, str]:
    """Return the environment in which each nested `repro run` keeps and takes what this one does."""
    named = {"MLFLOW_TMP_DIR": os.path.abspath(os.path.expanduser(storage_dir))} if storage_dir else {}
    return {**environ, **named, **({"REPRO_LENIENT_TYPES": "1"} if lenient_types else {})}


def list_temporary_dirs(environ: Mapping[str, str]) -> list[str]:
    """Return the directories for temporary files, best first, as `tempfile` has them."""
    named = [environ[name] for name in ("TMPDIR", "TEMP", "TMP") if environ.get(name)]
    return [*map(os.path.abspath, named), "/tmp", "/var/tmp", "/usr/tmp", os.path.abspath(os.curdir)]


def find_storage_dir(environ: Mapping[str, str]) -> str | None:
    """Return `MLFLOW_TMP_DIR`, where what parameters bring from elsewhere is kept."""
    return environ.get("MLFLOW_TMP_DIR") or None


def get_cache_dir(environ: Mapping[str, str]) -> str:
    """Return `MLFLOW_SNAPSHOT_CACHE`, else the user's cache directory (XDG Base Directory specification)."""
    return expand_path(environ.get("MLFLOW_SNAPSHOT_CACHE") or environ.get("XDG_CACHE_HOME") or "~/.cache")


def get_data_dir(environ: Mapping[str, str]) -> str:
    """Return the user's data directory (XDG Base Directory specification, which ignores a relative path)."""
    named = environ.get("XDG_DATA_HOME", "")
    return named if os.path.isabs(named) else expand_path("~/.local/share")


def expand_path(path: str) -> str:
    """Return a cache directory as an absolute path, `~` expanded. Raises UsageError where nobody's home is known."""
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):
        raise UsageError(
            f"`{path}` names a home directory, and there is none",
            hint="name a directory with `--cache DIR` or MLFLOW_SNAPSHOT_CACHE",
        )
    return os.path.abspath(expanded)


def find_virtual_environment(environ: Mapping[str, str]) -> str | None:
    """Return the directory of the active virtual environment."""
    return environ.get("VIRTUAL_ENV") or None


def _is_program(path: str) -> bool:
    return os.access(path, os.X_OK) and not os.path.isdir(path)


def find_program(name: str, environ: Mapping[str, str]) -> str | None:
    """Return the program of a name on PATH."""
    places = (os.path.join(directory, name) for directory in get_search_path(environ))
    return next((place for place in places if _is_program(place)), None)


def locate_python(given: str, environ: Mapping[str, str]) -> str:
    """Return the absolute path that a word for an interpreter means, as a shell has it: a path, or a name on PATH.

    A name that is not on PATH is returned as it stands.
    """
    path = os.path.expanduser(given)
    if os.sep not in path:
        path = find_program(path, environ) or path
        if os.sep not in path:
            return path
    return os.path.join(os.getcwd(), path.removeprefix("./"))


def choose_python(given: str | None, environ: Mapping[str, str]) -> str:
    """Return the interpreter meant: given > `MLFLOW_PYTHON_BIN` > the active environment > PATH > our own."""
    if given:
        return locate_python(given, environ)
    if named := find_python(environ):
        return named
    if active := find_virtual_environment(environ):
        python = os.path.join(active, "bin", "python")
        if os.path.exists(python):
            return python
    return find_program("python", environ) or find_program("python3", environ) or sys.executable


def get_pyenv_root(environ: Mapping[str, str]) -> str:
    """Return the directory below which pyenv keeps `versions/`."""
    return os.path.expanduser(environ.get("PYENV_ROOT") or "~/.pyenv")


def get_search_path(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the directories of `PATH`."""
    return tuple(part for part in environ.get("PATH", os.defpath).split(os.pathsep) if part)


def get_import_path(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the directories of `PYTHONPATH`."""
    return tuple(part for part in environ.get("PYTHONPATH", "").split(os.pathsep) if part)


def get_columns(environ: Mapping[str, str]) -> int:
    """Return the width that `COLUMNS` gives a terminal; 100 where it is no number."""
    value = environ.get("COLUMNS", "")
    return int(value) if value.isascii() and value.isdecimal() else 100


def get_shell(environ: Mapping[str, str]) -> str:
    """Return the user's shell, else bash."""
    return environ.get("SHELL") or "bash"


def get_user(environ: Mapping[str, str]) -> str:
    """Return the name that runs are kept under."""
    return environ.get("LOGNAME") or environ.get("USER") or f"uid-{os.getuid()}"


def find_tracking_uri(environ: Mapping[str, str]) -> str | None:
    """Return `MLFLOW_TRACKING_URI`; where that is the endpoint of `repro run`, the store behind it."""
    uri = environ.get("MLFLOW_TRACKING_URI") or None
    return environ.get("REPRO_TRACKING_URI", uri) if uri and uri == environ.get("REPRO_ENDPOINT") else uri


def find_registry_uri(environ: Mapping[str, str]) -> str | None:
    """Return `MLFLOW_REGISTRY_URI`, where it is not the endpoint of `repro run`, which has no registry of its own."""
    uri = environ.get("MLFLOW_REGISTRY_URI") or None
    return None if uri and uri == environ.get("REPRO_ENDPOINT") else uri


def find_tracking_login(environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Return `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`, where both are set."""
    user, password = environ.get("MLFLOW_TRACKING_USERNAME"), environ.get("MLFLOW_TRACKING_PASSWORD")
    return (user, password) if user and password else None


def find_tracking_token(environ: Mapping[str, str]) -> str | None:
    """Return `MLFLOW_TRACKING_TOKEN`, which clients show to a tracking server."""
    return environ.get("MLFLOW_TRACKING_TOKEN") or None


def find_serve_token(environ: Mapping[str, str]) -> str | None:
    """Return `REPRO_SERVE_TOKEN`, which clients show to a served model."""
    return environ.get("REPRO_SERVE_TOKEN") or None


def drop_tracking_credentials(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what says who asks a tracking server."""
    names = [f"MLFLOW_TRACKING_{name}" for name in ("USERNAME", "PASSWORD", "TOKEN", "CLIENT_CERT_PATH")]
    return {name: value for name, value in environ.items() if name not in names}


def name_endpoint(environ: Mapping[str, str], *, uri: str, token: str, store_uri: str) -> dict[str, str]:
    """Return the environment in which MLflow clients log to an endpoint on loopback, and repro to the store behind it.

    No credentials of the user's go there, and no proxy is asked for it.
    """
    named = drop_tracking_credentials(environ)
    named |= {"MLFLOW_TRACKING_TOKEN": token, "REPRO_ENDPOINT": uri, "REPRO_TRACKING_URI": store_uri}
    for name in ("NO_PROXY", "no_proxy"):
        named[name] = ",".join([*filter(None, [environ.get(name)]), "127.0.0.1"])
    return named


def trusts_any_server(environ: Mapping[str, str]) -> bool:
    """Tell whether `MLFLOW_TRACKING_INSECURE_TLS` lets a tracking server show any certificate."""
    return is_true(environ.get("MLFLOW_TRACKING_INSECURE_TLS", ""))


def find_tracking_certificates(environ: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Return the files of the certificates to trust (a tracking server's own, else all programs') and to show."""
    named = environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or find_certificates(environ)
    return named, environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH") or None


def _read_number(environ: Mapping[str, str], name: str, default: float, *, most: float) -> float:
    """Return a number that is not negative. Raises UsageError."""
    text = environ.get(name) or str(default)
    try:
        number = float(text)
        if not 0 <= number < float("inf"):
            raise ValueError
    except ValueError as error:
        raise UsageError(f"{name} is `{text}`, and not a number from 0 on") from error
    return min(number, most)


def get_request_timeout_s(environ: Mapping[str, str]) -> float:
    """Return `MLFLOW_HTTP_REQUEST_TIMEOUT`: how long a tracking server may be silent. Raises UsageError."""
    return _read_number(environ, "MLFLOW_HTTP_REQUEST_TIMEOUT", 60, most=86_400) or 60.0


def get_request_retries(environ: Mapping[str, str]) -> tuple[int, float, float]:
    """Return how often a tracking server is asked again, the backoff factor and the jitter, in seconds.

    `MLFLOW_HTTP_REQUEST_MAX_RETRIES`, `_BACKOFF_FACTOR` and `_BACKOFF_JITTER`. Raises UsageError.
    """
    retries = _read_number(environ, "MLFLOW_HTTP_REQUEST_MAX_RETRIES", 5, most=10)
    factor = _read_number(environ, "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", 0.5, most=120)
    return int(retries), factor, _read_number(environ, "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", 0.5, most=120)


def list_outbox_dirs(environ: Mapping[str, str], cwd: str) -> list[str]:
    """Return where what a tracking server has not got yet may be kept, the first that can be written is taken.

    The user's own places, then one in `cwd`.
    """
    own = list_own_outbox_dirs(environ, cwd)
    return own if environ.get("REPRO_OUTBOX") else [*own, os.path.join(cwd, "mlruns", ".repro", "outbox")]


def list_own_outbox_dirs(environ: Mapping[str, str], cwd: str) -> list[str]:
    """Return `REPRO_OUTBOX`, else the one in the user's state directory (XDG Base Directory specification)."""
    if named := environ.get("REPRO_OUTBOX"):
        return [os.path.join(cwd, os.path.expanduser(named))]
    state = os.path.expanduser(environ.get("XDG_STATE_HOME") or "~/.local/state")
    return [os.path.join(state, "repro", "outbox")] if os.path.isabs(state) else []


def take_run_id() -> str | None:
    """Return `MLFLOW_RUN_ID`, the run that a started script belongs to, once: a second run is a new one.

    That of `repro run` stays there for an MLflow in the same process, marked as taken for repro and its children.
    """
    run_id = os.environ.get("MLFLOW_RUN_ID")
    if not run_id or os.environ.get("REPRO_RUN") != run_id:
        return os.environ.pop("MLFLOW_RUN_ID", None) or None
    if os.environ.get("REPRO_RUN_TAKEN") == run_id:
        return None
    os.environ["REPRO_RUN_TAKEN"] = run_id
    return run_id


def set_tracking_uri(uri: str | None) -> None:
    """Hand a tracking URI on to the processes that are started from now on."""
    if uri is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    else:
        os.environ["MLFLOW_TRACKING_URI"] = uri


def set_registry_uri(uri: str | None) -> None:
    """Hand a registry's URI on to the processes that are started from now on, or none."""
    if uri is None:
        os.environ.pop("MLFLOW_REGISTRY_URI", None)
    else:
        os.environ["MLFLOW_REGISTRY_URI"] = uri


def is_runners(environ: Mapping[str, str], run_id: str) -> bool:
    """Tell whether a run is that of the `repro run` which has started this process, who sets its status."""
    return environ.get("REPRO_RUN") == run_id


def find_parent_run(environ: Mapping[str, str]) -> str | None:
    """Return `REPRO_RUN`, the run of the `repro run` that this process was started by."""
    return environ.get("REPRO_RUN") or None


def find_experiment_name(environ: Mapping[str, str]) -> str | None:
    """Return `MLFLOW_EXPERIMENT_NAME`."""
    return environ.get("MLFLOW_EXPERIMENT_NAME") or None


def set_experiment_id(experiment_id: str | None) -> None:
    """Hand an experiment on to the processes that are started from now on, or none; a name would contradict it."""
    os.environ.pop("MLFLOW_EXPERIMENT_ID", None)
    if experiment_id is not None:
        os.environ.pop("MLFLOW_EXPERIMENT_NAME", None)
        os.environ["MLFLOW_EXPERIMENT_ID"] = experiment_id


def find_run_context(environ: Mapping[str, str]) -> str | None:
    """Return `MLFLOW_RUN_CONTEXT`: tags of every run that is started, as JSON."""
    return environ.get("MLFLOW_RUN_CONTEXT") or None


def find_experiment_id(environ: Mapping[str, str]) -> str | None:
    """Return `MLFLOW_EXPERIMENT_ID`."""
    return environ.get("MLFLOW_EXPERIMENT_ID") or None


def make_guest_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a guest script: as it is, without what turns one interpreter into another."""
    return {
        name: value
        for name, value in environ.items()
        if name not in ("PYTHONHOME", "PYTHONPATH", "__PYVENV_LAUNCHER__")
    }


def make_worker_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a process that holds a model: a guest's, without what lets us in elsewhere.

    That are the login of a tracking server, the indexes, whose URLs have passwords, and what clients show to us.
    """
    kept = drop_tracking_credentials(make_guest_environment(environ))
    return {name: value for name, value in kept.items() if name != "REPRO_SERVE_TOKEN" and not _is_index_variable(name)}


def _is_index_variable(name: str) -> bool:
    return name in _INDEX_NAMES or name.startswith(_INDEX_PREFIXES)


def make_installer_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for an installer: nothing in it can choose a version or a place.

    How an index is reached is kept, offline too: it names uv's cache. Which one is, `name_indexes` says.
    """
    kept = {
        name: value
        for name, value in environ.items()
        if not (name.startswith(_STEERING_PREFIXES) or name in _STEERING_NAMES) or _is_index_variable(name)
    }
    kept |= {
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_PROGRESS": "1",
        "VIRTUALENV_CONFIG_FILE": os.devnull,
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return kept


def name_caches(environ: dict[str, str], directory: str | None) -> None:
    """Make uv and pip keep their caches below `directory`, and where that is None keep none."""
    caches = {"UV_NO_CACHE": "1", "PIP_NO_CACHE_DIR": "1"}
    if directory is not None:
        caches = {"UV_CACHE_DIR": os.path.join(directory, "uv"), "PIP_CACHE_DIR": os.path.join(directory, "pip")}
    environ |= caches


# By pip's option names: the variables of pip and of uv that say the same.
_INDEX_OPTIONS = {
    "index-url": (("PIP_INDEX_URL",), ("UV_DEFAULT_INDEX", "UV_INDEX_URL")),
    "extra-index-url": (("PIP_EXTRA_INDEX_URL",), ("UV_INDEX", "UV_EXTRA_INDEX_URL")),
    "find-links": (("PIP_FIND_LINKS",), ("UV_FIND_LINKS",)),
    "no-index": (("PIP_NO_INDEX",), ("UV_NO_INDEX",)),
    "cert": (("PIP_CERT",), ()),
    "client-cert": (("PIP_CLIENT_CERT",), ("SSL_CLIENT_CERT",)),
    "trusted-host": (("PIP_TRUSTED_HOST",), ("UV_INSECURE_HOST",)),
    "proxy": (("PIP_PROXY",), ()),
    "timeout": (("PIP_TIMEOUT", "PIP_DEFAULT_TIMEOUT"), ("UV_HTTP_TIMEOUT",)),
    "retries": (("PIP_RETRIES",), ("UV_HTTP_RETRIES",)),
    "keyring-provider": (("PIP_KEYRING_PROVIDER",), ()),
}
_CERTIFICATES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_LISTS = frozenset({"extra-index-url"})  # of these, all variables count, of others the first that is set


def _read_index_options(environ: Mapping[str, str], column: int) -> dict[str, str]:
    found = {}
    for option, columns in _INDEX_OPTIONS.items():
        values = [value for name in columns[column] if (value := environ.get(name))]
        if values:
            found[option] = " ".join(values) if option in _LISTS else values[0]
    return found


def get_pip_options(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what pip's variables say of indexes, by pip's option names; lists are separated by spaces."""
    return _read_index_options(environ, 0)


def get_uv_options(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what uv's variables say of indexes, by pip's option names; `find-links` is separated by commas.

    A URL may be `name=URL`.
    """
    return _read_index_options(environ, 1)


# What says how git reaches servers and where its configuration is; all else (GIT_DIR, GIT_TRACE, ...) steers it.
_GIT_NAMES = frozenset(
    {
        "GIT_ASKPASS", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_SYSTEM", "GIT_EXEC_PATH",
        "GIT_HTTP_USER_AGENT", "GIT_PROXY_SSL_CAINFO", "GIT_PROXY_SSL_CERT", "GIT_PROXY_SSL_KEY", "GIT_SSH",
        "GIT_SSH_COMMAND", "GIT_SSH_VARIANT", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_SSL_CERT", "GIT_SSL_KEY",
        "GIT_SSL_NO_VERIFY",
    }
)  # fmt: skip
_GIT_PAIR = ("GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_")


def make_git_environment(environ: Mapping[str, str], config: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return the environment for git: it asks nobody, and `config` wins over what the user has configured.

    The configuration goes through variables, which other users cannot read (git-config(1), `GIT_CONFIG_COUNT`).
    """
    kept = {
        name: value
        for name, value in environ.items()
        if not name.startswith("GIT_") or name in _GIT_NAMES or name.startswith(_GIT_PAIR)
    }
    count = environ.get("GIT_CONFIG_COUNT", "0")
    start = int(count) if count.isascii() and count.isdecimal() and len(count) < 5 else 0
    for number, (key, value) in enumerate(config, start):
        kept |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    kept |= {"GIT_CONFIG_COUNT": str(start + len(config)), "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "LANGUAGE": ""}
    return kept


def is_true(text: str) -> bool:
    """Tell whether a text of a configuration says yes, as pip and uv read it."""
    return text.strip().lower() in ("1", "true", "yes", "y", "on", "t")


def find_certificates(environ: Mapping[str, str]) -> str | None:
    """Return the certificates that variables of all programs name; those that are not there do not count."""
    named = (environ.get(name, "") for name in _CERTIFICATES)
    return next((path for path in named if path and os.path.exists(path)), None)


def find_index_login(environ: Mapping[str, str], name: str) -> tuple[str, str] | None:
    """Return user and password of uv's index `name`: `UV_INDEX_<NAME>_USERNAME` and `_PASSWORD`."""
    word = "".join(char if char.isalnum() else "_" for char in name).upper()
    user, password = (environ.get(f"UV_INDEX_{word}_{what}", "") for what in ("USERNAME", "PASSWORD"))
    return (user, password) if user or password else None


def find_proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the proxies that `http_proxy`, `https_proxy` and `all_proxy` name, by scheme; `no` is what needs none.

    Names in lower case win; `HTTP_PROXY` of a web server's child is a header's, not the user's.
    """
    found = {}
    for scheme in ("http", "https", "all", "no"):
        is_header = scheme == "http" and "REQUEST_METHOD" in environ
        value = environ.get(f"{scheme}_proxy") or ("" if is_header else environ.get(f"{scheme.upper()}_PROXY"))
        if value:
            found[scheme] = value
    return found


def get_netrc_path(environ: Mapping[str, str]) -> str:
    """Return where logins are kept by host: `NETRC`, else `~/.netrc`."""
    return environ.get("NETRC") or os.path.join(environ.get("HOME") or "/nonexistent", ".netrc")


def name_indexes(environ: dict[str, str], options: Mapping[str, str], *, find_links: Sequence[str]) -> None:
    """Make pip and uv look at the places of these options (as `get_pip_options` has them) and at no others.

    Whatever environment and configuration files said before counts no more.
    """
    for option, (pip_names, uv_names) in _INDEX_OPTIONS.items():
        for name in (*pip_names, *uv_names):
            environ.pop(name, None)
        if option in options:
            environ |= dict.fromkeys((*pip_names[:1], *uv_names[:1]), options[option])
    for name, separator in (("PIP_FIND_LINKS", " "), ("UV_FIND_LINKS", ",")):
        if find_links:
            environ[name] = separator.join(find_links)
    if options.get("retries") == "0":  # pip would not tell a server that is down from one without the file
        environ["PIP_RETRIES"] = "1"
    if cert := options.get("cert"):  # uv, and what builds, have no option of their own
        environ |= dict.fromkeys(_CERTIFICATES, cert)
    if proxy := options.get("proxy"):
        environ |= dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), proxy)
    environ["PIP_CONFIG_FILE"] = os.devnull


def name_build_constraint(environ: Mapping[str, str], path: str) -> dict[str, str]:
    """Return an installer's environment in which pip, old or new, builds within the constraints of a file."""
    return {**environ, "PIP_CONSTRAINT": path, "PIP_BUILD_CONSTRAINT": path}


def name_build_path(environ: Mapping[str, str], directory: str) -> dict[str, str]:
    """Return an installer's environment in which what it builds finds the modules of a directory."""
    return {**environ, "PYTHONPATH": directory}


def name_only_index(environ: Mapping[str, str], url: str) -> dict[str, str]:
    """Return an installer's environment that sees one index on loopback alone, and keeps nothing of it."""
    kept = dict(environ)
    name_indexes(kept, {"index-url": url}, find_links=())
    name_caches(kept, None)
    return kept | dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1")


def find_prefix(python: str) -> str | None:
    """Return the virtual environment that an interpreter's path lies in."""
    prefix = os.path.dirname(os.path.dirname(os.path.abspath(python)))
    return prefix if os.path.isfile(os.path.join(prefix, "pyvenv.cfg")) else None


def list_pip_files(environ: Mapping[str, str], prefix: str | None) -> list[str]:
    """Return where pip's configuration may be, the weakest first (pip's documentation, "Configuration")."""
    named = environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return []
    home = environ.get("HOME") or "/nonexistent"
    systems = (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)
    users = [f"{home}/.pip", f"{environ.get('XDG_CONFIG_HOME') or f'{home}/.config'}/pip"]
    if named and os.path.exists(named):
        users = []
    directories = [*(f"{each}/pip" for each in systems if each), "/etc", *users, *([prefix] if prefix else [])]
    return [*(f"{each}/pip.conf" for each in directories), *([named] if named else [])]


def list_uv_files(environ: Mapping[str, str], project: str) -> list[list[str]]:
    """Return where uv's configuration may be, the strongest first (uv's documentation, "Configuration files").

    In groups, of each of which only the first file with a configuration counts: those of the project's directory and
    of each above it, the user's, the system's.
    """
    if named := environ.get("UV_CONFIG_FILE"):
        return [[named]]
    if is_true(environ.get("UV_NO_CONFIG", "")):
        return []
    user = environ.get("XDG_CONFIG_HOME") or f"{environ.get('HOME') or '/nonexistent'}/.config"
    systems = (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)
    system = [f"{each}/uv/uv.toml" for each in systems if each]
    return [_list_upwards(project, "uv.toml", "pyproject.toml"), [f"{user}/uv/uv.toml"], [*system, "/etc/uv/uv.toml"]]


def _list_upwards(directory: str, *names: str) -> list[str]:
    found = []
    while True:
        found += [os.path.join(directory, name) for name in names]
        above = os.path.dirname(directory)
        if above == directory:
            return found
        directory = above


def list_index_variables(environ: Mapping[str, str]) -> list[str]:
    """Return the variables that decide which indexes are asked, as `NAME=value` texts."""
    return [f"{name}={value}" for name, value in sorted(environ.items()) if _is_index_variable(name)]


def make_sealed_environment(environ: Mapping[str, str], *, bin_dir: str, prefix: str) -> dict[str, str]:
    """Return the environment for a command in a sealed environment: its `bin` first on PATH, nothing leaking in."""
    kept = {name: value for name, value in environ.items() if name not in _LEAKS}
    kept["PATH"] = os.pathsep.join([bin_dir, *get_search_path(environ)])
    kept["VIRTUAL_ENV"] = prefix
    kept["PYTHONNOUSERSITE"] = "1"
    return kept


def find_named_mlflow(environ: Mapping[str, str]) -> str | None:
    """Return `MLFLOW_BIN` as it stands: whether it exists is the user's word."""
    return environ.get("MLFLOW_BIN") or None


def find_mlflow(environ: Mapping[str, str], *, python: str) -> str | None:
    """Return `MLFLOW_BIN` as it stands, else the `mlflow` beside `python`, else the one on PATH."""
    if named := find_named_mlflow(environ):
        return named
    beside = os.path.join(os.path.dirname(python), "mlflow")
    return beside if _is_program(beside) else find_program("mlflow", environ)


def make_mlflow_environment(
    environ: Mapping[str, str], *, program: str, python: str, tracking_uri: str
) -> dict[str, str]:
    """Return the environment for `program`, an MLflow of any version, which works on the runs at `tracking_uri`.

    `python` is the user's. MLflow 3 refuses directories of runs unless it is told that they are meant.
    """
    directory = os.path.dirname(program)
    return {
        "MLFLOW_ALLOW_FILE_STORE": "true",
        **environ,
        "MLFLOW_BIN": program,
        "MLFLOW_PYTHON_BIN": python,
        "MLFLOW_TRACKING_URI": tracking_uri,
        "PATH": os.pathsep.join(dict.fromkeys([*([directory] if directory else []), *get_search_path(environ)])),
    }


def let_write_bytecode(environ: dict[str, str]) -> None:
    """Let Python keep what it compiles, in the store: without that each start of MLflow takes twice as long."""
    environ.pop("PYTHONDONTWRITEBYTECODE", None)


def name_shown_store(environ: dict[str, str], uri: str, *, artifact_root: str | None) -> None:
    """Make MLflow's server show the runs at `uri`, at the root of its address: a command line would show passwords."""
    environ.pop("MLFLOW_STATIC_PREFIX", None)
    environ["MLFLOW_BACKEND_STORE_URI"] = uri
    if artifact_root:
        environ["MLFLOW_DEFAULT_ARTIFACT_ROOT"] = artifact_root


def can_show_page(environ: Mapping[str, str]) -> bool:
    """Tell whether a browser could open: `BROWSER` names one, or there is a display."""
    return any(environ.get(name) for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"))


def make_run_environment(
    environ: Mapping[str, str], *, python: str, run_id: str, experiment_id: str, tracking_uri: str
) -> dict[str, str]:
    """Return the environment that makes a script's `repro` and `mlflow` calls land in the run."""
    mlflow = find_mlflow(environ, python=python)
    return {
        **{name: value for name, value in environ.items() if name != "MLFLOW_EXPERIMENT_NAME"},  # the id says it
        **({"MLFLOW_BIN": mlflow} if mlflow else {}),
        "MLFLOW_RUN_ID": run_id,
        "MLFLOW_EXPERIMENT_ID": experiment_id,
        "MLFLOW_TRACKING_URI": tracking_uri,
        "REPRO_RUN": run_id,
        "MLFLOW_PYTHON_BIN": python,
        "PATH": os.pathsep.join(dict.fromkeys([os.path.dirname(python), *get_search_path(environ)])),
    }


def lend_packages(environ: dict[str, str], *, prefix: str, lend_dir: str, packages: Mapping[str, str]) -> None:
    """Let the interpreter with `prefix` import `packages` (name -> directory) that its environment does not have.

    See `repro/inside/lend/sitecustomize.py`, the other end of this.
    """
    path = environ.get("PYTHONPATH")
    environ["PYTHONPATH"] = os.pathsep.join([lend_dir, path]) if path else lend_dir
    environ["REPRO_LEND_PREFIX"] = prefix
    environ["REPRO_LEND_PACKAGES"] = os.pathsep.join(f"{name}={place}" for name, place in packages.items())


def lend_r(environ: dict[str, str], profile: str) -> None:
    """Let the R processes of a run start with `profile`, which runs the user's own before (R's `?Startup`)."""
    hidden = environ.get("R_PROFILE_USER")
    if hidden != profile:
        environ["REPRO_R_PROFILE"] = hidden or ""
        environ["R_PROFILE_USER"] = profile


def _is_off(environ: Mapping[str, str], name: str) -> bool:
    return environ.get(name, "").lower() in ("0", "false", "no", "off")


def wants_observation(environ: Mapping[str, str]) -> bool:
    """Tell whether runs are observed: `REPRO_OBSERVE=0` switches that off."""
    return not _is_off(environ, "REPRO_OBSERVE")


def wants_snapshot(environ: Mapping[str, str]) -> bool:
    """Tell whether a script's own runs keep a snapshot: `REPRO_SNAPSHOT=0` switches that off."""
    return not _is_off(environ, "REPRO_SNAPSHOT")


def set_record(environ: dict[str, str], *, snapshot: bool, observe_dir: str | None) -> None:
    """Make a run's processes note what they import in `observe_dir`, or not, and its script keep no other snapshot."""
    environ.pop("REPRO_OBSERVE_DIR", None)
    if observe_dir:
        environ["REPRO_OBSERVE_DIR"] = observe_dir
    else:
        environ["REPRO_OBSERVE"] = "0"
    if not snapshot:
        environ["REPRO_SNAPSHOT"] = "0"


def find_observe_dir(environ: Mapping[str, str]) -> str | None:
    """Return the directory in which this process is observed already."""
    return environ.get("REPRO_OBSERVE_DIR") or None


def observe_children(directory: str, *, lend_dir: str) -> dict[str, str | None]:
    """Make the Python processes that this one starts note what they import; return what the variables were before."""
    path = os.environ.get("PYTHONPATH")
    wanted = {
        "PYTHONPATH": os.pathsep.join([lend_dir, path]) if path else lend_dir,
        "REPRO_LEND_PREFIX": sys.prefix,
        "REPRO_OBSERVE_DIR": directory,
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    return before


def leave_children(directory: str, *, lend_dir: str, before: Mapping[str, str | None]) -> None:
    """Undo `observe_children`, but for what the script itself has changed since."""
    if os.environ.get("REPRO_OBSERVE_DIR") != directory:
        return
    path = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part != lend_dir]
    for name, value in {**before, "PYTHONPATH": os.pathsep.join(path) or None}.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def get_private_words(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the user and of the host."""
    return tuple(dict.fromkeys((get_user(environ), os.uname().nodename)))


def get_home_dir(environ: Mapping[str, str]) -> str:
    """Return the user's home directory."""
    return environ.get("HOME") or os.path.expanduser("~")


def own_environment() -> dict[str, str]:
    """Return the process environment as it is now."""
    return dict(os.environ)


def live_environment() -> Mapping[str, str]:
    """Return the process environment itself, for one look that costs no copy."""
    return os.environ


def name_spark_python(python: str) -> None:
    """Have Spark start this Python on executors, where the user has not named another (PYSPARK_PYTHON)."""
    os.environ.setdefault("PYSPARK_PYTHON", python)


def has_spark_remote(environ: Mapping[str, str]) -> bool:
    """Tell whether sessions of Spark are to be of Spark Connect (SPARK_REMOTE)."""
    return bool(environ.get("SPARK_REMOTE"))


def own_python() -> str:
    """Return the interpreter that runs us."""
    return sys.executable
