"""What a path leads to, where pathlib's own questions raise if a folder may not be entered."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Literal


def what_is(path: Path) -> Literal["file", "folder", "device", "closed"]:
    """What ``path`` leads to; closed where that cannot be told: to nowhere, or out of our reach."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # the latter for a NUL in a name, which no file can have
        return "closed"
    if stat.S_ISDIR(mode):
        return "folder"
    return "file" if stat.S_ISREG(mode) else "device"
