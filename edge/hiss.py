"""Tell bare noise from other sound. A dead capsule hisses, and automatic gain control amplifies it.

In Gaussian noise of any colour the power in each FFT bin is exponentially distributed, over time
and over frequency alike. An engine departs from this on at least one axis: its strokes come in
bursts, and its firing makes spectral lines. Both are measured by known methods. For bursts, the
spectral flatness of Gray and Markel (1974) is taken along time; it is used like spectral kurtosis
(Antoni 2006) but depends less on a single loud moment. For lines, the highest power in a narrow
band is compared with the noise floor, much as in Fisher's test of a periodogram (1929).

Mains lines, such as an open input picks up, are ignored. So are changes of the overall level that
are slower than strokes, or that last: pumping gain control, gusts, a plug that is out for a moment.

If an engine fires at exactly a multiple of 50 or 60 Hz, its firing lines are ignored too, and only
its strokes identify it.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from edge.hann import hann

# Limits of noise. Of 2700 pieces of noise, 2 s long, white or falling by up to 6 dB an octave, one
# exceeds one of these, none by 10 %. Each of 1393 windows of real engines exceeds one by 50 %.
BURSTINESS_LIMIT, LINE_LIMIT, MOVING_LINE_LIMIT = 0.037, 12.0, 15.0
FRAME_S = 0.0232  # separates the strokes of an engine; bands of 43 Hz
LEVEL_WINDOW_S = 0.15  # a change that lasts half of this or longer is one of level, no stroke
DROPOUT_RATIO = 1e-3  # of the median level (-30 dB); frames below it are left out as drop-outs
BURST_BAND_HZ = (40.0, 4100.0)
LINE_BAND_HZ = (16.0, 2000.0)
LINE_WIDTH_HZ = 4.5  # width of a line: no engine turns perfectly evenly
FLOOR_BLOCK_HZ = 40.0  # the noise floor is the median over blocks of this width
PARTS = 4  # of 0.5 s each, in which the lines of an engine being revved hardly move
MAINS_HZ, MAINS_HALF_WIDTH_HZ = (50.0, 60.0), 1.25  # all harmonics; main lobe and a bit


def structure(y: NDArray[np.float32], sr: int) -> float:
    """How far ``y`` (n,), ``sr`` Hz, is from noise: hardly any noise of 2 s exceeds 1.

    The largest of three ratios: the burstiness, the strongest line, and the mean of the strongest
    lines of PARTS equal parts, each divided by its limit for noise (BURSTINESS_LIMIT, LINE_LIMIT,
    MOVING_LINE_LIMIT). Infinite for less than half a second, which is too short to tell.
    """
    if y.size < sr / 2:
        return np.inf
    moving = [strongest_line(part, sr) for part in np.array_split(y, PARTS)]
    return max(
        burstiness(y, sr) / BURSTINESS_LIMIT,
        strongest_line(y, sr) / LINE_LIMIT,
        float(np.mean(moving)) / MOVING_LINE_LIMIT,
    )


def burstiness(y: NDArray[np.float32], sr: int) -> float:
    """How much more than in noise the power of 43 Hz bands varies within LEVEL_WINDOW_S.

    ``log(mean) - mean(log)`` of a band's power over time is Euler's constant for noise, more for
    bursts, and less for steady sound (a hum), which counts as noise. The result is the mean excess
    over the bands in BURST_BAND_HZ; changes of the overall level are divided out beforehand.
    """
    n = round(FRAME_S * sr)
    frames = np.lib.stride_tricks.sliding_window_view(y, n)[:: n // 2] * hann(n)
    low, high = (round(f * n / sr) for f in BURST_BAND_HZ)
    power = np.square(np.abs(scipy.fft.rfft(frames, axis=1)[:, low:high]), dtype=np.float64)
    power += np.finfo(float).tiny  # for the logarithm of an empty band
    relative = (power / power.mean(axis=0)).mean(axis=1)
    level = _running_median(relative, LEVEL_WINDOW_S * sr / (n // 2))
    present = level > DROPOUT_RATIO * np.median(level)
    power = power[present] / level[present, np.newaxis]
    excess = np.log(power.mean(axis=0)) - np.log(power).mean(axis=0) - np.euler_gamma
    return float(np.maximum(excess, 0).mean())


def strongest_line(y: NDArray[np.float32], sr: int) -> float:
    """Highest mean power in a band of LINE_WIDTH_HZ, relative to the noise floor; no mains lines."""
    power = np.square(np.abs(scipy.fft.rfft(y * hann(y.size))), dtype=np.float64)
    bin_hz = sr / y.size
    low = round((LINE_BAND_HZ[0] - LINE_WIDTH_HZ) / bin_hz)
    high = round((LINE_BAND_HZ[1] + LINE_WIDTH_HZ) / bin_hz)
    power = power[low:high] + np.finfo(float).tiny
    power /= _noise_floor(power, max(1, round(FLOOR_BLOCK_HZ / bin_hz)))
    f = (low + np.arange(power.size)) * bin_hz
    for mains in MAINS_HZ:
        power[np.abs(f - mains * np.round(f / mains)) < max(MAINS_HALF_WIDTH_HZ, 2 * bin_hz)] = 1
    width = max(1, round(LINE_WIDTH_HZ / bin_hz))
    return float(np.convolve(power, np.full(width, 1 / width), "valid").max())


def _running_median(values: NDArray[np.float64], n: float) -> NDArray[np.float64]:
    """Median over about ``n`` neighbours of ``values`` (m,): (m,). Unlike a mean it keeps steps."""
    half = max(1, int(n / 2))
    padded = np.pad(values, half, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=1)


def _noise_floor(power: NDArray[np.float64], block: int) -> NDArray[np.float64]:
    """Noise floor (n,): the mean noise power, interpolated from the medians of blocks of ``power``.

    In noise the power of a bin is exponentially distributed: its mean is its median / log 2.
    """
    count = max(1, power.size // block)
    parts = power[: count * block].reshape(count, -1)
    middles = (np.arange(count) + 0.5) * block
    means = np.log(np.median(parts, axis=1) / np.log(2))
    return np.asarray(np.exp(np.interp(np.arange(power.size), middles, means)))
