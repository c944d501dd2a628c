"""Decide whether a window is fit to be judged: a wrong verdict is worse than none. Pure arithmetic.

The spectrogram is normalised to its own maximum. Silence, a dead microphone, a stuck converter, a
looped buffer, bare hiss or a whine outside the network's band would therefore give a picture of
full contrast, which the network tends to call normal. Such windows are refused here, with a reason.
"""

from __future__ import annotations

import math
from enum import StrEnum

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from edge.gate_config import GateConfig
from edge.hann import hann
from edge.hiss import structure
from edge.repetition import repetition
from edge.window import NO_FLAWS, Flaws


class Fault(StrEnum):
    """Why a window is not judged."""

    TOO_SHORT = "too_short"
    NOT_FINITE = "not_finite"
    FLAT_LINE = "flat_line"
    DC = "dc"
    SILENCE = "silence"
    CLIPPING = "clipping"
    TONE = "tone"
    REPEATS = "repeats"
    HISS = "hiss"
    BAD_ANSWER = "bad_answer"  # of the network; the sound was fit
    WRONG_RATE = "wrong_rate"  # by the clock, not the window: edge.rate_monitor tells the listener
    GAP = "gap"  # too many for any window to form; the listener reports those that were due


# Two samples that differ by no more than this do not move: 1/30 of a 16-bit step, well above the
# rounding error a resampler adds to a constant.
STILL = 1e-6
STRETCH_S = 0.001  # shorter stretches are the steps of a slow converter, not lost sound
# A window is also silent if this share of its parts, of QUIET_S each, is: a loose plug lets sound
# through now and then, and the hiss in between is no flat line. The worst real engine has 16 %,
# before a codec starts, the next one 6 %. The share is just under a quarter, so that half a second
# of silence counts even where its edges fall inside a part.
QUIET_SHARE, QUIET_S = 0.245, 0.002
# What the picture shows, 33 to 4050 Hz, and little more: sound outside counts as silence.
BAND_HZ = (30.0, 4100.0)
# Full scale is 1. Floating-point files may exceed it, but those seen to exceed it by this much were
# damaged, or held unscaled integers.
ABSURD = 10.0
# An open input picks up the mains or the alternator: a few spectral lines, with hiss at least 30 dB
# below them. A hum of 20 harmonics has this share of its power in FFT bins that total 30 Hz.
TONAL = 0.999
TONE_PARTS = 8  # of 0.25 s each; in them, no real engine has TONAL of its power in 360 Hz
# If sound was overdriven before a capacitor or a codec, its tops are no longer flat, but half of
# its samples still lie near the peak. The limit of smeared_tops() is this factor times that of
# flat tops, 30 % by default; the worst real engine has 24 %.
SMEARED = 1.5
FLAT_TOP = 0.01  # depth of a flat top, as a share of the peak-to-peak range
FLAT_RANGE = 0.004  # least peak-to-peak range, 130 16-bit steps: below, flat tops are not resolved


class Gate:
    """Checks windows of audio at ``sr`` Hz."""

    def __init__(self, config: GateConfig | None = None, *, sr: int) -> None:
        self.config = config or GateConfig()
        self._sr = sr
        self._flat_samples = max(1, round(self.config.flat_seconds * sr))

    def check(self, y: NDArray[np.float32], flaws: Flaws = NO_FLAWS) -> Fault | None:
        """The first reason not to judge ``y`` (n,) float32, full scale 1; None if it is fit. n > 0.

        ``flaws`` is what :func:`flaws` measured before resampling, which rounds flat tops and lets
        ringing spread into holes.
        """
        if not np.isfinite(y).all():
            return Fault.NOT_FINITE
        if np.abs(y).max(initial=0) > ABSURD:
            return Fault.CLIPPING
        # Before the check for flat lines: clipped samples do not move either.
        if max(flaws.clipped, flat_tops(y)) > self.config.clipping:
            return Fault.CLIPPING
        if max(flaws.still, still(y, self._sr)) * y.size >= self._flat_samples:
            return Fault.FLAT_LINE
        mean, deviation = float(y.mean(dtype=np.float64)), float(y.std(dtype=np.float64))
        if abs(mean) > self.config.dc_ratio * deviation:
            return Fault.DC
        return self._fault_of_sound(y)

    def _fault_of_sound(self, y: NDArray[np.float32]) -> Fault | None:
        """The same for samples that do move: silence, overdrive, tones, repeats, hiss."""
        power = self.power_in_band(y)
        if self._silent(y, float(power.sum())):
            return Fault.SILENCE
        # If flat tops were rounded further up the chain, too many samples are near full scale. A
        # full-scale sine, the worst legitimate signal, has 13 % of its samples there.
        if float((np.abs(y) >= 0.98).mean()) > 0.7 * self.config.clipping:
            return Fault.CLIPPING
        # A whine that follows the revs is broad over the whole window, but narrow at any moment.
        parts = (self.power_in_band(part) for part in np.array_split(y, TONE_PARTS))
        if self._tone(power, y.size) or all(self._tone(p, y.size // TONE_PARTS) for p in parts):
            return Fault.TONE
        if smeared_tops(y) > SMEARED * self.config.clipping:  # means nothing for a few tones
            return Fault.CLIPPING
        return self._like_no_engine(y)

    def _like_no_engine(self, y: NDArray[np.float32]) -> Fault | None:
        """What repeats itself too exactly for an engine, or has too little structure."""
        if 0 < self.config.repetition < repetition(y, self._sr):
            return Fault.REPEATS
        if structure(y, self._sr) < self.config.hiss:
            return Fault.HISS
        return None

    def _silent(self, y: NDArray[np.float32], in_band: float) -> bool:
        """Whether no sound is in the band, or hardly any at all in too many parts of ``y``."""
        limit = 10 ** (self.config.silence_db / 10)
        n = round(QUIET_S * self._sr)
        parts = y[: y.size // n * n].reshape(-1, n)
        quiet = parts.var(axis=1, dtype=np.float64) < limit
        return in_band < limit or (quiet.size > 0 and quiet.mean() >= QUIET_SHARE)

    def _tone(self, power: NDArray[np.float64], n: int) -> bool:
        """Whether nearly all of ``power``, by FFT bin of ``n`` samples, lies in a few bins."""
        count = int(self.config.tone_hz * n / self._sr)
        if not 0 < count < power.size:
            return False
        strongest = np.partition(power, power.size - count)[-count:]
        return bool(strongest.sum() > TONAL * power.sum())

    def power_in_band(self, y: NDArray[np.float32]) -> NDArray[np.float64]:
        """Mean square of ``y`` (n,), split by FFT bin in BAND_HZ; bin ``k`` is at ``k sr / n`` Hz.

        A Hann window keeps what lies below the band, such as a slow drift, from leaking in.
        """
        window = hann(y.size)
        low, high = (round(f * y.size / self._sr) for f in BAND_HZ)
        shown = scipy.fft.rfft(y * window)[low : high + 1]
        energy = np.square(np.abs(shown), dtype=np.float64)
        return np.asarray(2 * energy / (y.size * np.square(window).sum(dtype=np.float64)))


def flaws(y: NDArray[np.float32], sr: int) -> Flaws:
    """Shares of clipped and of unmoving samples in ``y`` (n,) float32 as recorded, at ``sr`` Hz.

    Full scale is 1. To be measured before resampling, which hides both.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # values not finite are another fault
        return Flaws(flat_tops(y), still(y, sr))


def still(y: NDArray[np.float32], sr: int) -> float:
    """Share of ``y`` (n,), ``sr`` Hz, in stretches of STRETCH_S or longer without movement."""
    if y.size == 0:
        return 0.0
    unmoved = np.abs(np.diff(y)) <= STILL
    return in_long_runs(unmoved, round(STRETCH_S * sr)) / y.size


def flat_tops(y: NDArray[np.float32]) -> float:
    """Share of the samples ``y`` (n,) at, or within FLAT_TOP of, its highest or lowest value.

    13 % for a sine, next to none for noise, the clipped share for an overdriven sound. It does not
    depend on the level, because the overdriven stage may come before the volume control.
    """
    if y.size == 0:
        return 0.0
    low, high = float(y.min()), float(y.max())
    if not FLAT_RANGE <= high - low < np.inf:  # values not finite are another fault
        return 0.0
    edge = FLAT_TOP * (high - low)
    return float(((y >= high - edge) | (y <= low + edge)).mean())


def smeared_tops(y: NDArray[np.float32]) -> float:
    """Share of Gaussian noise to clip for it to have the median-to-peak ratio of ``y`` (n,).

    The ratio is that of absolute deviations from the mean. Clipped at z standard deviations, noise
    loses a share c = erfc(z / sqrt(2)) and has median / peak = 0.6745 / z, so c = erfc(0.477 peak /
    median). The 99.5th percentile serves as the peak, so that slight ringing above it is ignored.
    """
    size = np.abs(y - y.mean(dtype=np.float64))
    median, peak = np.quantile(size, (0.5, 0.995))
    return math.erfc(0.6745 / math.sqrt(2) * float(peak / median)) if median > 0 else 0.0


def in_long_runs(flags: NDArray[np.bool_], least: int) -> int:
    """How many of ``flags`` (n,) lie in unbroken runs of at least ``least`` True values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]])))
    runs = edges[1::2] - edges[::2]
    return int(runs[runs >= least].sum())
