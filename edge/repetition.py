"""Detect sound that repeats itself exactly: a hung driver may play its last buffer for ever.

A short piece of engine sound in a loop makes a good picture, and the network calls it normal. But
no engine repeats itself exactly: the autocorrelation of the steadiest real one is 0.98 at most.
A loop longer than the upper end of LAG_RANGE_S goes unnoticed, because half of a window of two
seconds says nothing about the other half.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from edge.band import band_gain

# A loop shorter than this, such as a buffer of 93 ms, repeats itself at these lags too; a wavering
# tone does not.
LAG_RANGE_S = (0.3, 0.93)
# Where the band-pass rises and falls. The low upper limit allows a low sampling rate; without the
# slowest components the correlation is meaningful.
RISE_HZ, FALL_HZ = (20.0, 80.0), (1100.0, 1378.0)
EDGE_S = 0.06  # cut off at both ends, where the filter's transients are
LAGS_PER_SAMPLE = 4  # whole samples are too coarse to meet a peak; a parabola does the rest


def repetition(y: NDArray[np.float32], sr: int) -> float:
    """Highest peak of the autocorrelation of ``y`` (n,), ``sr`` Hz, in LAG_RANGE_S; 1: exact copy.

    Only the band between RISE_HZ and FALL_HZ is compared. The correlation is normalised by the
    energy of the overlapping parts, so the lag's length makes no difference. 0 for a ``y`` shorter
    than 1.98 s: twice the sum of the longest lag and EDGE_S.
    """
    if y.size < 2 * (LAG_RANGE_S[1] + EDGE_S) * sr:
        return 0.0
    x, rate = _band_pass(y, sr)
    spectrum = scipy.fft.rfft(x, scipy.fft.next_fast_len(2 * x.size, real=True))
    n = 2 * (spectrum.size - 1) * LAGS_PER_SAMPLE
    correlation = LAGS_PER_SAMPLE * scipy.fft.irfft(np.square(np.abs(spectrum)), n)
    lags = np.arange(*(int(LAGS_PER_SAMPLE * lag * rate) for lag in LAG_RANGE_S))
    energy = np.concatenate([[0.0], np.cumsum(np.square(x, dtype=np.float64))])
    whole_lags = np.round(lags / LAGS_PER_SAMPLE).astype(int)
    norm = np.sqrt(energy[x.size - whole_lags] * (energy[-1] - energy[whole_lags]))
    # If hardly any energy overlaps, as after a single bang, the ratio is mostly rounding error.
    norm = np.maximum(norm, energy[-1] / 4)
    return _highest_peak(correlation[lags] / norm) if energy[-1] > 0 else 0.0


def _band_pass(y: NDArray[np.float32], sr: int) -> tuple[NDArray[np.float32], float]:
    """The band that is compared, without its ends, and its rate, Hz: twice its top frequency."""
    n = y.size
    spectrum = scipy.fft.rfft(y)[: int(FALL_HZ[1] * n / sr) + 1]
    spectrum *= band_gain(spectrum.size, sr / n, RISE_HZ, FALL_HZ)
    m = 2 * (spectrum.size - 1)
    rate = sr * m / n
    edge = int(EDGE_S * rate)
    return scipy.fft.irfft(spectrum, m)[edge:-edge], rate


def _highest_peak(values: NDArray[np.float64]) -> float:
    """Height of the highest local maximum of ``values``, by a parabola through three points.

    Values still falling from lag 0, at the beginning, are no maximum. 0 if there is none.
    """
    before, top, after = values[:-2], values[1:-1], values[2:]
    peaks = np.flatnonzero((top > before) & (top >= after))
    if not peaks.size:
        return 0.0
    a, b, c = (part[peaks] for part in (before, top, after))
    return float((b + (a - c) ** 2 / (8 * (2 * b - a - c))).max())
