"""Files that are whole at every moment, whenever the power goes."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


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
    path = path.resolve()
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
    except BaseException:
        part.unlink(missing_ok=True)
        raise
