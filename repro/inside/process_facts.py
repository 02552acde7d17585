"""Describe what the numbers of a process depend on: the libraries it has really loaded, torch's flags, its variables.

Run by `observe.py` when a process ends, and by `repro.start_run()`'s runs; the result is one JSON file. It starts and
loads nothing that the process has not: a library is asked through the handle it has already, and only where asking
cannot start it, for a library that starts may print, look for others, or end the process.
"""

import posix
import sys

# The variables that can change numbers, and those that tell how to read them; no other is ever written.
VARIABLES = (
    "BLIS_ARCH_TYPE", "BLIS_NUM_THREADS", "CUBLAS_WORKSPACE_CONFIG", "CUDA_DEVICE_ORDER", "CUDA_LAUNCH_BLOCKING",
    "CUDA_MODULE_LOADING", "CUDA_VISIBLE_DEVICES", "FLEXIBLAS", "GLIBC_TUNABLES", "GOMP_CPU_AFFINITY",
    "GOTO_NUM_THREADS", "HIP_VISIBLE_DEVICES", "JAX_DEFAULT_MATMUL_PRECISION", "JAX_ENABLE_X64", "JAX_PLATFORMS",
    "KMP_AFFINITY", "KMP_BLOCKTIME", "KMP_DETERMINISTIC_REDUCTION", "KMP_DUPLICATE_LIB_OK", "KMP_HW_SUBSET",
    "LANG", "LANGUAGE", "LC_ALL", "LC_COLLATE", "LC_CTYPE", "LC_MESSAGES", "LC_MONETARY", "LC_NUMERIC", "LC_TIME",
    "MKL_CBWR", "MKL_DEBUG_CPU_TYPE", "MKL_DOMAIN_NUM_THREADS", "MKL_DYNAMIC", "MKL_ENABLE_INSTRUCTIONS",
    "MKL_INTERFACE_LAYER", "MKL_NUM_THREADS", "MKL_THREADING_LAYER", "NCCL_ALGO", "NCCL_PROTO",
    "NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES", "NUMBA_CPU_NAME", "NUMBA_DISABLE_JIT", "NUMBA_NUM_THREADS",
    "NUMEXPR_MAX_THREADS", "NUMEXPR_NUM_THREADS", "NVIDIA_TF32_OVERRIDE", "OMP_CANCELLATION", "OMP_DYNAMIC",
    "OMP_MAX_ACTIVE_LEVELS", "OMP_NESTED", "OMP_NUM_TEAMS", "OMP_NUM_THREADS", "OMP_PLACES", "OMP_PROC_BIND",
    "OMP_SCHEDULE", "OMP_STACKSIZE", "OMP_TARGET_OFFLOAD", "OMP_TEAMS_THREAD_LIMIT", "OMP_THREAD_LIMIT",
    "OMP_WAIT_POLICY", "ONEDNN_DEFAULT_FPMATH_MODE", "ONEDNN_MAX_CPU_ISA", "OPENBLAS_CORETYPE", "OPENBLAS_MAIN_FREE",
    "OPENBLAS_NUM_THREADS", "OPENBLAS_VERBOSE", "PYTHONHASHSEED", "PYTHONOPTIMIZE", "PYTHONUTF8",
    "PYTORCH_CUDA_ALLOC_CONF", "ROCR_VISIBLE_DEVICES", "SOURCE_DATE_EPOCH", "TF_CUDNN_DETERMINISTIC",
    "TF_CUDNN_USE_AUTOTUNE", "TF_DETERMINISTIC_OPS", "TF_ENABLE_ONEDNN_OPTS", "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS", "TF_USE_CUDNN_BATCHNORM_SPATIAL_PERSISTENT", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "TZ", "VECLIB_MAXIMUM_THREADS", "XLA_FLAGS",
)  # fmt: skip

# What a library is, by the beginning of its file's name.
_KINDS = (
    ("openmp", ("libgomp.", "libgomp-", "libiomp5.", "libiomp5-", "libomp.", "libomp-")),
    ("cuda", ("libcuda.", "libcudart.", "libcudart-", "libcublas", "libcudnn", "libcufft", "libcurand", "libcusolver",
              "libcusparse", "libnccl")),
    ("blas", ("libopenblas", "libscipy_openblas", "libblis", "libmkl_", "libflexiblas", "libarmpl", "libatlas",
              "libtatlas", "libsatlas", "libnvpl_blas", "libblas", "libcblas")),
    ("lapack", ("liblapack", "libnvpl_lapack")),
    ("dnn", ("libdnnl", "libmkldnn")),
    ("threads", ("libtbb.", "libtbb-")),
)  # fmt: skip
_KMP = ("libiomp5", "libomp")  # Intel's and LLVM's OpenMP start when they are first asked
_KMP_TALKS = ("OMP_DISPLAY_ENV", "OMP_DISPLAY_AFFINITY", "KMP_SETTINGS", "KMP_VERSION", "KMP_AFFINITY")


def _name_of(path):
    return path.rpartition("/")[2]


def read_mapped(text):
    """Return (kind, path) of the libraries of interest in a process map, sorted by path."""
    paths = {line[line.index("/") :] for line in text.split("\n") if "/" in line and ".so" in line}
    found = []
    for path in sorted(paths):
        kind = next((kind for kind, starts in _KINDS if _name_of(path).startswith(starts)), None)
        if kind and not path.endswith(" (deleted)"):
            found.append((kind, path))
    return found


def _import_standard(name):
    """Import a module of the standard library, unless a file of the script's own hides it."""
    if name not in sys.modules:
        import os
        from _frozen_importlib_external import PathFinder

        spec = PathFinder.find_spec(name)
        if spec is None or not (spec.origin or "").startswith(os.path.dirname(os.__file__) + os.sep):
            raise ImportError(name)
    return __import__(name)


class _Loaded:
    """A library that the process has loaded."""

    def __init__(self, path):
        _import_standard("struct")  # which ctypes imports
        self._ctypes = _import_standard("ctypes")
        self._library = self._ctypes.CDLL(path, mode=posix.RTLD_NOW | posix.RTLD_NOLOAD)

    def _find(self, names, arguments, result):
        for name in names:
            function = getattr(self._library, name, None)
            if function is not None:
                function.argtypes, function.restype = arguments, result
                return function
        return None

    def ask_number(self, *names):
        """Return what the first of these functions returns that there is."""
        function = self._find(names, [], self._ctypes.c_int)
        return function() if function else None

    def ask_text(self, *names):
        """Return the text that the first of these functions returns that there is."""
        function = self._find(names, [], self._ctypes.c_char_p)
        found = function() if function else None
        return found.decode("ascii", "replace").strip() if found else None

    def ask_filled(self, name):
        """Return the text that a function writes into a buffer."""
        function = self._find([name], [self._ctypes.c_char_p, self._ctypes.c_int], None)
        if function is None:
            return None
        buffer = self._ctypes.create_string_buffer(256)
        function(buffer, 255)
        return buffer.value.decode("ascii", "replace").strip()

    def ask_version(self, name):
        """Return the version that a function of CUDA writes as a number: 12040 is 12.4."""
        number = self._ctypes.c_int(0)
        function = self._find([name], [self._ctypes.POINTER(self._ctypes.c_int)], self._ctypes.c_int)
        if function is None or function(self._ctypes.byref(number)) != 0:
            return None
        return "%d.%d" % (number.value // 1000, number.value % 1000 // 10)


def _openblas_names(name):
    """Return a function's name as OpenBLAS's builds have it, e.g. SciPy's own."""
    return ["%s%s%s" % (prefix, name, suffix) for prefix in ("", "scipy_") for suffix in ("", "64_", "_64")]


def _ask_openblas(library):
    layers = {0: "sequential", 1: "pthreads", 2: "openmp"}
    return {
        "version": library.ask_text(*_openblas_names("openblas_get_config")),
        "architecture": library.ask_text(*_openblas_names("openblas_get_corename")),
        "threading": layers.get(library.ask_number(*_openblas_names("openblas_get_parallel"))),
        "threads": library.ask_number(*_openblas_names("openblas_get_num_threads")),
    }


def _ask_blis(library):
    return {
        "version": library.ask_text("bli_info_get_version_str"),
        "threads": library.ask_number("bli_thread_get_num_threads"),
    }


def _ask_mkl(library):
    return {
        "version": library.ask_filled("MKL_Get_Version_String"),
        "threads": library.ask_number("MKL_Get_Max_Threads"),
    }


def _ask_openmp(library):
    return {"threads": library.ask_number("omp_get_max_threads")}


def _ask_cuda_driver(library):
    return {"version": library.ask_version("cuDriverGetVersion")}


def choose_question(path, names, environ):
    """Return how the library at `path` can be asked, None where asking might start it.

    `names` are the file names of all libraries of interest, `environ` the variables. Two OpenMP of Intel's kind in one
    process end it when the second one starts; MKL's dispatcher ends it where it does not find its parts.
    """
    name = _name_of(path)
    if "openblas" in name:
        return _ask_openblas
    if name.startswith("libblis"):
        return _ask_blis
    if name.startswith("libmkl_rt"):
        return _ask_mkl if any(other.startswith("libmkl_core") for other in names) else None
    if name.startswith("libgomp"):
        return _ask_openmp
    if name.startswith(_KMP):
        alone = sum(other.startswith(_KMP) for other in names) == 1
        return _ask_openmp if alone and not any(variable in environ for variable in _KMP_TALKS) else None
    if name.startswith("libcuda."):
        return _ask_cuda_driver
    return None


def describe_libraries(text, environ):
    """Return what is known of each library in this process's own map."""
    mapped = read_mapped(text)
    names = [_name_of(path) for _, path in mapped]
    found = []
    for kind, path in mapped:
        facts = {"kind": kind, "path": path}
        question = choose_question(path, names, environ)
        try:
            facts.update(question(_Loaded(path)) if question else {})
        except Exception:
            pass
        found.append(facts)
    return found


_TORCH = {
    "version": lambda torch: str(torch.__version__),
    "cuda": lambda torch: torch.version.cuda,
    "num_threads": lambda torch: torch.get_num_threads(),
    "deterministic_algorithms": lambda torch: torch.are_deterministic_algorithms_enabled(),
    "deterministic_warn_only": lambda torch: torch.is_deterministic_algorithms_warn_only_enabled(),
    "float32_matmul_precision": lambda torch: torch.get_float32_matmul_precision(),
    "default_dtype": lambda torch: str(torch.get_default_dtype()),
    "cudnn_benchmark": lambda torch: torch.backends.cudnn.benchmark,
    "cudnn_deterministic": lambda torch: torch.backends.cudnn.deterministic,
    "cudnn_allow_tf32": lambda torch: torch.backends.cudnn.allow_tf32,
    "matmul_allow_tf32": lambda torch: torch.backends.cuda.matmul.allow_tf32,
}


def describe_torch():
    """Return torch's settings, None where the process has not imported it."""
    torch = sys.modules.get("torch")
    if torch is None or type(torch).__name__ == "_LazyModule":
        return None
    warnings = _import_standard("warnings")
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, ask in _TORCH.items():
            try:
                value = ask(torch)
            except Exception:
                continue
            if value is None or type(value) in (bool, int, str):
                found[name] = value
    return found


def _read(path):
    descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    blocks = []
    try:
        block = posix.read(descriptor, 1 << 20)
        while block:
            blocks.append(block)
            block = posix.read(descriptor, 1 << 20)
    finally:
        posix.close(descriptor)
    return b"".join(blocks).decode("utf-8", "surrogateescape")


def _find_locale():
    module = sys.modules.get("_locale")
    if module is None:
        from _frozen_importlib import BuiltinImporter, _load  # no finder of the script's is asked

        module = _load(BuiltinImporter.find_spec("_locale"))
    return module.setlocale(module.LC_ALL, None)


def describe_process():
    """Return what this process's numbers depend on; what cannot be found out is None."""
    import os

    facts = {
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "hash_randomization": bool(sys.flags.hash_randomization),
        "optimize": sys.flags.optimize,
    }
    for name, ask in (
        ("libraries", lambda: describe_libraries(_read("/proc/self/maps"), os.environ)),
        ("torch", describe_torch),
        ("locale", _find_locale),
        ("cpus", lambda: len(posix.sched_getaffinity(0))),
    ):
        try:
            facts[name] = ask()
        except Exception:
            facts[name] = None
    return facts


def _escape(character):
    code = ord(character)
    if 31 < code < 127 and character not in '"\\':
        return character
    if code < 0x10000:
        return "\\u%04x" % code
    return "\\u%04x\\u%04x" % (0xD800 + (code - 0x10000 >> 10), 0xDC00 + (code & 0x3FF))


def _quote(text):
    return '"%s"' % "".join(map(_escape, text))


def _encode(value):
    """Return a value as JSON, without the json package, which the script need not have loaded."""
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, dict):
        return "{%s}" % ",".join("%s:%s" % (_quote(key), _encode(item)) for key, item in value.items())
    if isinstance(value, list):
        return "[%s]" % ",".join(map(_encode, value))
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(int(value))


def write_facts(path):
    """Write the facts about this process to a file that is not there yet."""
    text = _encode(describe_process())
    descriptor = posix.open(path, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o600)
    try:
        posix.write(descriptor, text.encode("ascii"))
    finally:
        posix.close(descriptor)
