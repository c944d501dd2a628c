"""A recording told by its bytes, whatever it is called."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path


def fingerprint(path: Path) -> str:
    """SHA-256 of the file, in hexadecimal: the same recording under whatever name.

    A file that cannot be read, which :func:`convert.dataset.readable` will name, is like no other.
    """
    try:
        now = path.stat()
        return _sha256(path, now.st_size, now.st_mtime_ns)
    except OSError:
        return f"unreadable: {path}"


@cache  # a run asks several times, and recordings may be gigabytes
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    """Of the file as it is with this size and time of change."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
