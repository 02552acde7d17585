"""Let a script that `repro run` has started import repro, though its environment does not contain it, and observe it.

The directory of this file stands on PYTHONPATH. It first runs the `sitecustomize` that it hides, and does nothing more
outside the run's own interpreter prefix. What the environment has itself wins: the finder comes last.
"""

import os
import sys


def _say(deed, error):
    try:
        message = " ".join(str(error).split())
        sys.stderr.write("repro: %s: %s: %s\n" % (deed, type(error).__name__, message))
    except Exception:
        pass  # stderr is closed: there is nobody to tell


def _run_hidden():
    from _frozen_importlib_external import PathFinder  # as importlib.machinery has it, which takes 1 ms to import

    here = os.path.dirname(os.path.abspath(__file__))
    places = [os.path.abspath(path) for path in sys.path]
    hidden = places[places.index(here) + 1 :] if here in places else places
    spec = PathFinder.find_spec("sitecustomize", [path for path in hidden if path != here])
    if spec is not None and spec.loader is not None:
        from importlib.util import module_from_spec

        module = module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


class _LentFinder:
    """Find the packages that are lent, by name."""

    def __init__(self, places):
        self._places = places

    def find_spec(self, name, path=None, target=None):
        place = self._places.get(name)
        if place is None:
            return None
        from importlib.util import spec_from_file_location

        return spec_from_file_location(name, os.path.join(place, "__init__.py"), submodule_search_locations=[place])


def _is_the_runs_prefix():
    prefix = os.environ.get("REPRO_LEND_PREFIX")
    return bool(prefix) and os.path.realpath(prefix) == os.path.realpath(sys.prefix)


def _lend():
    packages = os.environ.get("REPRO_LEND_PACKAGES")
    if packages and sys.version_info >= (3, 10) and _is_the_runs_prefix():
        places = dict(pair.split("=", 1) for pair in packages.split(os.pathsep))
        sys.meta_path.append(_LentFinder(places))


def _observe():
    """Note what is imported from here on; what .pth files and the hidden sitecustomize have loaded does not count."""
    directory = os.environ.get("REPRO_OBSERVE_DIR")
    if not directory or sys.version_info < (3, 8) or not _is_the_runs_prefix():
        return
    from _frozen_importlib_external import SourceFileLoader

    inside = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    scope = {"__name__": "_repro_observe", "__file__": os.path.join(inside, "observe.py")}
    exec(SourceFileLoader(scope["__name__"], scope["__file__"]).get_code(scope["__name__"]), scope)
    scope["observe"](directory)


for _deed, _name in ((_run_hidden, "the environment's own sitecustomize"), (_lend, "lending repro")):
    try:
        _deed()
    except Exception as error:
        _say(_name, error)
try:
    _observe()
except Exception:
    pass  # nobody has asked for it, so nobody is told
