"""Read what a machine is, as far as numbers depend on it; the kernel, the host's name and its users are left out."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from repro.patterns import compile_later
from repro.values import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.process import Runner

_INSTRUCTIONS = compile_later(
    r"(sse|ssse|avx|fma|f16c|bmi|amx|aes|sha|vaes|vpclmul|pclmul|gfni|popcnt|abm|xop|tbm|3dnow"
    r"|neon|asimd|sve|sme(?!p$)|bf16|i8mm|fphp|fcma|crc32|atomics|pmull|flagm|dotprod|rpres).*"
)
_SMI_TIMEOUT_S = 5.0


@frozen
class Gpu:
    """A graphics processor; `memory` and `compute_capability` are in the words of the driver's tool."""

    name: str
    memory: str | None = None
    compute_capability: str | None = None


@frozen
class Hardware:
    """A machine; None is what it does not tell.

    `cpus` are those this process may use, `cpu_quota` how many CPUs' time its control group may take,
    `memory_limit_bytes` the control group's.
    """

    system: str | None = None
    system_version: str | None = None
    architecture: str | None = None
    libc: str | None = None
    timezone: str | None = None
    cpu: str | None = None
    instructions: tuple[str, ...] = ()
    cpus: int | None = None
    cpu_quota: float | None = None
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    gpu_driver: str | None = None
    gpus: tuple[Gpu, ...] = ()


def _read(root: str, path: str, size: int = 1 << 16) -> str:
    try:
        with open(root + path, "rb") as file:
            return file.read(size).decode(errors="replace")
    except OSError:
        return ""


def _parse_pairs(text: str, separator: str) -> dict[str, str]:
    """Return the keys and values of lines, each key's first; a value's quotes are taken off."""
    pairs: dict[str, str] = {}
    for line in text.split("\n"):
        key, found, value = line.partition(separator)
        if found:
            pairs.setdefault(key.strip(), value.strip().strip("\"'"))
    return pairs


def parse_cpuinfo(text: str) -> tuple[str | None, tuple[str, ...]]:
    """Return the model and the instruction sets of the first processor in /proc/cpuinfo (x86 and aarch64)."""
    pairs = _parse_pairs(text.strip().split("\n\n")[0], ":")
    model = pairs.get("model name")
    if model:
        numbers = [f"{key} {pairs[key]}" for key in ("cpu family", "model", "stepping") if key in pairs]
        model = f"{model} ({', '.join(numbers)})" if numbers else model
    elif "CPU part" in pairs:
        keys = ("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision")
        model = ", ".join(f"{key.removeprefix('CPU ')} {pairs[key]}" for key in keys if key in pairs)
    flags = (pairs.get("flags") or pairs.get("Features") or "").split()
    return model, tuple(sorted({flag for flag in flags if _INSTRUCTIONS.fullmatch(flag)}))


def _read_number(root: str, path: str) -> int | None:
    text = _read(root, path).strip()
    return int(text) if text.isdecimal() else None


def _find_group(root: str, controller: str) -> str:
    """Return the control group of this process, as a path below its hierarchy."""
    for line in _read(root, "/proc/self/cgroup").split("\n"):
        _, controllers, path = [*line.split(":", 2), "", "", ""][:3]
        if controller in controllers.split(",") or (controllers == "" and path):
            return path.rstrip("/")
    return ""


def _read_group(root: str, controller: str, name: str) -> list[str]:
    """Return the words of a control file, of the process's own group where it is visible, else of the root's."""
    group = _find_group(root, controller)
    places = [f"/sys/fs/cgroup{where}{at}" for where in ("", f"/{controller}") for at in dict.fromkeys((group, ""))]
    return next((words for place in places if (words := _read(root, f"{place}/{name}").split())), [])


def _find_quota(root: str) -> float | None:
    words = _read_group(root, "cpu", "cpu.max")
    if len(words) != 2:
        words = [*_read_group(root, "cpu", "cpu.cfs_quota_us"), *_read_group(root, "cpu", "cpu.cfs_period_us")]
    if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[1]):
        return round(int(words[0]) / int(words[1]), 2)
    return None


def _find_memory_limit(root: str) -> int | None:
    words = _read_group(root, "memory", "memory.max") or _read_group(root, "memory", "memory.limit_in_bytes")
    limit = int(words[0]) if words and words[0].isdecimal() else None
    return limit if limit and limit < 1 << 60 else None


def _find_memory(root: str) -> int | None:
    words = _parse_pairs(_read(root, "/proc/meminfo"), ":").get("MemTotal", "").split()
    return int(words[0]) * 1024 if words and words[0].isdecimal() else None


def _find_timezone(root: str) -> str | None:
    """Return the name in the IANA database that /etc/localtime leads to."""
    try:
        _, found, name = os.readlink(root + "/etc/localtime").partition("zoneinfo/")
    except OSError:
        found, name = "", ""
    return name if found else _read(root, "/etc/timezone").strip() or None


def _find_libc() -> str | None:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError):
        return None


def _find_gpu_names(root: str) -> list[str]:
    try:
        names = sorted(os.listdir(root + "/proc/driver/nvidia/gpus"))
    except OSError:
        return []
    texts = (_read(root, f"/proc/driver/nvidia/gpus/{name}/information") for name in names)
    return [model for text in texts if (model := _parse_pairs(text, ":").get("Model"))]


def find_gpu_driver(root: str = "") -> str | None:
    """Return the version of NVIDIA's driver."""
    found = re.search(r"\b\d+\.\d+(\.\d+)?\b", _read(root, "/proc/driver/nvidia/version").split("\n")[0])
    return found[0] if found else None


def ask_gpus(runner: Runner, environ: Mapping[str, str], *, root: str = "") -> tuple[Gpu, ...]:
    """Return what NVIDIA's own tool says of the processors; it is started only where there are any."""
    if not os.path.exists(root + "/dev/nvidiactl"):
        return ()
    query = ["nvidia-smi", "--query-gpu=name,memory.total,compute_cap", "--format=csv,noheader"]
    try:
        finished = runner.capture(query, env=environ, timeout_s=_SMI_TIMEOUT_S)
    except (OSError, TimeoutError):
        return ()
    rows = [[word.strip() for word in line.split(",")] for line in finished.stdout.splitlines()]
    return tuple(
        Gpu(name=name, memory=memory, compute_capability=capability)
        for name, memory, capability in (row for row in rows if len(row) == 3)
        if finished.returncode == 0
    )


def read_hardware(root: str = "", *, gpus: tuple[Gpu, ...] = ()) -> Hardware:
    """Return this machine, or the one whose files lie below `root`; `gpus` are known better than the files tell."""
    release = _parse_pairs(_read(root, "/etc/os-release"), "=")
    cpu, instructions = parse_cpuinfo(_read(root, "/proc/cpuinfo"))
    return Hardware(
        system=release.get("NAME"),
        system_version=release.get("VERSION_ID"),
        architecture=os.uname().machine,
        libc=_find_libc(),
        timezone=_find_timezone(root),
        cpu=cpu,
        instructions=instructions,
        cpus=len(os.sched_getaffinity(0)),
        cpu_quota=_find_quota(root),
        memory_bytes=_find_memory(root),
        memory_limit_bytes=_find_memory_limit(root),
        gpu_driver=find_gpu_driver(root),
        gpus=gpus or tuple(Gpu(name=name) for name in _find_gpu_names(root)),
    )
