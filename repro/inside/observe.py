"""Note which modules a run imports, at once, so that a process that is killed loses nothing.

Loaded by `lend/sitecustomize.py` where REPRO_OBSERVE_DIR names a directory, and by `repro.start_run()`. An interpreter
writes a file there, which the processes that it forks share, and each process that ends well one more:

    <ns>-<pid>-<nonce>.imports   `<pid> TAB <name>`               a module is looked for
                                 `<pid> TAB <name> TAB <path>`    it was loaded from there (no path: nobody knows)
                                 `<pid>`                          this process ended well and has noted all it had
    <ns>-<pid>-<nonce>.<pid>     see `process_facts.py`

Nothing here may change what the script does: every error of ours is swallowed, while an exception that somebody else
raised as we ran (a signal's handler) goes on; the functions are those of `posix`, which nobody replaces; nothing is
opened at an import; and the descriptor is a high one that is checked before each use, because a script may close it and
get its number for a file of its own.
"""

import atexit
import posix
import sys

PENDING = 64  # names looked for and not loaded (yet) that are kept in mind
_HIGH_DESCRIPTORS = (1000, 500, 200)
_HERE = __file__
_ModuleType = type(sys)
_namespace_of = _ModuleType.__dict__["__dict__"].__get__
_ModuleSpec = type(sys.__spec__)
_STANDARD = getattr(sys, "stdlib_module_names", frozenset())


def _is_foreign(error):
    """Tell whether an exception was raised by other code than ours while we ran, e.g. a signal's handler."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals is not globals()


def _is_clean(text):
    return "\t" not in text and "\n" not in text


def _raise_descriptor(descriptor):
    """Return the same file under a number that no script expects to get."""
    for high in _HIGH_DESCRIPTORS:
        try:
            posix.fstat(high)
        except OSError:
            try:
                posix.dup2(descriptor, high, False)
            except OSError:
                continue
            posix.close(descriptor)
            return high
    return descriptor


def find_path(module):
    """Return where a module was loaded from: None if from nowhere, "" if that cannot be told without running code."""
    if not issubclass(type(module), _ModuleType):
        return ""  # somebody has put another object into its place
    path = _namespace_of(module).get("__file__")
    return path if type(path) is str else None


def is_lazy(module):
    """Tell whether a module of importlib.util.LazyLoader is not loaded yet."""
    if type(module).__name__ == "_LazyModule":
        return True
    spec = _namespace_of(module).get("__spec__") if issubclass(type(module), _ModuleType) else None
    return type(spec) is _ModuleSpec and type(spec.loader).__name__ == "LazyLoader"


def _is_script(name, module):
    """Tell whether a module is the script itself; one started by `python -m` is a module like others."""
    return name == "__main__" and find_path(module) != "" and _namespace_of(module).get("__spec__") is None


class Observer:
    """A finder that finds nothing, and notes what is looked for; modules named in `before` do not count."""

    def __init__(self, directory, before):
        import time

        self.stem = "%s/%d-%d-%s" % (directory, int(time.time() * 1e9), posix.getpid(), posix.urandom(4).hex())
        self._modules = sys.modules
        self._before = before - {"__main__"}
        self._pending = {}
        self._settled = set()
        self._active = True
        self._open()

    def _open(self):
        flags = posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT | posix.O_CLOEXEC
        self._descriptor = _raise_descriptor(posix.open(self.stem + ".imports", flags, 0o600))
        found = posix.fstat(self._descriptor)
        self._identity = found.st_dev, found.st_ino

    def _is_ours(self):
        try:
            found = posix.fstat(self._descriptor)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._identity

    def _write(self, lines):
        if not self._is_ours():
            try:
                self._open()
            except Exception:  # the directory is gone, or an audit hook of the script minds
                self._active = False
                return
        posix.write(self._descriptor, "".join(lines).encode("utf-8", "surrogateescape"))

    def _settle(self, name, module, process):
        """Return the line that says where a module came from, "" where there is nothing to say."""
        self._pending.pop(name, None)
        self._settled.add(name)
        path = find_path(module)
        return "" if path is None or not _is_clean(path) else "%s\t%s\t%s\n" % (process, name, path)

    def _settle_pending(self, process):
        found = [(name, self._modules.get(name)) for name in list(self._pending)]
        loaded = [(name, module) for name, module in found if module is not None and not is_lazy(module)]
        return [self._settle(name, module, process) for name, module in loaded]

    def _note(self, name):
        process = str(posix.getpid())
        lines = self._settle_pending(process) if self._pending else []
        if name not in self._pending and name.partition(".")[0] not in _STANDARD and _is_clean(name):
            lines.append("%s\t%s\n" % (process, name))
            self._pending[name] = True
            if len(self._pending) > PENDING:
                self._pending.pop(next(iter(self._pending)), None)
        if lines:
            self._write(lines)

    def find_spec(self, name, path=None, target=None):
        """Note the name of a module and leave it to the other finders."""
        try:
            if self._active and target is None:  # a reload has a target, and was imported before
                self._note(name)
        except Exception as error:
            if _is_foreign(error):
                raise

    def note_all(self, ended):
        """Note where every module came from that is loaded now; `ended` tells that the process ends."""
        process = str(posix.getpid())
        lines = []
        for name, module in list(self._modules.items()):
            if type(name) is not str or module is None or name in self._before or name in self._settled:
                continue
            if name.partition(".")[0] not in _STANDARD and _is_clean(name) and not _is_script(name, module):
                lines.append("" if is_lazy(module) else self._settle(name, module, process))
        self._write(lines + (["%s\n" % process] if ended else []))

    def _write_facts(self):
        from _frozen_importlib_external import SourceFileLoader

        facts = {"__name__": "_repro_process_facts"}
        path = _HERE.rpartition("/")[0] + "/process_facts.py"
        exec(SourceFileLoader(facts["__name__"], path).get_code(facts["__name__"]), facts)
        facts["write_facts"]("%s.%d" % (self.stem, posix.getpid()))

    def end(self):
        """Note what the process ends with."""
        if not self._active:
            return
        self._active = False
        for deed in (lambda: self.note_all(True), self._write_facts):
            try:
                deed()
            except Exception:
                pass

    def stop(self):
        """Note no more."""
        self._active = False
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        if self._is_ours():
            posix.close(self._descriptor)


def find_started_before():
    """Return the names of the modules that were loaded before the script began: those that stand before `site`.

    An interpreter moves a module to the end of `sys.modules` when it has loaded, `site` therefore behind all that it
    and its .pth files have loaded.
    """
    names = [name for name in list(sys.modules) if type(name) is str]
    return frozenset(names[: names.index("site")]) if "site" in names and not sys.flags.no_site else frozenset()


def install(directory, before=None):
    """Observe this process from now on, and what it forks; return the observer, None where it cannot be done.

    Without `before` no module counts that is loaded already.
    """
    try:
        observer = Observer(directory, frozenset(sys.modules) if before is None else before)
        sys.meta_path.insert(0, observer)
    except Exception:
        return None
    return observer


def observe(directory):
    """Observe this process from its start to its end."""
    observer = install(directory)
    if observer is not None:
        atexit.register(observer.end)
