"""Recordings at other speeds than they were made at: slower, faster, revved up and down."""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from convert.bay import band_limit

Sound = NDArray[np.float64]


def at_speed(y: NDArray[np.float32], n: int, speed: float) -> Sound:
    """The first ``n`` samples of ``y`` played ``speed`` times as fast, by its Fourier series.

    ``y`` must hold ``n * speed`` samples. Exact for what lies below both Nyquist frequencies; what
    the ends of ``y`` have not in common spreads over some milliseconds there.
    """
    spectrum = scipy.fft.rfft(y.astype(np.float64))
    size = max(n, round(y.size / speed))
    kept = np.zeros(size // 2 + 1, dtype=complex)
    m = min(kept.size, spectrum.size)
    kept[:m] = spectrum[:m]
    return np.asarray(scipy.fft.irfft(kept, n=size)[:n] * (size / y.size))


def at_speeds(y: NDArray[np.float32], speed: Sound, sr: int) -> Sound:
    """``y`` played ``speed[t]`` times as fast at each sample ``t``: shape of ``speed``.

    ``y`` must hold ``samples_needed(speed)`` samples. Linear between them, after what would fold
    at the fastest is taken out: within 0.5 dB up to 4 kHz at 22 050 Hz, where the network looks.
    """
    place = np.cumsum(speed) - speed[0]
    source = y[: samples_needed(speed)].astype(np.float64)
    fastest = float(speed.max())
    if fastest > 1:
        source = band_limit(source, sr, 0, 0.48 * sr / fastest)
    return np.interp(place, np.arange(source.size), source)


def samples_needed(speed: Sound) -> int:
    """Samples that :func:`at_speeds` reads at these speeds."""
    return int(speed.sum() - speed[0]) + 2


def revs(rng: np.random.Generator, n: int, sr: int) -> Sound:
    """Relative speed of an engine while the throttle is moved: (n,), mean 1.

    A rise by up to nine tenths or a fall by up to a half, over some tenths of a second, at any time
    in the clip or just outside; three times in ten another one.
    """
    t = np.arange(n) / sr
    seconds = n / sr
    speed = np.ones(n)
    for _ in range(1 + (rng.random() < 0.3)):
        moved = 1 / (1 + np.exp(-(t - rng.uniform(-0.3, seconds + 0.3)) / rng.uniform(0.08, 0.5)))
        speed *= 1 + rng.uniform(-0.45, 0.9) * moved
    return np.asarray(speed / speed.mean())
