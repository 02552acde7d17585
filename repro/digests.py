"""SHA-256 of texts in memory, without the 3 ms that hashlib takes to load OpenSSL."""

try:
    from _sha2 import sha256 as _sha256  # type: ignore[import-not-found] # Python 3.12 and later
except ImportError:
    try:
        from _sha256 import sha256 as _sha256  # type: ignore[import-not-found]
    except ImportError:  # a Python that was built without its own
        from hashlib import sha256 as _sha256


def sha256_hex(content: bytes) -> str:
    """Return the digest as 64 hexadecimal digits."""
    return str(_sha256(content).hexdigest())
