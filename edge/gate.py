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

from edge.band import band_gain
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
    GAP = "gap"  # so many that no window forms; the listener reports each that was due


SOUNDLESS = (Fault.SILENCE, Fault.TONE, Fault.HISS)  # all that a dead input delivers

# Two samples that differ by no more than this do not move: 1/30 of a 16-bit step, well above the
# rounding error a resampler adds to a constant.
STUCK_DELTA = 1e-6
MIN_STUCK_S = 0.001  # shorter stretches are the steps of a slow converter, not lost sound
# A window is also silent if this share of its parts, of QUIET_PART_S each, is: a loose plug lets
# sound through now and then, and the hiss in between is no flat line. The worst real engine has
# 16 %, before a codec starts, the next one 5 %. The share is just under a quarter, so that half a
# second of silence counts even where its edges fall inside a part.
QUIET_SHARE, QUIET_PART_S = 0.245, 0.001
QUIET_SPREAD = 2.0  # a part of even sound may be this much (3 dB) quieter than the whole
# A hole shorter than a wave of rumble is not empty once what lies below the band is taken out. So a
# part is quiet, too, if within it the sound hardly moves, neither in itself nor beside the loudest
# tenth of parts. A quiet engine that only rumbles moves evenly little.
QUIET_RATIO = 1e-3  # of that tenth's variance; 30 dB
# Between the strokes of a loud knock even an engine is as quiet as that, but a stroke dies away: at
# the beginning of a hole the movement falls by 2 to 9 dB within some 4 ms, by 13 dB in one window
# of 100. Where a loose plug lets go it falls by 30 dB and more, whatever is left in the hole.
HOLE_FALL_DB = 15.0
HOLE_SHARE = 1 / 3  # of the quiet parts, in holes that begin so: an engine may be quiet, too
HOLE_PARTS = 4  # the shortest hole, and what is compared before it
LONG_HOLE_S = 0.5  # between no two strokes, so silence even where it began slowly
# What the picture shows, 33 to 4050 Hz, and little more: sound outside counts as silence.
BAND_HZ = (30.0, 4100.0)
BAND_RISE_HZ, BAND_FALL_HZ = (15.0, 30.0), (4100.0, 6100.0)  # its edges, gentle lest holes ring
# Full scale is 1. Floating-point files may exceed it, but those seen to exceed it by this much were
# damaged, or held unscaled integers.
MAX_AMPLITUDE = 10.0
# What a codec's ringing makes of sound that was cut off at full scale: up to 1.82.
MAX_RINGING = 2.0
# An open input picks up the mains or the alternator: a few spectral lines, with hiss at least 30 dB
# below them. A hum of 20 harmonics has this share of its power in FFT bins that total 30 Hz.
TONAL_SHARE = 0.999
TONE_PARTS = 8  # of 0.25 s each; in them, no real engine has TONAL_SHARE of its power in 360 Hz
# If sound was overdriven before a capacitor or a codec, its tops are no longer flat, but half of
# its samples still lie near the peak. The limit of estimated_clipped_share() is this factor times
# that of flat tops, 30 % by default; the worst real engine has 24 %.
ESTIMATE_FACTOR = 1.5
FLAT_TOP_DEPTH = 0.01  # depth of a flat top, as a share of the peak-to-peak range
# 130 16-bit steps; in a smaller range flat tops are not resolved. Of 8 bits this is half a step:
# sound as quiet as that is all flat, and is refused for one reason or another.
MIN_PEAK_TO_PEAK = 0.004


class Gate:
    """Checks windows of audio at ``sr`` Hz."""

    def __init__(self, config: GateConfig | None = None, *, sr: int) -> None:
        self.config = config or GateConfig()
        self._sr = sr
        self._flat_samples = max(1, round(self.config.flat_seconds * sr))

    def check(self, y: NDArray[np.float32], flaws: Flaws = NO_FLAWS) -> Fault | None:
        """The first reason not to judge ``y`` (n,) float32, full scale 1; None if it is fit. n > 0.

        ``flaws`` is what :func:`measure_flaws` found before resampling, which rounds flat tops and
        lets ringing spread into holes.
        """
        if not np.isfinite(y).all():
            return Fault.NOT_FINITE
        if np.abs(y).max(initial=0) > MAX_AMPLITUDE:
            return Fault.CLIPPING
        # Before the check for flat lines: clipped samples do not move either.
        if max(flaws.clipped, flat_top_share(y)) > self.config.clipping:
            return Fault.CLIPPING
        if max(flaws.stuck, stuck_share(y, self._sr)) * y.size >= self._flat_samples:
            return Fault.FLAT_LINE
        mean, deviation = float(y.mean(dtype=np.float64)), float(y.std(dtype=np.float64))
        if abs(mean) <= self.config.dc_ratio * deviation:
            return self._check_sound(y)
        # The picture does not show an offset: it only matters if there is no sound besides.
        fault = self._check_sound(y - np.float32(mean))
        return Fault.DC if fault in SOUNDLESS else fault

    def _check_sound(self, y: NDArray[np.float32]) -> Fault | None:
        """The same for samples that do move: silence, overdrive, tones, repeats, hiss."""
        power = self.power_in_band(y)
        if self._is_silent(y, float(power.sum())):
            return Fault.SILENCE
        # If flat tops were rounded further up the chain, too many samples are near full scale. A
        # full-scale sine, the worst legitimate signal, has 13 % of its samples there. Not so in
        # floating-point sound that goes far beyond full scale: nothing was cut off there.
        level = np.abs(y)
        at_top = float((level >= 0.98).mean()) > 0.7 * self.config.clipping
        if at_top and float(np.quantile(level, 0.995)) < MAX_RINGING:
            return Fault.CLIPPING
        # A whine that follows the revs is broad over the whole window, but narrow at any moment.
        parts = (self.power_in_band(part) for part in np.array_split(y, TONE_PARTS))
        n = y.size // TONE_PARTS
        if self._is_tonal(power, y.size) or all(self._is_tonal(part, n) for part in parts):
            return Fault.TONE
        return self._check_structure(y)

    def _check_structure(self, y: NDArray[np.float32]) -> Fault | None:
        """What repeats itself too exactly for an engine, was overdriven, or lacks structure."""
        if 0 < self.config.repetition < repetition(y, self._sr):
            return Fault.REPEATS
        # Only here, because the estimate means nothing for a few tones.
        if estimated_clipped_share(y) > ESTIMATE_FACTOR * self.config.clipping:
            return Fault.CLIPPING
        if structure(y, self._sr) < self.config.hiss:
            return Fault.HISS
        return None

    def _is_silent(self, y: NDArray[np.float32], in_band: float) -> bool:
        """Whether no sound is in the band, or hardly any in too many parts of ``y``."""
        n = round(QUIET_PART_S * self._sr)
        limit = 10 ** (self.config.silence_db / 10)
        if in_band < limit or y.size < n:
            return in_band < limit
        limit /= QUIET_SPREAD
        spectrum = scipy.fft.rfft(y)
        spectrum *= band_gain(spectrum.size, self._sr / y.size, BAND_RISE_HZ, BAND_FALL_HZ)
        parts = scipy.fft.irfft(spectrum, y.size)[: y.size // n * n].reshape(-1, n)
        power, movement = np.square(parts).mean(axis=1), parts.var(axis=1)
        still = movement < min(limit, QUIET_RATIO * float(np.quantile(movement, 0.9)))
        quiet = (power < limit) | still
        return float(quiet.mean()) >= QUIET_SHARE and has_abrupt_holes(quiet, movement)

    def _is_tonal(self, power: NDArray[np.float64], n: int) -> bool:
        """Whether nearly all of ``power``, by FFT bin of ``n`` samples, lies in a few bins."""
        count = int(self.config.tone_hz * n / self._sr)
        if not 0 < count < power.size:
            return False
        strongest = np.partition(power, power.size - count)[-count:]
        return bool(strongest.sum() > TONAL_SHARE * power.sum())

    def power_in_band(self, y: NDArray[np.float32]) -> NDArray[np.float64]:
        """Mean square of ``y`` (n,), split by FFT bin in BAND_HZ; bin ``k`` is at ``k sr / n`` Hz.

        A Hann window keeps what lies below the band, such as a slow drift, from leaking in.
        """
        window = hann(y.size)
        low, high = (round(f * y.size / self._sr) for f in BAND_HZ)
        spectrum = scipy.fft.rfft(y * window)[low : high + 1]
        energy = np.square(np.abs(spectrum), dtype=np.float64)
        return np.asarray(2 * energy / (y.size * np.square(window).sum(dtype=np.float64)))


def measure_flaws(y: NDArray[np.float32], sr: int) -> Flaws:
    """Shares of clipped and of unmoving samples in ``y`` (n,) float32 as recorded, at ``sr`` Hz.

    Full scale is 1. To be measured before resampling, which hides both.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # values not finite are another fault
        return Flaws(flat_top_share(y), stuck_share(y, sr))


def has_abrupt_holes(quiet: NDArray[np.bool_], movement: NDArray[np.float32]) -> bool:
    """Whether the ``quiet`` parts (n,) lie in holes that begin abruptly, or in a long one.

    ``movement`` (n,) is the variance within each part. True if no hole is long enough to tell.
    """
    most = np.convolve(quiet, np.ones(5), "same") >= 3  # of five neighbours: single parts stray
    edges = np.flatnonzero(np.diff(np.concatenate([[False], most, [False]])))
    begins, lengths = edges[::2], edges[1::2] - edges[::2]
    if lengths.max(initial=0) * QUIET_PART_S >= LONG_HOLE_S:
        return True
    holes = (lengths >= HOLE_PARTS) & (begins > HOLE_PARTS)
    begins, lengths = begins[holes], lengths[holes]
    before = np.array([movement[i - HOLE_PARTS : i].mean() for i in begins])
    after = np.array([np.median(movement[i + 1 : i + HOLE_PARTS]) for i in begins])
    abrupt = before > 10 ** (HOLE_FALL_DB / 10) * after
    return bool(lengths[abrupt].sum() >= HOLE_SHARE * lengths.sum())


def stuck_share(y: NDArray[np.float32], sr: int) -> float:
    """Share of ``y`` (n,), ``sr`` Hz, in stretches of MIN_STUCK_S or longer without movement."""
    if y.size == 0:
        return 0.0
    stuck = np.abs(np.diff(y)) <= STUCK_DELTA  # n equal samples have n - 1 differences
    return count_in_runs(stuck, max(1, round(MIN_STUCK_S * sr) - 1)) / y.size


def flat_top_share(y: NDArray[np.float32]) -> float:
    """Share of ``y`` (n,) at, or within FLAT_TOP_DEPTH of, its highest or lowest value.

    13 % for a sine, next to none for noise, the clipped share for an overdriven sound. It does not
    depend on the level, because the overdriven stage may come before the volume control.
    """
    if y.size == 0:
        return 0.0
    low, high = float(y.min()), float(y.max())
    if not MIN_PEAK_TO_PEAK <= high - low < np.inf:  # values not finite are another fault
        return 0.0
    depth = FLAT_TOP_DEPTH * (high - low)
    return float(((y >= high - depth) | (y <= low + depth)).mean())


def estimated_clipped_share(y: NDArray[np.float32]) -> float:
    """Share of Gaussian noise to clip for it to have the median-to-peak ratio of ``y`` (n,).

    The ratio is that of absolute deviations from the mean. Clipped at z standard deviations, noise
    loses a share c = erfc(z / sqrt(2)) and has median / peak = 0.6745 / z, so c = erfc(0.477 peak /
    median). The 99.5th percentile serves as the peak, so that slight ringing above it is ignored.
    """
    deviations = np.abs(y - y.mean(dtype=np.float64))
    median, peak = np.quantile(deviations, (0.5, 0.995))
    return math.erfc(0.6745 / math.sqrt(2) * float(peak / median)) if median > 0 else 0.0


def count_in_runs(flags: NDArray[np.bool_], min_length: int) -> int:
    """How many of ``flags`` (n,) lie in unbroken runs of at least ``min_length`` True values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]])))
    runs = edges[1::2] - edges[::2]
    return int(runs[runs >= min_length].sum())
