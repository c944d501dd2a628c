"""Helpers for child processes that run this package."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from pathlib import Path

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, in whatever way (Linux only)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def child_environment() -> dict[str, str]:
    """An environment in which a child imports this same package, nothing of the working directory.

    ``python -m`` would search the working directory first, and that may be anybody's.
    """
    ours = str(Path(__file__).resolve().parents[1])
    theirs = os.environ.get("PYTHONPATH")
    path = f"{ours}{os.pathsep}{theirs}" if theirs else ours
    return {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": path}
