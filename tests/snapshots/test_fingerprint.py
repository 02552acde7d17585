"""What a run's numbers depend on, and nothing about whose they are."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.formats.redaction import looks_secret
from repro.inside.process_facts import VARIABLES, choose_question, read_mapped
from repro.process import Runner
from repro.snapshots.fingerprint import Fingerprint, Private, assemble, choose_variables, format_fingerprint
from repro.snapshots.hardware import Gpu, Hardware, ask_gpus, parse_cpuinfo, read_hardware
from repro.snapshots.trace import Library, Process

NOBODY = Private(words=("ada", "engine1"), directories=("/data/ada",))
SITE = "/data/ada/env/lib/python3.11/site-packages"


def make(
    *processes: Process, environ: dict[str, str] | None = None, owners: dict[str, str] | None = None
) -> Fingerprint:
    return assemble(
        Hardware(cpus=4), processes, environ=environ or {}, library_owners=owners or {}, private=NOBODY
    )  # fmt: skip


def read(fingerprint: Fingerprint) -> dict[str, object]:
    return dict(json.loads(format_fingerprint(fingerprint)))


def test_a_library_is_named_by_its_owner_or_its_public_place() -> None:
    paths = (
        f"{SITE}/numpy.libs/libopenblas-1.so",
        "/usr/lib/libgomp.so.1",
        "/data/ada/lib/libblis.so",
        "/usr/../data/x",
    )
    process = Process(libraries=tuple(Library(kind="blas", path=path, threads=2) for path in paths))
    text = format_fingerprint(make(process, owners={paths[0]: "numpy==2.0"}))
    assert "ada" not in text
    assert json.loads(text)["libraries"] == [
        {"distribution": "numpy==2.0", "file": "libopenblas-1.so", "kind": "blas", "threads": 2},
        {"file": "libblis.so", "kind": "blas", "threads": 2},
        {"file": "libgomp.so.1", "kind": "blas", "path": "/usr/lib/libgomp.so.1", "threads": 2},
        {"file": "x", "kind": "blas", "threads": 2},
    ]


def test_two_processes_that_used_a_library_alike_have_it_once() -> None:
    one, two = (Process(libraries=(Library(kind="blas", path="/usr/lib/x", threads=n),)) for n in (1, 2))
    assert len(make(one, one).libraries) == 1
    assert len(make(one, two).libraries) == 2


def test_the_first_process_speaks_for_the_run_and_for_torch_the_first_that_had_it() -> None:
    first = Process(variables=(("OMP_NUM_THREADS", "3"),), locale="C", cpus=2)
    second = Process(torch=(("cudnn_benchmark", True), ("version", "2.0")), variables=(("OMP_NUM_THREADS", "4"),))
    content = read(make(first, second, environ={"OMP_NUM_THREADS": "9"}))
    assert content["variables"] == {"OMP_NUM_THREADS": "3"}
    assert content["torch"] == {"cudnn_benchmark": True, "version": "2.0"}
    assert content["observed"] is True
    assert dict(content["cpu"])["usable"] == 2  # type: ignore[call-overload]


def test_a_run_that_told_nothing_has_the_variables_it_was_started_with() -> None:
    content = read(make(environ={"PYTHONHASHSEED": "0", "HOME": "/data/ada", "OTHER": "1"}))
    assert (content["observed"], content["variables"]) == (False, {"PYTHONHASHSEED": "0"})


@pytest.mark.parametrize(
    "value",
    [
        "/data/ada/x", "--dump=/data/ada", "/home/bob/x", "ada", "host=engine1", "https://u:p@example.org/x",
        "token=abc", "ghp_abcdefgh12345678", "password: x", "AKIAABCDEFGH12345678", "a1b2c3d4e5f6a7b8c9d0e1f2",
        "two\nlines", "x" * 600,
    ],
)  # fmt: skip
def test_a_value_that_looks_secret_or_private_is_left_out(value: str) -> None:
    assert choose_variables({"XLA_FLAGS": value}, NOBODY) == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OMP_NUM_THREADS", "4"),
        ("CUBLAS_WORKSPACE_CONFIG", ":4096:8"),
        ("XLA_FLAGS", "--xla_gpu_deterministic_ops=true --xla_force_host_platform_device_count=8"),
        ("TZ", "Europe/Berlin"),
        ("LANG", "de_DE.UTF-8"),
        ("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-AVX2_Usable"),
        ("OMP_PLACES", "{0,1},{2,3}"),
        ("CUDA_VISIBLE_DEVICES", "0,1"),
    ],
)
def test_what_steers_numbers_is_kept(name: str, value: str) -> None:
    assert choose_variables({name: value}, NOBODY) == ((name, value),)


def test_no_name_of_the_list_is_taken_for_a_secret() -> None:
    assert [name for name in VARIABLES if looks_secret(name, "")] == []
    assert sorted(set(VARIABLES)) == list(VARIABLES)


words = st.text("abcdefghijklmnopqrstuvwxyz", min_size=4, max_size=12)
secrets = st.one_of(
    st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", min_size=36, max_size=40).map(
        "ghp_".__add__
    ),
    st.tuples(words, words).map(lambda pair: f"https://{pair[0]}:{pair[1]}@example.org/simple"),
    words.map(lambda word: f"--api_key={word}"),
    words.map(lambda word: f"password={word}"),
    words.map(lambda word: f"Authorization: Bearer {word}"),
    st.binary(min_size=20, max_size=20).map(bytes.hex).filter(lambda text: sum(map(str.isdigit, text)) > 8),
)


@given(st.sampled_from(VARIABLES), secrets, st.sampled_from(["{}", "--flag={}", "a,{},b", " {} "]))
def test_no_secret_in_a_variable_of_the_list_is_ever_written(name: str, secret: str, place: str) -> None:
    environ = {name: place.format(secret)}
    text = format_fingerprint(make(environ=environ)) + format_fingerprint(
        make(Process(variables=tuple(environ.items())))
    )
    assert secret not in text


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_no_other_variable_is_ever_written(environ: dict[str, str]) -> None:
    kept = choose_variables(environ, NOBODY)
    assert all(name in VARIABLES for name, _ in kept)


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_what_a_process_says_of_torch_or_its_locale_names_nobody(before: str, after: str) -> None:
    text = f"{before} ada {after}"
    process = Process(torch=(("version", text),), locale=text, libraries=(Library(kind="x", path="/x", version=text),))
    assert json.dumps(text)[1:-1] not in format_fingerprint(make(process))


X86 = """\
processor\t: 0
cpu family\t: 6
model\t\t: 85
model name\t: Intel(R) Xeon(R)
stepping\t: 7
flags\t\t: fpu sse sse2 smep smap avx512f fma lm

processor\t: 1
flags\t\t: other
"""
ARM = """\
processor\t: 0
Features\t: fp asimd evtstrm aes sve bf16
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x1
CPU part\t: 0xd40
CPU revision\t: 1
"""


@pytest.mark.parametrize(
    ("text", "model", "instructions"),
    [
        (X86, "Intel(R) Xeon(R) (cpu family 6, model 85, stepping 7)", ("avx512f", "fma", "sse", "sse2")),
        (ARM, "implementer 0x41, architecture 8, variant 0x1, part 0xd40, revision 1", ("aes", "asimd", "bf16", "sve")),
        ("", None, ()),
        ("nonsense", None, ()),
    ],
)
def test_the_processor_is_told(text: str, model: str | None, instructions: tuple[str, ...]) -> None:
    assert parse_cpuinfo(text) == (model, instructions)


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_a_machine_is_read_from_its_files(tmp_path: Path) -> None:
    write(tmp_path, **{
        "etc/os-release": 'NAME="Example Linux"\nVERSION_ID="12"\n',
        "proc/cpuinfo": ARM,
        "proc/meminfo": "MemTotal:       1024 kB\nMemFree: 1 kB\n",
        "proc/self/cgroup": "0::/job/7\n",
        "sys/fs/cgroup/job/7/cpu.max": "150000 100000\n",
        "sys/fs/cgroup/job/7/memory.max": "max\n",
        "proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat\nGCC 12.2.0",
        "proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t\t NVIDIA A100-SXM4-40GB\nIRQ: 1\n",
    })  # fmt: skip
    (tmp_path / "etc/localtime").symlink_to("/usr/share/zoneinfo/Europe/Berlin")
    found = read_hardware(str(tmp_path))
    assert (found.system, found.system_version, found.timezone) == ("Example Linux", "12", "Europe/Berlin")
    assert (found.memory_bytes, found.memory_limit_bytes, found.cpu_quota) == (1024 * 1024, None, 1.5)
    assert (found.gpu_driver, found.gpus) == ("535.104.05", (Gpu(name="NVIDIA A100-SXM4-40GB"),))


def test_an_older_control_group_is_read_too(tmp_path: Path) -> None:
    write(tmp_path, **{
        "proc/self/cgroup": "4:memory:/job\n2:cpu,cpuacct:/job\n",
        "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "200000",
        "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "4096",
    })  # fmt: skip
    found = read_hardware(str(tmp_path))
    assert (found.cpu_quota, found.memory_limit_bytes) == (2.0, 4096)


def test_a_machine_that_tells_nothing_is_fine(tmp_path: Path) -> None:
    found = read_hardware(str(tmp_path))
    assert (found.system, found.cpu, found.instructions, found.timezone, found.gpus) == (None, None, (), None, ())
    format_fingerprint(assemble(found, (), environ={}, library_owners={}, private=NOBODY))


@pytest.mark.parametrize(
    ("script", "gpus"),
    [
        (
            "echo 'NVIDIA A100, 40960 MiB, 8.0'",
            (Gpu(name="NVIDIA A100", memory="40960 MiB", compute_capability="8.0"),),
        ),
        ("echo 'NVIDIA A100, 40960 MiB, 8.0'; exit 9", ()),
        ("echo 'No devices were found'", ()),
    ],
)
def test_the_drivers_tool_is_asked_where_there_is_a_device(script: str, gpus: tuple[Gpu, ...], tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    assert ask_gpus(Runner(), environ, root=str(tmp_path)) == ()
    (tmp_path / "dev" / "nvidiactl").touch()
    assert ask_gpus(Runner(), environ, root=str(tmp_path)) == gpus
    assert ask_gpus(Runner(), {"PATH": "/nonexistent"}, root=str(tmp_path)) == ()


def test_libraries_of_interest_are_found_in_a_process_map() -> None:
    text = (
        "7f00-7f01 r-xp 00000000 fe:00 1   /a b/libscipy_openblas64_-32a4.so\n"
        "7f01-7f02 r--p 00000000 fe:00 1   /a b/libscipy_openblas64_-32a4.so\n"
        "7f02-7f03 r--p 00000000 fe:00 2   /usr/lib/libgomp.so.1.0.0\n"
        "7f03-7f04 r--p 00000000 fe:00 3   /usr/lib/libgomp.so.2 (deleted)\n"
        "7f04-7f05 rw-p 00000000 00:00 0   [stack]\n"
        "7f05-7f06 r--p 00000000 fe:00 4   /usr/lib/libc.so.6\n"
    )
    assert read_mapped(text) == [
        ("blas", "/a b/libscipy_openblas64_-32a4.so"), ("openmp", "/usr/lib/libgomp.so.1.0.0")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "others", "environ", "asked"),
    [
        ("libgomp.so.1", [], {}, True),
        ("libiomp5.so", [], {}, True),
        ("libiomp5.so", ["libomp.so"], {}, False),
        ("libomp.so", [], {"KMP_SETTINGS": "1"}, False),
        ("libmkl_rt.so.2", [], {}, False),
        ("libmkl_rt.so.2", ["libmkl_core.so.2"], {}, True),
        ("libmkl_core.so.2", ["libmkl_rt.so.2"], {}, False),
        ("libcublas.so.12", [], {}, False),
    ],
)
def test_a_library_that_asking_would_start_is_not_asked(
    name: str, others: list[str], environ: dict[str, str], asked: bool
) -> None:
    assert (choose_question(f"/lib/{name}", [name, *others], environ) is not None) is asked
