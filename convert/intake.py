"""The sound at the mouth of an engine's intake: strokes of air through runner and plenum."""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray

Sound = NDArray[np.float64]
C = 343.0  # speed of sound, m/s
RING_S = 0.3  # by then resonances above 75 Hz are 60 dB down, those at 24 Hz 20 dB or more


def intake(
    rng: np.random.Generator, n: int, sr: int, *, times: Sound, gains: Sound, half_turn: float
) -> Sound:
    """The sound of intake strokes that begin at ``times`` (samples), each with its gain; (n,).

    A cylinder draws in air for about half a turn (``half_turn`` samples), as fast as its piston
    moves: a flow like half a sine. The sound at the mouth is the derivative of that flow (a
    monopole: pressure is proportional to dQ/dt; Kinsler and others, "Fundamentals of Acoustics",
    ch. 7), with a step as the valve opens and one as it closes. It excites two resonators. The
    plenum with its inlet duct is a Helmholtz resonator, ``c / (2 pi) * sqrt(area / (volume *
    length))``, 24 to 170 Hz for ducts of 20 to 35 mm radius and 0.2 to 0.8 m length on 2 to 8
    litres (Engelman, "Design of a Tuned Intake Manifold", ASME 73-WA/DGP-2, 1973). A runner, closed
    by the valve, is a quarter-wave resonator: ``c / (4 * length)``, 140 to 340 Hz for 0.25 to
    0.6 m, and its odd multiples. Peak 1; silence if no stroke begins within the clip.
    """
    area = np.pi * rng.uniform(0.02, 0.035) ** 2
    plenum = C / (2 * np.pi) * np.sqrt(area / (rng.uniform(2e-3, 8e-3) * rng.uniform(0.2, 0.8)))
    runner = C / (4 * rng.uniform(0.25, 0.6))
    freqs = np.array([plenum, runner, 3 * runner, 5 * runner])
    weights = np.array([1.0, *(rng.uniform(0.3, 1.0) / np.array([1, 3, 5]))])
    q = rng.uniform(3, 10, freqs.size)  # low, as for plastic pipes with a filter at their end
    t = np.arange(int(RING_S * sr)) / sr
    modes = np.sin(2 * np.pi * freqs[:, None] * t) * np.exp(-np.pi * (freqs / q)[:, None] * t)
    strokes = np.zeros(n)
    at = times.astype(int)
    inside = (at >= 0) & (at < n)
    np.add.at(strokes, at[inside], gains[inside])
    width = max(2, round(half_turn))
    change = np.cos(np.pi * (np.arange(width) + 0.5) / width)  # of the flow: its derivative
    size = scipy.fft.next_fast_len(n + width + t.size, real=True)
    spectrum = scipy.fft.rfft(strokes, size) * scipy.fft.rfft(change, size)
    y = scipy.fft.irfft(spectrum * scipy.fft.rfft(weights @ modes, size), size)[:n]
    return np.asarray(y / (np.abs(y).max() + 1e-12))
