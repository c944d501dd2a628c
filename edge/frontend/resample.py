"""Sampling rate conversion by a polyphase windowed-sinc filter, for whole signals and for streams.

The ratio of two integer rates is a fraction ``up / down``. Conceptually, ``up - 1`` zeros are
inserted between input samples, the result is low-pass filtered, and every ``down``-th sample is
kept; each output then uses only one in ``up`` filter taps, its *phase* (Crochiere & Rabiner 1983).
Output ``m`` lies at input time ``m * down / up`` exactly: the filter is centred, so there is no
delay. Rates whose greatest common divisor is small would need a filter of gigabytes; for them the
nearest fraction with at most MAX_PHASES phases is used. It is off by 0.01 % at most, no more than
the crystal of a sound card.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.errors import SignalError
from edge.rates import RATES

ATTENUATION_DB = 96.0  # design value; the tests require 80 dB over the whole stop band
TRANSITION_WIDTH = 0.1  # of the low-pass, as a share of the lower Nyquist frequency
MAX_PHASES = 4410  # exact for all multiples of 5 Hz; taps take 2 MB, or 19 MB from 192 kHz
MIN_BLOCK = 1024  # least outputs computed at a time, to make numpy's overhead small


def resample(y: NDArray[np.float32], sr_in: int, sr_out: int) -> NDArray[np.float32]:
    """Convert ``y`` (n,) float32 from ``sr_in`` to ``sr_out`` Hz: (ceil(n sr_out / sr_in),).

    Where the ratio is approximated (see above), the length differs by up to 0.01 %.

    The response is flat within 0.01 dB up to 0.9 of the lower Nyquist frequency and at least 80 dB
    down from 1.0 of it on. Beyond its ends ``y`` counts as zero. SignalError for rates out of
    range.
    """
    _check_rates(sr_in, sr_out)
    if sr_in == sr_out:
        return y
    resampler = Resampler(sr_in, sr_out)
    return np.concatenate([resampler.push(y), resampler.flush()])


def _check_rates(*rates: int) -> None:
    for sr in rates:
        if not RATES[0] <= sr <= RATES[1]:
            raise SignalError(
                f"sampling rate {sr} Hz is outside {RATES[0]} to {RATES[1]} Hz: "
                "record at a usual rate such as 44100 or 48000"
            )


class InputSpan(NamedTuple):
    """Which samples of a signal to push into a :class:`Resampler`, and where its output starts."""

    start: int  # index of the first input
    stop: int | None  # one past the last input; None: the signal's end
    first_output: int  # its index


def input_span(first: int, last: int | None, sr_in: int, sr_out: int) -> InputSpan:
    """What to push to get outputs ``first`` to ``last`` exactly as from the whole signal.

    Equal to the bit; ``last`` is excluded, None means to the end. More outputs come on both sides.
    """
    if sr_in == sr_out:
        return InputSpan(first, last, first)
    up, down, cycles, half = _step_sizes(sr_in, sr_out)
    # Skip whole steps, but not those just before `first`: the first ones that are pushed lack the
    # inputs before them, so their outputs differ.
    skipped = max(0, first // (cycles * up) - -(-half // (cycles * down)))
    stop = None if last is None else last * down // up + half + 1
    return InputSpan(skipped * cycles * down, stop, skipped * cycles * up)


@lru_cache(maxsize=8)  # asked for every frame of a long recording
def _step_sizes(sr_in: int, sr_out: int) -> tuple[int, int, int, int]:
    """``up``, ``down``, cycles of ``up`` outputs per step, half the filter's length in inputs."""
    ratio = Fraction(sr_in, sr_out).limit_denominator(MAX_PHASES)
    up, down = ratio.denominator, ratio.numerator
    return up, down, -(-MIN_BLOCK // up), int(np.ceil(_half_length(up, down)))


class Resampler:
    """The same conversion for a stream of blocks of any lengths.

    The outputs of all calls of ``push`` and the final ``flush``, concatenated, equal those of
    :func:`resample` for the whole signal to the bit: they are computed in steps whose position and
    size do not depend on how the input was cut.
    """

    def __init__(self, sr_in: int, sr_out: int) -> None:
        """From ``sr_in`` to ``sr_out`` Hz; SignalError if either is outside RATES."""
        _check_rates(sr_in, sr_out)
        self._up, self._down, self._cycles, self._half = _step_sizes(sr_in, sr_out)
        self._bank = _polyphase_bank(self._up, self._down)
        cycles = np.arange(self._cycles) * self._down
        self._starts = np.add.outer(np.arange(self._up) * self._down // self._up, cycles)
        self._pending = np.zeros(self._half, dtype=np.float32)  # silence before the first sample
        self._n_in = 0
        self._n_out = 0

    def flush(self) -> NDArray[np.float32]:
        """The remaining outputs, as if zeros followed the input. No calls may follow."""
        n_left = -(-self._n_in * self._up // self._down) - self._n_out
        n_steps = -(-n_left // (self._cycles * self._up)) + 1
        zeros = np.zeros(n_steps * self._cycles * self._down + 2 * self._half, dtype=np.float32)
        return self.push(zeros)[:n_left]

    def push(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the next input samples (n,) float32 and return the outputs that are complete now."""
        self._n_in += block.size
        self._pending = np.concatenate([self._pending, block])
        step_in, step_out = self._cycles * self._down, self._cycles * self._up
        needed = step_in + 2 * self._half + 1
        n_steps = max(0, (self._pending.size - needed) // step_in + 1)
        out = np.empty(n_steps * step_out, dtype=np.float32)
        with np.errstate(invalid="ignore", over="ignore"):  # gives infinity or NaN
            for i in range(n_steps):
                piece = self._pending[i * step_in : i * step_in + needed]
                out[i * step_out : (i + 1) * step_out] = self._step(piece)
        self._pending = self._pending[n_steps * step_in :]
        self._n_out += out.size
        return out

    def _step(self, piece: NDArray[np.float32]) -> NDArray[np.float32]:
        """``cycles * up`` outputs from the ``cycles * down`` inputs they span, and their context.

        Output ``c * up + p`` weights the inputs around ``c * down + p * down // up`` by the taps in
        row ``p`` of the bank.
        """
        windows = np.lib.stride_tricks.sliding_window_view(piece, self._bank.shape[1])
        out = np.empty((self._up, self._cycles), dtype=np.float32)
        # In parts, as the inputs of all outputs of a large bank would take as much memory again.
        for first in range(0, self._up, MIN_BLOCK):
            part = slice(first, first + MIN_BLOCK)
            inputs = windows[self._starts[part]]  # copies: the sums depend on no alignment
            out[part] = (inputs @ self._bank[part, :, np.newaxis])[..., 0]
        return out.T.reshape(-1)


def _half_length(up: int, down: int) -> float:
    """Half the length of the filter, in inputs."""
    return (ATTENUATION_DB - 7.95) / (2.285 * np.pi * TRANSITION_WIDTH * min(1.0, up / down)) / 2


@lru_cache(maxsize=4)  # recordings of a folder have one rate, or a few
def _polyphase_bank(up: int, down: int) -> NDArray[np.float32]:
    """Filter taps of ``up`` successive outputs: (up, 2 * half + 1), float32; each row sums to 1.

    Output ``p`` has the phase ``q = p * down % up``. Its tap ``half + k`` weights the input ``k``
    samples after its base, which lies ``q / up`` samples before it: the sinc is taken at
    ``q / up - k``. Kaiser window and length by Kaiser's formulas (1974).
    """
    nyquist = min(1.0, up / down)  # lower Nyquist frequency, as a share of the input's
    beta = 0.1102 * (ATTENUATION_DB - 8.7)
    half_length = _half_length(up, down)
    half = int(np.ceil(half_length))
    cutoff = nyquist * (1 - TRANSITION_WIDTH / 2)
    bank = np.empty((up, 2 * half + 1), dtype=np.float32)
    for p in range(up):  # one at a time: with many phases, all at once would take gigabytes
        t = p * down % up / up - np.arange(-half, half + 1)
        bend = np.sqrt(np.clip(1 - (t / half_length) ** 2, 0, None))
        taps = cutoff * np.sinc(cutoff * t) * np.i0(beta * bend) * (np.abs(t) <= half_length)
        bank[p] = taps / taps.sum()
    bank.setflags(write=False)
    return bank
