"""Is this window fit to be judged? A wrong verdict is worse than none. Pure arithmetic.

The spectrogram is scaled to its own maximum, so the network sees silence, a dead microphone, a
stuck converter or a whine it has no ears for as a picture in full contrast and would gladly call
it normal. What cannot be trusted is stopped here, with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np
import scipy.fft
from numpy.typing import NDArray


class Fault(StrEnum):
    """Why a window is not judged."""

    TOO_SHORT = "too_short"
    NOT_FINITE = "not_finite"
    FLAT_LINE = "flat_line"
    DC = "dc"
    SILENCE = "silence"
    CLIPPING = "clipping"


@dataclass(frozen=True)
class GateConfig:
    """Limits, set from some 2300 windows of real recordings; no engine among them is refused.

    The quietest of those engines has -42 dB rms in BAND_HZ, the worst clipped one 4 % of its
    samples at full scale, and the longest gap of digital silence (before a codec starts) is 0.32 s.
    """

    silence_db: float = -60.0  # rms in BAND_HZ, dB re full scale; below: engine off
    flat_seconds: float = 0.5  # longest stretch without any movement; from there: dropped out
    clipping: float = 0.2  # share of samples at the extremes; above: overdriven
    dc_ratio: float = 4.0  # mean over deviation; above: a converter's offset, not a sound


# What counts as no movement between two samples: 1/30 of a step of 16 bits, well above the
# rounding a resampler adds to a constant.
STILL = 1e-6
# What the picture shows, 33 to 4050 Hz, and little more: louder things elsewhere are not heard.
BAND_HZ = (30.0, 4100.0)
# Full scale is 1. Files of floating point may go over it, but so far only damaged ones do, or those
# that count in whole numbers.
ABSURD = 10.0


class Gate:
    """Checks windows of audio at ``sr`` Hz."""

    def __init__(self, config: GateConfig | None = None, *, sr: int = 22_050) -> None:
        self.config = config or GateConfig()
        self._sr = sr
        self._flat_samples = max(1, round(self.config.flat_seconds * sr))

    def check(self, y: NDArray[np.float32]) -> Fault | None:
        """The first reason not to judge ``y`` (n,) float32, full scale 1; None if it is fit."""
        if not np.isfinite(y).all():
            return Fault.NOT_FINITE
        if np.abs(y).max(initial=0) > ABSURD:
            return Fault.CLIPPING
        if longest_run(np.abs(np.diff(y)) <= STILL) >= self._flat_samples:
            return Fault.FLAT_LINE
        mean, deviation = float(y.mean(dtype=np.float64)), float(y.std(dtype=np.float64))
        if abs(mean) > self.config.dc_ratio * deviation:
            return Fault.DC
        if 10 * np.log10(max(self.power_in_band(y), 1e-24)) < self.config.silence_db:
            return Fault.SILENCE
        return Fault.CLIPPING if self._clipped(np.abs(y)) else None

    def power_in_band(self, y: NDArray[np.float32]) -> float:
        """Mean square of ``y`` (n,) between the ends of BAND_HZ, by its Hann-windowed spectrum.

        The window keeps what lies below the band, a slow drift too, from leaking into it.
        """
        window = _hann(y.size)
        low, high = (round(f * y.size / self._sr) for f in BAND_HZ)
        shown = scipy.fft.rfft(y * window)[low : high + 1]
        energy = np.square(np.abs(shown)).sum(dtype=np.float64)
        return float(2 * energy / (y.size * np.square(window).sum(dtype=np.float64)))

    def _clipped(self, size: NDArray[np.float32]) -> bool:
        """Flat tops, or, where a resampler has rounded them off again, too much at full scale.

        A full-scale sine, the worst honest signal, is there for 13 % of the time.
        """
        peak = float(size.max())
        # Half of full scale: an overdriven stage may sit before the volume control.
        flat_tops = peak > 0.5 and float((size >= 0.985 * peak).mean()) > self.config.clipping
        return flat_tops or float((size >= 0.98).mean()) > 0.7 * self.config.clipping


@lru_cache(maxsize=1)
def _hann(n: int) -> NDArray[np.float32]:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)).astype(np.float32)


def longest_run(flags: NDArray[np.bool_]) -> int:
    """Length of the longest uninterrupted stretch of True in ``flags`` (n,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))
