"""Write the names of an interpreter's standard library, one a line, to a file descriptor.

Runs in the interpreter asked about (`python -I stdlib.py FD`). Python 3.8 and 3.9 have no `sys.stdlib_module_names`:
there it is what is built in and what lies in the library's directories.
"""

import os
import sys


def _list_files():
    library = os.path.dirname(os.__file__)
    for directory in (library, os.path.join(library, "lib-dynload")):
        for name in os.listdir(directory) if os.path.isdir(directory) else ():
            stem, dot, suffix = name.partition(".")
            if not dot or suffix == "py" or suffix.endswith("so"):
                yield stem


def list_stdlib():
    """Return the names, sorted."""
    names = getattr(sys, "stdlib_module_names", None) or {*_list_files(), *sys.builtin_module_names}
    return sorted(name for name in names if name.isidentifier())


if __name__ == "__main__":
    with open(int(sys.argv[1]), "w", encoding="utf-8") as file:
        file.write("\n".join(list_stdlib()))
