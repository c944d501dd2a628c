"""Files that are whole at every moment, whenever the power goes."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import time
from fnmatch import fnmatchcase
from pathlib import Path

TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{8}")  # what is not yet, or will never be, the file named


def write_atomically(
    path: Path, content: bytes, *, mode: int | None = None, durable: bool = True
) -> None:
    """Write ``content`` so that ``path`` is at every moment absent, the old file or the new one.

    Permissions follow the umask, or ``mode`` if given. A symbolic link is kept and its target
    replaced; a device or a pipe is written to, not replaced. Not ``durable``: what need not
    outlive a power cut is not waited for until the disk has it.
    """
    if path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    path = Path(os.path.realpath(path))  # Path's own raises at links in a ring, on Python 3.12
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    # Not by tempfile, whose files are their owner's alone whatever the umask says.
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
    """Remove what :func:`write_atomically`, killed, has left of files of these names in ``folder``.

    ``names`` may be patterns like ``*.npz``. What another process is just writing goes, too, unless
    only files ``older_s`` than so many seconds are meant. A folder that is not there holds nothing.
    """
    for path in folder.glob(".*"):
        named = TEMPORARY.fullmatch(path.name)
        if not named or not any(fnmatchcase(named[1], name) for name in names):
            continue
        with contextlib.suppress(FileNotFoundError):  # that other one has finished it
            if path.is_file() and (not older_s or time.time() - path.stat().st_mtime > older_s):
                path.unlink()


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in ``folder``: else the old file may come back.

    OSError if the disk fails; on a file system that cannot be waited for there is no waiting.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems cannot
            raise
    finally:
        os.close(handle)
