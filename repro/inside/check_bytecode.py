"""Remove the bytecode that a power cut has damaged: of the interpreter that runs this, below the directories on stdin.

Runs as `python -I check_bytecode.py`, one directory a line. Python itself looks at the first 16 bytes of a file alone
(PEP 552): one that is cut off behind them makes an import fail, and zeros in it may make any code of it, or a crash.
A file system loses whole blocks; a cut shows when the code is read, for it is one object to the last byte.
"""

import importlib.util
import marshal
import os
import sys

HEADER_BYTES = 16
BLOCK_BYTES = 512


def _has_lost_block(data):
    return any(not data[at : at + BLOCK_BYTES].strip(b"\0") for at in range(0, len(data), BLOCK_BYTES))


def is_whole(data):
    """Tell whether the content of a file of bytecode is there; one that Python would only overlook is not."""
    if len(data) <= HEADER_BYTES or data[:4] != importlib.util.MAGIC_NUMBER or _has_lost_block(data):
        return False
    try:
        return isinstance(marshal.loads(data[HEADER_BYTES:]), type(is_whole.__code__))
    except Exception:  # EOFError, ValueError, TypeError, MemoryError: whatever the bytes look like
        return False


def _check(path):
    with open(path, "rb") as file:
        data = file.read()
    if not is_whole(data):
        os.unlink(path)


def check(directory):
    """Check every file of this interpreter's below a directory; files come and go, for Python may write there now."""
    mark = ".{}.".format(sys.implementation.cache_tag)
    for parent, _, names in os.walk(directory):
        for name in names:
            if mark in name and name.endswith(".pyc"):
                try:
                    _check(os.path.join(parent, name))
                except FileNotFoundError:
                    continue


if __name__ == "__main__":
    for line in sys.stdin.buffer.read().split(b"\n"):
        check(os.fsdecode(line))
