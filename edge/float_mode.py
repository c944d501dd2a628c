"""The processor's floating-point mode, kept while a library is loaded that changes it.

Loading the aarch64 wheel of tflite-runtime 2.14.0, as any library built with gcc's
``-ffast-math``, switches flush-to-zero on (numbers below ``np.finfo(np.float32).tiny`` become 0) in
the thread that loads it and in all that this thread starts. The front end would calculate otherwise
than in training, and numpy would warn on standard error.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

FENV_BYTES = 64  # the C library's fenv_t has 8 on aarch64 and 32 on x86-64


@contextmanager
def kept() -> Iterator[None]:
    """Restore this thread's rounding, exceptions and flush-to-zero afterwards (C99, 7.6.4)."""
    libm = ctypes.CDLL("libm.so.6")  # glibc's, which every wheel of a runtime needs
    mode = ctypes.create_string_buffer(FENV_BYTES)
    libm.fegetenv(mode)
    try:
        yield
    finally:
        libm.fesetenv(mode)
