"""Identifying recordings by their content, independently of their names."""

from __future__ import annotations

import hashlib
import stat
from functools import cache
from pathlib import Path


def fingerprint(path: Path) -> str:
    """SHA-256 of the file's content, in hexadecimal.

    A file that cannot be read gets a value of its own; :func:`convert.dataset.readable` reports it.
    """
    try:
        now = path.stat()
        if not stat.S_ISREG(now.st_mode):  # a pipe or a device may never end
            return f"unreadable: {path}"
        return _sha256(path, now.st_size, now.st_mtime_ns)
    except OSError:
        return f"unreadable: {path}"


@cache  # a run needs it several times, and recordings may have gigabytes
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    """Hash the file; size and modification time are cache keys, so a changed file is read again."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
