"""Keeping native libraries from chattering on standard error."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Standard error goes nowhere meanwhile, for this whole process, native code included.

    For calls known to announce what nobody needs: each of ALSA's failed guesses, the name of
    TFLite's delegate. Errors that matter come back as exceptions.
    """
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)
