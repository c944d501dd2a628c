"""The type of a path, without the errors pathlib raises if a folder may not be entered."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Literal


def what_is(path: Path) -> Literal["file", "folder", "device", "closed"]:
    """What ``path`` leads to; "closed" if it is a broken link, missing or not accessible."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # ValueError if the name contains a NUL, which no file name can
        return "closed"
    if stat.S_ISDIR(mode):
        return "folder"
    return "file" if stat.S_ISREG(mode) else "device"
