"""Does a sound repeat itself exactly? A driver that hangs may play its last buffer for ever.

A short piece of an engine, over and over, is a fine picture for the network, and a normal one. But
no engine does twice the same: the steadiest of real ones resembles itself, a while later, by 0.98.
A piece longer than LAGS_S is not noticed: half of two seconds says nothing of the other half.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray

# What repeats itself sooner, a buffer of 93 ms, does so here, too; a tone that wavers does not.
LAGS_S = (0.3, 0.93)
# Frequencies that are looked at, and from where to where the filter rises and falls. Few samples
# are left of a sound up to here; without its slow part a correlation means something.
RISE_HZ, FALL_HZ = (20.0, 80.0), (1100.0, 1378.0)
EDGE_S = 0.06  # where the filter's own beginning and end are heard
STEPS = 4  # lags a sample apart are too few to meet a peak; the rest does a parabola


def repetition(y: NDArray[np.float32], sr: int) -> float:
    """How much ``y`` (n,), ``sr`` Hz, resembles itself some time of LAGS_S later: 1 is exactly.

    The largest normalised autocorrelation of what lies between RISE_HZ and FALL_HZ; of what
    overlaps, so that the length of the lag is no matter. 0 for a ``y`` of less than 1.98 s, twice
    the longest lag and the filter's ends.
    """
    if y.size < 2 * (LAGS_S[1] + EDGE_S) * sr:
        return 0.0
    x, rate = _filtered(y, sr)
    spectrum = scipy.fft.rfft(x, scipy.fft.next_fast_len(2 * x.size, real=True))
    n = 2 * (spectrum.size - 1) * STEPS
    products = STEPS * scipy.fft.irfft(np.square(np.abs(spectrum)), n)
    lags = np.arange(*(int(STEPS * lag * rate) for lag in LAGS_S))
    energy = np.concatenate([[0.0], np.cumsum(np.square(x, dtype=np.float64))])
    whole = np.round(lags / STEPS).astype(int)
    norm = np.sqrt(energy[x.size - whole] * (energy[-1] - energy[whole]))
    # What overlaps hardly at all, of a single bang, proves nothing and is mostly rounding.
    norm = np.maximum(norm, energy[-1] / 4)
    return _peak(products[lags] / norm) if energy[-1] > 0 else 0.0


def _filtered(y: NDArray[np.float32], sr: int) -> tuple[NDArray[np.float32], float]:
    """The band that is looked at, without its ends, and its rate: twice the highest frequency."""
    n = y.size
    shown = scipy.fft.rfft(y)[: int(FALL_HZ[1] * n / sr) + 1]
    f = np.arange(shown.size) * np.float32(sr / n)
    rise = np.clip((f - RISE_HZ[0]) / (RISE_HZ[1] - RISE_HZ[0]), 0, 1)
    fall = np.clip((FALL_HZ[1] - f) / (FALL_HZ[1] - FALL_HZ[0]), 0, 1)
    shown *= np.square(np.sin(np.float32(np.pi / 2) * rise * fall))
    m = 2 * (shown.size - 1)
    rate = sr * m / n
    edge = int(EDGE_S * rate)
    return scipy.fft.irfft(shown, m)[edge:-edge], rate


def _peak(values: NDArray[np.float64]) -> float:
    """The highest of the peaks of ``values``: of a parabola through one and its neighbours.

    What still falls from the lag 0, at the beginning, is no peak. 0 if there is none.
    """
    before, top, after = values[:-2], values[1:-1], values[2:]
    peaks = np.flatnonzero((top > before) & (top >= after))
    if not peaks.size:
        return 0.0
    a, b, c = (part[peaks] for part in (before, top, after))
    return float((b + (a - c) ** 2 / (8 * (2 * b - a - c))).max())
