"""The periodic Hann window, used by the front end and by the gate."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray


@functools.lru_cache(maxsize=8)
def hann(n: int) -> NDArray[np.float32]:
    """``0.5 - 0.5 cos(2 pi k / n)``, k from 0 to n - 1; shape (n,), float32, read-only."""
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)).astype(np.float32)
    window.flags.writeable = False  # shared by all callers
    return window
