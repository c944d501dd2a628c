"""Files that are complete at every moment, even if the power fails."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import time
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path

TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{8}")  # a file being written, or one left by a crash


def write_atomically(
    path: Path, content: bytes, *, mode: int | None = None, durable: bool = True
) -> None:
    """Write ``content`` so that ``path`` is at every moment absent, the old file or the new one.

    Permissions follow the umask, or ``mode`` if given. A symbolic link is kept and its target
    replaced; a device or a pipe is written to, not replaced. Not ``durable``: return without
    waiting for the disk, for files that need not survive a power cut. OSError names a file.
    """
    try:
        _write(path, content, mode, durable=durable)
    except OSError as error:
        if error.filename is None:  # a full disk: else nobody would know which one
            error.filename = str(path)
        raise


def _write(path: Path, content: bytes, mode: int | None, *, durable: bool) -> None:
    if path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    path = Path(os.path.realpath(path))  # Path.resolve() raises on a symlink loop before 3.13
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    # Not tempfile, which ignores the umask and makes files that only their owner can read.
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            if mode is not None:
                os.fchmod(handle, mode)
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        part.replace(path)
        if durable:
            sync_folder(path.parent)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def remove_leftovers(folder: Path, *names: str, older_s: float = 0.0) -> None:
    """Remove temporary files in ``folder`` that a killed :func:`write_atomically` left behind.

    ``names``: the files it was to write; patterns like ``*.npz`` will do. Files that another
    process is writing now are removed, too, unless ``older_s`` spares those younger than so many
    seconds. A missing folder is treated as empty.
    """
    for path in folder.glob(".*"):
        named = TEMPORARY.fullmatch(path.name)
        if not named or not any(fnmatchcase(named[1], name) for name in names):
            continue
        with contextlib.suppress(FileNotFoundError):  # another process has just finished it
            if path.is_file() and (not older_s or time.time() - path.stat().st_mtime > older_s):
                path.unlink()


def remove_leftovers_of(path: Path) -> None:
    """Remove what a killed :func:`write_atomically` of ``path`` left, also where that is a link."""
    target = Path(os.path.realpath(path))
    remove_leftovers(target.parent, escape(target.name))


def sync_folder(folder: Path) -> None:
    """Flush the entries of ``folder`` to disk; otherwise the old file may reappear after a crash.

    OSError if the disk fails; does nothing on a file system that cannot sync a folder.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # not supported by this file system
            raise
    finally:
        os.close(handle)
