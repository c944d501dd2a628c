"""Is there anything in a sound but noise? A dead capsule hisses, and automatic gain turns it up.

Gaussian noise of whatever colour has a spectrum whose every line is distributed exponentially, over
time and over frequency alike. What an engine adds shows on one of these axes: strokes come and
go, firing makes lines. Both are known measures: the flatness of Gray and Markel (1974) along time,
as spectral kurtosis is used (Antoni 2006) but less easily upset by one loud moment, and Fisher's
test for a line in a periodogram (1929). Lines of the mains, such as an open input picks up, do not
count, nor do changes of the level of the whole that are slower than strokes, or last: gain control
that pumps, gusts, a plug that is out for a moment.

An engine that fires exactly at a harmonic of both 50 and 60 Hz is known by its strokes alone.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from edge.hann import hann

# Of 2700 pieces of noise, two seconds long, white or falling by up to 6 dB an octave, one exceeds
# one of these, none by a tenth. Each of 1393 windows of real engines does by half.
BURSTS, LINE, MOVING_LINE = 0.037, 12.0, 15.0
FRAME_S = 0.0232  # bands of 43 Hz: an engine's single strokes are apart
LEVEL_S = 0.15  # what lasts for half of that or longer is the level of the whole, and no stroke
GONE = 1e-3  # of the usual level, 30 dB below it: a moment without sound says nothing of the rest
BURSTS_HZ = (40.0, 4100.0)
LINES_HZ = (16.0, 2000.0)
LINE_HZ = 4.5  # a line is this wide, as no engine turns evenly
BLOCK_HZ = 40.0  # lines rise above the median of so much
PARTS = 4  # in half a second the lines of an engine that is revved hardly move
MAINS_HZ, MAINS_WIDTH_HZ = (50.0, 60.0), 1.25  # all harmonics; the main lobe and a little more


def structure(y: NDArray[np.float32], sr: int) -> float:
    """How far ``y`` (n,), ``sr`` Hz, is from noise: 1 is what hardly any noise of 2 s exceeds.

    The largest of its burstiness, its strongest line, and the mean of those in its PARTS, each over
    what noise has. Infinite for less than half a second, which is too short to tell.
    """
    if y.size < sr / 2:
        return np.inf
    moving = [strongest_line(part, sr) for part in np.array_split(y, PARTS)]
    return max(
        bursts(y, sr) / BURSTS,
        strongest_line(y, sr) / LINE,
        float(np.mean(moving)) / MOVING_LINE,
    )


def bursts(y: NDArray[np.float32], sr: int) -> float:
    """How much the power in bands of 43 Hz varies beyond what noise does, in less than LEVEL_S.

    ``log(mean) - mean(log)`` of a band's power is Euler's constant for noise, more where it comes
    in bursts, less where it is steady (a hum), which does not count. The mean over BURSTS_HZ.
    """
    n = round(FRAME_S * sr)
    frames = np.lib.stride_tricks.sliding_window_view(y, n)[:: n // 2] * hann(n)
    low, high = (round(f * n / sr) for f in BURSTS_HZ)
    power = np.square(np.abs(scipy.fft.rfft(frames, axis=1)[:, low:high]), dtype=np.float64)
    power += np.finfo(float).tiny  # the logarithm of a band without anything
    level = _running_median((power / power.mean(axis=0)).mean(axis=1), LEVEL_S * sr / (n // 2))
    there = level > GONE * np.median(level)
    power = power[there] / level[there, np.newaxis]
    excess = np.log(power.mean(axis=0)) - np.log(power).mean(axis=0) - np.euler_gamma
    return float(np.maximum(excess, 0).mean())


def strongest_line(y: NDArray[np.float32], sr: int) -> float:
    """The most power in LINE_HZ, over what noise of the same colour has there; mains left out."""
    power = np.square(np.abs(scipy.fft.rfft(y * hann(y.size))), dtype=np.float64)
    step = sr / y.size
    low, high = (round(f / step) for f in (LINES_HZ[0] - LINE_HZ, LINES_HZ[1] + LINE_HZ))
    power = power[low:high] + np.finfo(float).tiny
    power /= _colour(power, max(1, round(BLOCK_HZ / step)))
    f = (low + np.arange(power.size)) * step
    for mains in MAINS_HZ:
        power[np.abs(f - mains * np.round(f / mains)) < max(MAINS_WIDTH_HZ, 2 * step)] = 1
    width = max(1, round(LINE_HZ / step))
    return float(np.convolve(power, np.full(width, 1 / width), "valid").max())


def _running_median(values: NDArray[np.float64], n: float) -> NDArray[np.float64]:
    """Of ``values`` (m,) over some ``n`` of them: (m,). Unlike a mean it keeps steps whole."""
    half = max(1, int(n / 2))
    padded = np.pad(values, half, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=1)


def _colour(power: NDArray[np.float64], block: int) -> NDArray[np.float64]:
    """The mean of noise with the medians of ``power`` (n,) in blocks, and between them."""
    count = max(1, power.size // block)
    parts = power[: count * block].reshape(count, -1)
    middles = (np.arange(count) + 0.5) * block
    means = np.log(np.median(parts, axis=1) / np.log(2))  # of an exponential distribution
    return np.asarray(np.exp(np.interp(np.arange(power.size), middles, means)))
