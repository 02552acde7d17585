"""Report what an interpreter is and which distributions it holds, as JSON on a file descriptor.

Runs in the interpreter asked about (`python -I probe.py FD all|interpreter`), which need not have repro. It reads
`.dist-info` directories itself: importlib.metadata and pip each break on one damaged distribution, and are ten times
slower (PyPA "Recording installed projects"; PEP 610 for direct_url.json).
"""

import hashlib
import os
import sys

HEAD_BYTES = 8192


def _read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None


def _read_headers(path):
    """Return the metadata headers of METADATA or PKG-INFO: what stands before the first empty line."""
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
            while b"\n\n" not in head and b"\r\n\r\n" not in head:
                more = file.read(HEAD_BYTES)
                if not more:
                    break
                head += more
    except OSError:
        return ""
    return head.replace(b"\r\n", b"\n").split(b"\n\n", 1)[0].decode("utf-8", "replace")


def _parse_headers(text):
    """Return (name, version, requirements)."""
    name = version = None
    requires = []
    for line in text.split("\n"):
        key, colon, value = line.partition(":")
        if not colon:
            continue
        key = key.lower()
        if key == "name" and name is None:
            name = value.strip()
        elif key == "version" and version is None:
            version = value.strip()
        elif key == "requires-dist":
            requires.append(value.strip())
    return name, version, requires


def _is_plausible(text):
    return bool(text) and all(part < "\x80" and (part.isalnum() or part in "-_.+!") for part in text)


def _name_from_directory(stem):
    name, _, version = stem.partition("-")
    return name, version.partition("-py")[0]


def _read_distribution(directory, entry_name, metadata_path):
    stem = entry_name.rpartition(".")[0]
    name, version, requires = _parse_headers(_read_headers(metadata_path))
    other_name, other_version = _name_from_directory(stem)
    if not _is_plausible(name):
        name = other_name
    if not _is_plausible(version):
        version = other_version
    return {"name": name, "version": version, "requires": requires, "site": directory, "entry": entry_name}


def _text(content):
    return content.decode("utf-8", "replace").strip() if content else None


def _read_dist_info(directory, entry_name):
    path = os.path.join(directory, entry_name)
    found = _read_distribution(directory, entry_name, os.path.join(path, "METADATA"))
    record = _read(os.path.join(path, "RECORD"))
    found["record"] = hashlib.sha256(record).hexdigest() if record else None
    found["installer"] = _text(_read(os.path.join(path, "INSTALLER")))
    found["requested"] = os.path.exists(os.path.join(path, "REQUESTED"))
    found["direct_url"] = _text(_read(os.path.join(path, "direct_url.json")))
    return found


def _read_egg_info(directory, entry_name):
    path = os.path.join(directory, entry_name)
    metadata = os.path.join(path, "PKG-INFO") if os.path.isdir(path) else path
    found = _read_distribution(directory, entry_name, metadata)
    found.update(record=None, installer=None, requested=False, direct_url=None)
    return found


def _scan(directory):
    """Return the distributions of one site directory, sorted by file name."""
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return []
    found = []
    for name in names:
        if name.startswith("~"):
            continue  # what pip left behind when it could not delete
        if name.endswith(".dist-info"):
            found.append(_read_dist_info(directory, name))
        elif name.endswith(".egg-info"):
            found.append(_read_egg_info(directory, name))
    return found


def _site_directories():
    """Return the directories whose distributions count as installed, in import order.

    Those of `sys.path` that hold packages (not the standard library, not PYTHONPATH or the working directory, which
    `-I` keeps away), and the user's own where a plain start would use it.
    """
    library = {os.path.normpath(path) for path in (os.path.dirname(os.__file__), sys.prefix, sys.base_prefix)}
    found = [
        path
        for path in sys.path
        if os.path.isdir(path) and os.path.normpath(path) not in library and not path.endswith("lib-dynload")
    ]
    if sys.prefix == sys.base_prefix and not os.environ.get("PYTHONNOUSERSITE"):
        import site

        user_site = site.getusersitepackages()
        if os.path.isdir(user_site):
            found.insert(0, user_site)
    return found


def _libc():
    try:
        return os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError, AttributeError):
        return None


def describe_interpreter():
    """Return what an installed distribution depends on: version, ABI, platform and the like."""
    import _imp

    implementation = sys.implementation.name
    free_threaded = "t" in getattr(sys, "abiflags", "")
    tag = {"cpython": "cp", "pypy": "pp"}.get(implementation, implementation)
    return {
        "implementation": implementation,
        "version": "%d.%d.%d" % sys.version_info[:3]
        + ("" if sys.version_info[3] == "final" else "%s%d" % (sys.version_info[3][0], sys.version_info[4])),
        "abi": "%s%d%d%s" % (tag, sys.version_info[0], sys.version_info[1], getattr(sys, "abiflags", "")),
        "extension_suffix": _imp.extension_suffixes()[0],
        "free_threaded": free_threaded,
        "platform": "%s-%s" % (sys.platform, os.uname().machine),
        "libc": _libc(),
        "executable": sys.executable,
        "base_executable": os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable),
        "prefix": sys.prefix,
        "base_prefix": sys.base_prefix,
    }


def probe_interpreter(directories=None):
    """Return the interpreter's description with its site directories, or those given, and their distributions."""
    directories = _site_directories() if directories is None else directories
    found = []
    for directory in directories:
        found.extend(_scan(directory))
    return {"python": describe_interpreter(), "sites": directories, "distributions": found}


def _encode(value):
    """Return a value as JSON; the json package itself would cost a third of this process's time."""
    from _json import encode_basestring_ascii as quote

    if isinstance(value, str):
        return quote(value)
    if isinstance(value, dict):
        return "{%s}" % ",".join("%s:%s" % (quote(key), _encode(item)) for key, item in value.items())
    if isinstance(value, list):
        return "[%s]" % ",".join(map(_encode, value))
    return {None: "null", True: "true", False: "false"}[value]


def main(arguments):
    descriptor, scope = int(arguments[0]), arguments[1]
    report = probe_interpreter() if scope == "all" else {"python": describe_interpreter()}
    try:
        text = _encode(report)
    except ImportError:
        import json

        text = json.dumps(report)
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(text)


if __name__ == "__main__":
    main(sys.argv[1:])
