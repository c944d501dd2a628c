"""Keep native libraries from writing to standard error."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Discard standard error meanwhile, for the whole process, including native code.

    Not for two threads at a time: one could restore what the other had just discarded.

    For calls known to print what nobody needs, such as each device ALSA tries in vain or the name
    of TFLite's delegate. Errors that matter are raised as exceptions.
    """
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)
