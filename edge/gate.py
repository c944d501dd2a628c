"""Is this window fit to be judged? A wrong verdict is worse than none. Pure arithmetic.

The spectrogram is scaled to its own maximum, so the network sees silence, a dead microphone, a
stuck converter, a short buffer played over and over, bare hiss or a whine it has no ears for as a
picture in full contrast and would gladly call it normal. What cannot be trusted is stopped here,
with the reason.
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
    BAD_ANSWER = "bad_answer"  # of the network, not of the sound
    WRONG_RATE = "wrong_rate"  # by the clock; no window shows it, pace tells the listener
    GAP = "gap"  # so often that there is no window; the listener counts those it should have had


# What counts as no movement between two samples: 1/30 of a step of 16 bits, well above the
# rounding a resampler adds to a constant.
STILL = 1e-6
STRETCH_S = 0.001  # shorter ones are a slow converter's steps, not lost sound
# A window is silent, too, where this share of its parts is: a loose plug lets through a bit now and
# then, with hiss in between that is no flat line. The worst real engine has 16 %, before a codec
# starts, the next one 6 %. Of half a second, a quarter, the edges cut one part.
QUIET_SHARE, QUIET_S = 0.245, 0.002
# What the picture shows, 33 to 4050 Hz, and little more: louder things elsewhere are not heard.
BAND_HZ = (30.0, 4100.0)
# Full scale is 1. Files of floating point may go over it, but so far only damaged ones do, or those
# that count in whole numbers.
ABSURD = 10.0
# An open input picks up the mains or the alternator: a few lines, with hiss 30 dB and more below
# them. The 20 harmonics of a hum hold so much of its power in 30 Hz.
TONAL = 0.999
TONE_PARTS = 8  # in a quarter of a second no real engine has so much of its power in 360 Hz
# Overdriven before a capacitor or a codec, a sound has no flat tops any more, but still half of it
# lies near its peak. The worst real engine has it as a noise of which 24 % is cut off, where it
# should be 1.5 times the limit of flat tops.
SMEARED = 1.5
FLAT_TOP = 0.01  # how far below the highest sample a flat top reaches, of the whole range
FLAT_RANGE = 0.004  # smaller sounds, 130 steps of 16 bits, are too few to tell flat tops in


class Gate:
    """Checks windows of audio at ``sr`` Hz."""

    def __init__(self, config: GateConfig | None = None, *, sr: int) -> None:
        self.config = config or GateConfig()
        self._sr = sr
        self._flat_samples = max(1, round(self.config.flat_seconds * sr))

    def check(self, y: NDArray[np.float32], flaws: Flaws = NO_FLAWS) -> Fault | None:
        """The first reason not to judge ``y`` (n,) float32, full scale 1; None if it is fit. n > 0.

        ``flaws`` are those :func:`flaws` found before it was resampled, which rounds flat tops and
        rings into holes.
        """
        if not np.isfinite(y).all():
            return Fault.NOT_FINITE
        if np.abs(y).max(initial=0) > ABSURD:
            return Fault.CLIPPING
        # Before what follows: what is cut off does not move either.
        if max(flaws.clipped, flat_tops(y)) > self.config.clipping:
            return Fault.CLIPPING
        if max(flaws.still, still(y, self._sr)) * y.size >= self._flat_samples:
            return Fault.FLAT_LINE
        mean, deviation = float(y.mean(dtype=np.float64)), float(y.std(dtype=np.float64))
        if abs(mean) > self.config.dc_ratio * deviation:
            return Fault.DC
        return self._fault_of_sound(y)

    def _fault_of_sound(self, y: NDArray[np.float32]) -> Fault | None:
        """What may be wrong with samples that do move."""
        power = self.power_in_band(y)
        if self._silent(y, float(power.sum())):
            return Fault.SILENCE
        # Where flat tops were rounded before we got it, too much is at full scale. A full-scale
        # sine, the worst honest signal, is there for 13 % of the time.
        if float((np.abs(y) >= 0.98).mean()) > 0.7 * self.config.clipping:
            return Fault.CLIPPING
        # A whine that follows the revs is wide over the whole window, but narrow at any time.
        parts = (self.power_in_band(part) for part in np.array_split(y, TONE_PARTS))
        if self._tone(power, y.size) or all(self._tone(p, y.size // TONE_PARTS) for p in parts):
            return Fault.TONE
        if smeared_tops(y) > SMEARED * self.config.clipping:  # of a few tones it says nothing
            return Fault.CLIPPING
        return self._like_no_engine(y)

    def _like_no_engine(self, y: NDArray[np.float32]) -> Fault | None:
        """Too much like itself a while later, or too little like anything."""
        if 0 < self.config.repetition < repetition(y, self._sr):
            return Fault.REPEATS
        if structure(y, self._sr) < self.config.hiss:
            return Fault.HISS
        return None

    def _silent(self, y: NDArray[np.float32], in_band: float) -> bool:
        """Nothing in the band, or hardly anything at all in too many parts of it."""
        limit = 10 ** (self.config.silence_db / 10)
        n = round(QUIET_S * self._sr)
        parts = y[: y.size // n * n].reshape(-1, n)
        quiet = parts.var(axis=1, dtype=np.float64) < limit
        return in_band < limit or (quiet.size > 0 and quiet.mean() >= QUIET_SHARE)

    def _tone(self, power: NDArray[np.float64], n: int) -> bool:
        """As good as all of ``power``, of the lines of ``n`` samples, lies in a few of them."""
        count = int(self.config.tone_hz * n / self._sr)
        if not 0 < count < power.size:
            return False
        strongest = np.partition(power, power.size - count)[-count:]
        return bool(strongest.sum() > TONAL * power.sum())

    def power_in_band(self, y: NDArray[np.float32]) -> NDArray[np.float64]:
        """What each line ``k sr / n`` Hz in BAND_HZ adds to the mean square of ``y`` (n,).

        By a Hann window, which keeps what lies below the band, a slow drift too, from leaking in.
        """
        window = hann(y.size)
        low, high = (round(f * y.size / self._sr) for f in BAND_HZ)
        shown = scipy.fft.rfft(y * window)[low : high + 1]
        energy = np.square(np.abs(shown), dtype=np.float64)
        return np.asarray(2 * energy / (y.size * np.square(window).sum(dtype=np.float64)))


def flaws(y: NDArray[np.float32], sr: int) -> Flaws:
    """Shares of clipped and of unmoved samples in ``y`` (n,) float32 as recorded, at ``sr`` Hz.

    Full scale is 1. Measured before a resampler hides both.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is another fault
        return Flaws(flat_tops(y), still(y, sr))


def still(y: NDArray[np.float32], sr: int) -> float:
    """Share of ``y`` (n,), ``sr`` Hz, in stretches of STRETCH_S or more without any movement."""
    if y.size == 0:
        return 0.0
    unmoved = np.abs(np.diff(y)) <= STILL
    return in_long_runs(unmoved, round(STRETCH_S * sr)) / y.size


def flat_tops(y: NDArray[np.float32]) -> float:
    """Share of the samples ``y`` (n,) that lie at its highest or lowest value, or as good as.

    Of a sine 13 %, of noise next to none, of an overdriven sound what was cut off. At any level: an
    overdriven stage may sit before the volume control.
    """
    if y.size == 0:
        return 0.0
    low, high = float(y.min()), float(y.max())
    if not FLAT_RANGE <= high - low < np.inf:  # what is not finite is another fault
        return 0.0
    edge = FLAT_TOP * (high - low)
    return float(((y >= high - edge) | (y <= low + edge)).mean())


def smeared_tops(y: NDArray[np.float32]) -> float:
    """Share of a noise that must be cut off for its median to come as near its peak as that of y.

    ``y`` (n,). With z such that a share c of a normal distribution lies beyond z deviations, and
    0.6745 the median of its absolute values, median / peak = 0.6745 / z, so c = erfc(0.477 peak /
    median). The peak is the 99.5th percentile: what rings a little above the rest is none.
    """
    size = np.abs(y - y.mean(dtype=np.float64))
    median, peak = np.quantile(size, (0.5, 0.995))
    return math.erfc(0.6745 / math.sqrt(2) * float(peak / median)) if median > 0 else 0.0


def in_long_runs(flags: NDArray[np.bool_], least: int) -> int:
    """How many of ``flags`` (n,) lie in uninterrupted stretches of ``least`` True or more."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]])))
    runs = edges[1::2] - edges[::2]
    return int(runs[runs >= least].sum())
