"""What a process that is started by another one of ours needs."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from pathlib import Path

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that started it has gone, however it went."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def child_environment() -> dict[str, str]:
    """The environment to start this module in: with this very package, nothing of the folder.

    ``python -m`` would first look for modules where it stands, which may be anybody's folder.
    """
    ours = str(Path(__file__).resolve().parents[1])
    theirs = os.environ.get("PYTHONPATH")
    path = f"{ours}{os.pathsep}{theirs}" if theirs else ours
    return {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": path}
