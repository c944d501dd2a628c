"""The gain of a band-pass applied to a spectrum, used by the gate and by the check for repeats."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

Edge = tuple[float, float]  # Hz: where it begins and where it ends


@functools.lru_cache(maxsize=8)
def band_gain(n_bins: int, bin_hz: float, rise: Edge, fall: Edge) -> NDArray[np.float32]:
    """Gain of ``n_bins`` bins, ``bin_hz`` apart from 0 Hz: (n_bins,) float32, 0 to 1, read-only.

    0 up to ``rise[0]``, 1 from ``rise[1]`` to ``fall[0]``, 0 from ``fall[1]`` on; between them half
    a period of a squared sine, so that the filter rings only briefly.
    """
    f = np.arange(n_bins) * np.float32(bin_hz)
    up = np.clip((f - rise[0]) / (rise[1] - rise[0]), 0, 1)
    down = np.clip((fall[1] - f) / (fall[1] - fall[0]), 0, 1)
    gain = np.square(np.sin(np.float32(np.pi / 2) * up * down)).astype(np.float32)
    gain.flags.writeable = False  # shared by all callers
    return gain
