"""The observer notes everything and changes nothing, in real processes of a real, bare environment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import repro
from repro.snapshots.trace import Trace, read_trace

LEND_DIR = Path(repro.__file__).parent / "inside" / "lend"


class Observed:
    """A bare environment with a few modules, whose processes are observed."""

    def __init__(self, root: Path, *, python: str = sys.executable) -> None:
        self.root = root
        self.env_dir = root / "env"
        subprocess.run([python, "-m", "venv", "--without-pip", str(self.env_dir)], check=True)
        self.site = next(self.env_dir.glob("lib/python*/site-packages"))
        self.directory = root / "observed"
        self.directory.mkdir()
        for name in ("tool", "other"):
            (self.site / f"{name}.py").write_text(f"NAME = {name!r}\n")

    @property
    def environ(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(LEND_DIR),
            "REPRO_LEND_PREFIX": str(self.env_dir),
            "REPRO_OBSERVE_DIR": str(self.directory),
        }

    def __call__(
        self, code: str, *flags: str, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        script = self.root / "script.py"
        script.write_text(code)
        return subprocess.run(
            [str(self.env_dir / "bin" / "python"), *flags, str(script)],
            env=dict(self.environ if environ is None else environ),
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def read(self) -> Trace:
        return read_trace(str(self.directory))

    def list_seen(self) -> set[str]:
        """Return the stems of the modules of the environment that were seen, by file or by name."""
        trace = self.read()
        below = {Path(path) for path in trace.paths if path.startswith(str(self.site))}
        return {path.stem if path.stem != "__init__" else path.parent.name for path in below} | trace.names


@pytest.fixture
def observed(tmp_path: Path) -> Observed:
    return Observed(tmp_path)


MULTIPROCESSING = """\
import multiprocessing
def work():
    import tool
if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    process = context.Process(target=work)
    process.start()
    process.join()
    assert process.exitcode == 0
"""

SEEN = {
    "at the top": "import tool",
    "late, in a function": "def late():\n    import tool\nlate()",
    "by its name": "import importlib; importlib.import_module('tool')",
    "in a thread": "import threading\nt = threading.Thread(target=__import__, args=('tool',)); t.start(); t.join()",
    "in a subprocess": "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import tool'], check=True)",
    "in a subprocess of another": (
        "import subprocess, sys\n"
        'code = \'import subprocess, sys; subprocess.run([sys.executable, "-m", "tool"], check=True)\'\n'
        "subprocess.run([sys.executable, '-c', code], check=True)"
    ),
    "in a forked child": "import os\nif os.fork() == 0:\n    import tool\n    os._exit(0)\nos.wait()",
    "multiprocessing, fork": MULTIPROCESSING.format(method="fork"),
    "multiprocessing, spawn": MULTIPROCESSING.format(method="spawn"),
    "multiprocessing, forkserver": MULTIPROCESSING.format(method="forkserver"),
    "before os._exit": "import os, tool; os._exit(0)",
    "before os._exit, last": "import os\nimport tool\nos._exit(0)",
    "before SIGKILL": "import os, tool; os.kill(os.getpid(), 9)",
    "before os.exec": "import os, tool; os.execv('/bin/true', ['true'])",
    "though it was removed again": "import sys, tool, json; del sys.modules['tool']",
    "though it put an object into its place": (
        "import sys, types\nimport tool\nclass Fake: pass\nsys.modules['tool'] = Fake(); import json"
    ),
    "though meta_path was emptied": (
        "import sys\nfinders = sys.meta_path[:]\n"
        "sys.meta_path[:] = [each for each in finders if 'Observer' not in type(each).__name__]\nimport tool"
    ),
    "though meta_path was replaced": (
        "import sys\nsys.meta_path = [each for each in sys.meta_path if 'Observer' not in repr(each)]\nimport tool"
    ),
    "though all descriptors were closed": "import os; os.closerange(3, 4096)\nimport tool; os._exit(0)",
    "lazily, and used": (
        "import importlib.util, sys\n"
        "spec = importlib.util.find_spec('tool')\n"
        "loader = importlib.util.LazyLoader(spec.loader)\n"
        "spec.loader = loader\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "sys.modules['tool'] = module\n"
        "loader.exec_module(module)\n"
        "module.NAME\n"
    ),
    "lazily, and used late": (
        "import importlib.util, sys\n"
        "spec = importlib.util.find_spec('tool')\n"
        "spec.loader = importlib.util.LazyLoader(spec.loader)\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "sys.modules['tool'] = module\n"
        "spec.loader.exec_module(module)\n"
        "import json\nmodule.NAME\n"
    ),
    "as the script": "import runpy; runpy.run_module('tool', alter_sys=True)\nimport tool",
}


@pytest.mark.parametrize("how", SEEN)
def test_an_import_is_seen(how: str, observed: Observed) -> None:
    finished = observed(SEEN[how])
    assert finished.stderr == ""
    seen = observed.list_seen()
    assert "tool" in seen
    assert "other" not in seen


def test_a_module_started_by_m_is_seen(observed: Observed) -> None:
    python = str(observed.env_dir / "bin" / "python")
    subprocess.run([python, "-m", "tool"], env=observed.environ, check=True)
    assert "tool" in observed.list_seen()


NOT_SEEN = {
    "what is only looked for": "import importlib.util; assert importlib.util.find_spec('tool')",
    "what is lazy and never used": (
        "import importlib.util, sys\n"
        "spec = importlib.util.find_spec('tool')\n"
        "spec.loader = importlib.util.LazyLoader(spec.loader)\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "sys.modules['tool'] = module\n"
        "spec.loader.exec_module(module)\n"
    ),
    "what a .pth file imports": "",
}


@pytest.mark.parametrize("what", NOT_SEEN)
def test_not_imported_is_not_seen(what: str, observed: Observed) -> None:
    if not NOT_SEEN[what]:
        (observed.site / "tool.pth").write_text("import tool\n")
    assert observed(NOT_SEEN[what]).returncode == 0
    assert "tool" not in observed.list_seen()


def test_a_lazy_module_stays_lazy(observed: Observed) -> None:
    (observed.site / "tool.py").write_text("print('loaded')\n")
    assert observed(NOT_SEEN["what is lazy and never used"]).stdout == ""


def test_a_script_beside_a_distribution_hides_it(observed: Observed) -> None:
    (observed.root / "tool.py").write_text("")
    observed("import tool")
    assert "tool" not in observed.list_seen()


SAME = {
    "output and exit code": "import sys, tool; print('out'); print('err', file=sys.stderr); sys.exit(7)",
    "an exception": "import tool\nraise ValueError('no')",
    "an import that fails": "import tool\ntry:\n    import missing\nexcept ImportError as error:\n    print(error)",
    "an import that fails and ends it": "import missing.part",
    "reload": "import importlib, tool, json; importlib.reload(tool); importlib.reload(json); print(tool.NAME)",
    "an emptied meta_path": "import sys; sys.meta_path[:] = []\ntry: import tool\nexcept ImportError as e: print(e)",
    "a finder before all others": (
        "import sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None): print('asked for', name)\n"
        "sys.meta_path.insert(0, Finder())\nimport tool"
    ),
    "a search by pkgutil": "import pkgutil; print('tool' in [m.name for m in pkgutil.iter_modules()])",
    "distributions by importlib.metadata": (
        "import importlib.metadata as m; print([d.metadata['Name'] for d in m.distributions()])"
    ),
    "the next descriptor": "import os; print(os.open('/dev/null', os.O_RDONLY))",
    "descriptors that all are closed": "import os; os.closerange(3, 4096); import tool; print(os.open('/', 0))",
    "a file that gets the observer's number": (
        "import os\n"
        "os.closerange(3, 4096)\n"
        "mine = os.open('mine', os.O_RDWR | os.O_CREAT | os.O_TRUNC)\n"
        "for number in (1000, 500, 200): os.dup2(mine, number)\n"
        "import tool\nprint(os.stat('mine').st_size)"
    ),
    "no more descriptors": (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n"
        "try:\n    import tool\nexcept OSError as error: print('no', error.errno)"
    ),
    "closed standard streams": "import os, sys; os.close(1); os.close(2); import tool; os._exit(4)",
    "a file size limit": "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (0, 0)); import tool; print(tool.NAME)",
    "replaced functions of os": (
        "import os\ndef no(*a, **k): raise RuntimeError('no')\nos.open = os.write = os.getpid = no\nimport tool\n"
        "print(tool.NAME)"
    ),
    "an audit hook that forbids files": (
        "import sys, tool\n"
        "def hook(event, args):\n"
        "    if event == 'open' and 'observed' in str(args[0]): raise PermissionError('audit')\n"
        "sys.addaudithook(hook)\nimport other\nprint(other.NAME)"
    ),
    "an audit hook that lists events": (
        "import sys, os.path\nseen = []\nsys.addaudithook(lambda event, args: seen.append(event))\nimport tool\n"
        "print(sorted(set(seen)))"
    ),
    "odd names": (
        "import importlib\n"
        "for name in ('a b', 'a\\tb', 'a\\nb', 'ä', '\\udc80', '\\ud800', 'x' * 5000, '..', 'a..b'):\n"
        "    try: importlib.import_module(name)\n"
        "    except Exception as error: print(type(error).__name__)"
    ),
    "odd modules": (
        "import sys\n"
        "class Odd:\n"
        "    def __getattribute__(self, name): print('touched'); raise SystemExit(9)\n"
        "    def __bool__(self): print('asked'); return True\n"
        "class Named(type(sys)):\n"
        "    def __getattribute__(self, name): print('named', name); raise SystemExit(9)\n"
        "sys.modules['tool'] = Named('tool'); sys.modules['other'] = Odd()\n"
        "import tool, other\n"
        "sys.modules['odd'] = Odd(); sys.modules[3] = 3; sys.modules['none'] = None\nprint('end')"
    ),
    "a file that hides a standard module": (
        "import os\n"
        "for name in ('ctypes', 'json', 'struct'):\n"
        "    open(os.path.dirname(__file__) + f'/{name}.py', 'w').write('print(1)')"
    ),
    "a handler of a signal": (
        "import signal, os\nsignal.signal(signal.SIGUSR1, lambda *a: print('signal'))\n"
        "os.kill(os.getpid(), signal.SIGUSR1)\nimport tool"
    ),
    "atexit's order": "import atexit\natexit.register(print, 'first'); atexit.register(print, 'second'); import tool",
}


@pytest.mark.parametrize("what", SAME)
def test_a_script_does_the_same_with_and_without_the_observer(what: str, observed: Observed) -> None:
    environ = observed.environ
    del environ["REPRO_OBSERVE_DIR"]
    os.chdir(observed.root)
    observed("import tool, other", environ=environ)  # has their bytecode written
    expected = observed(SAME[what], environ=environ)
    for name in ("ctypes", "json", "struct"):
        (observed.root / f"{name}.py").unlink(missing_ok=True)
    found = observed(SAME[what])
    assert (found.returncode, found.stdout, found.stderr) == (expected.returncode, expected.stdout, expected.stderr)


def test_an_exception_that_comes_while_we_run_goes_on(observed: Observed) -> None:
    """Stand in for a signal's handler, which may run between any two of our steps."""
    code = (
        "import sys\n"
        "def interrupt(frame, event, argument):\n"
        "    if event == 'c_call' and frame.f_code.co_filename.endswith('observe.py'):\n"
        "        sys.setprofile(None)\n"
        "        raise TimeoutError('handler')\n"
        "sys.setprofile(interrupt)\n"
        "try:\n    import tool\nexcept TimeoutError as error: print(error)\n"
    )
    assert observed(code).stdout == "handler\n"


@pytest.mark.parametrize("deed", ["gone", "gone at the start", "read-only", "a file", "full"])
def test_a_directory_that_fails_us_fails_no_script(deed: str, observed: Observed) -> None:
    code = "import tool; print(tool.NAME); raise SystemExit(3)"
    if deed == "gone":
        code = f"import shutil; shutil.rmtree({str(observed.directory)!r}); import other; {code}"
    elif deed == "gone at the start":
        observed.directory.rmdir()
    elif deed == "read-only":
        observed.directory.chmod(0o500)
    elif deed == "a file":
        observed.directory.rmdir()
        observed.directory.write_text("")
    else:
        code = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n" + code
    finished = observed(code)
    observed.root.joinpath("observed").chmod(0o700) if observed.directory.exists() else None
    assert (finished.returncode, finished.stdout, finished.stderr) == (3, "tool\n", "")


@pytest.mark.parametrize("flag", ["-S", "-I", "-E"])
def test_an_interpreter_that_reads_no_variables_is_left_alone(flag: str, observed: Observed) -> None:
    finished = observed("print('fine')", flag)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "fine\n", "")
    assert list(observed.directory.iterdir()) == []


def test_another_prefix_is_not_observed(observed: Observed, tmp_path: Path) -> None:
    assert observed("import tool", environ={**observed.environ, "REPRO_LEND_PREFIX": "/elsewhere"}).returncode == 0
    assert list(observed.directory.iterdir()) == []


def test_a_process_tells_its_variables_and_no_others(observed: Observed) -> None:
    code = "import os; os.environ['OMP_NUM_THREADS'] = '3'"
    observed(code, environ={**observed.environ, "MY_TOKEN": "x", "LC_ALL": "C.UTF-8", "XLA_FLAGS": '"\\\n\t\x01ä€😀'})
    (process,) = observed.read().processes
    assert dict(process.variables) == {
        "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "3", "XLA_FLAGS": '"\\\n\t\x01ä€😀'
    }  # fmt: skip
    assert process.locale is not None
    assert "UTF-8" in process.locale
    assert process.hash_randomization is True
    assert process.cpus == len(os.sched_getaffinity(0))


def find_oldest() -> list[str]:
    root = Path(os.environ.get("PYENV_ROOT", "/nonexistent"), "versions")
    return [str(path / "bin" / "python") for minor in ("3.8", "3.13") for path in sorted(root.glob(f"{minor}.*"))]


@pytest.mark.interpreters
@pytest.mark.parametrize("python", find_oldest() or [sys.executable])
@pytest.mark.parametrize("how", ["late, in a function", "before SIGKILL", "multiprocessing, spawn"])
def test_the_oldest_and_the_newest_python_are_observed(how: str, python: str, tmp_path: Path) -> None:
    observed = Observed(tmp_path, python=python)
    assert observed(SEEN[how]).stderr == ""
    assert "tool" in observed.list_seen()
    assert "other" not in observed.list_seen()
