"""Cut a stream of blocks into overlapping windows. Pure: no clock, no input or output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Flaws(NamedTuple):
    """Shares of samples with flaws that resampling would hide; see edge.gate.measure_flaws."""

    clipped: float = 0.0  # in flat tops
    stuck: float = 0.0  # in stretches without movement


NO_FLAWS = Flaws()
# A gap of at most this and at most one hop delays the next window, but none counts as missed.
MAX_GAP_S = 0.5


@dataclass(frozen=True)
class Block:
    """Some samples as they arrive, at the model's rate."""

    y: NDArray[np.float32]  # (n,), full scale is [-1, 1)
    start_s: float  # time of the first sample, s, on the source's own clock
    gap: bool = False  # whether samples were lost between the previous block and this one
    flaws: Flaws = NO_FLAWS


@dataclass(frozen=True)
class Window:
    """The audio one verdict is about."""

    y: NDArray[np.float32]  # (n_samples,)
    start_s: float
    end_s: float
    flaws: Flaws = NO_FLAWS  # mean over its samples


class Windower:
    """Cuts blocks into windows of ``n_samples``, one every ``hop`` samples; none spans a gap."""

    def __init__(self, n_samples: int, hop: int, sr: int) -> None:
        """``sr``: Hz. ValueError for a ``hop`` of 0 or less."""
        if not 0 < hop:
            raise ValueError(f"hop = {hop} samples must be positive")
        self.n_samples = n_samples
        self.hop = hop
        self.sr = sr
        self._waiting_since_s: float | None = None  # when the wait for the next window began
        self._reset(0.0)

    def _reset(self, start_s: float) -> None:
        self._pending = np.empty(0, dtype=np.float32)
        self._flaws = np.empty((0, 2), dtype=np.float32)  # for each sample, its block's
        self._start_s = start_s  # time of the first pending sample
        self._next = 0  # where in the pending samples the next window starts
        self._covered = 0  # how many pending samples are in a window already

    def push(self, block: Block) -> list[Window]:
        """Take the next block and return the windows it completes, oldest first."""
        if block.gap or self._pending.size == 0:
            self._reset(block.start_s)
        if self._waiting_since_s is None:
            self._waiting_since_s = block.start_s
        self._pending = np.concatenate([self._pending, block.y])
        of_block = np.full((block.y.size, 2), block.flaws, dtype=np.float32)
        self._flaws = np.concatenate([self._flaws, of_block])
        windows: list[Window] = []
        while self._next + self.n_samples <= self._pending.size:
            windows.append(self._window(self._next))
            self._covered = self._next + self.n_samples
            self._next += self.hop
        if windows:
            self._waiting_since_s = windows[-1].end_s
        # Keep at least one window's worth of samples for tail().
        self._drop(max(0, min(self._next, self._pending.size - self.n_samples)))
        return windows

    def missed_window(self) -> tuple[float, float] | None:
        """Start and end, s, of a window that gaps have prevented; None if none is overdue.

        The first is overdue when none has ended for a window's length and two hops (one hop and
        MAX_GAP_S if hops are longer than that); from then on, one every hop. At most one per call.
        """
        end_s = self._start_s + self._pending.size / self.sr
        hop_s = self.hop / self.sr
        overdue_s = self.n_samples / self.sr + hop_s + min(hop_s, MAX_GAP_S)
        if self._waiting_since_s is None or end_s - self._waiting_since_s <= overdue_s:
            return None
        self._waiting_since_s = end_s - overdue_s + hop_s
        return end_s - self.n_samples / self.sr, end_s

    def sound_stops(self) -> None:
        """Tell that the sound has stopped: no window can be missed until the next block."""
        self._waiting_since_s = None

    def tail(self, *, min_new: int) -> Window | None:
        """The window that ends with the signal, if at least ``min_new`` samples are in none yet."""
        if self._pending.size < self.n_samples or self._pending.size - self._covered < min_new:
            return None
        return self._window(self._pending.size - self.n_samples)

    def _drop(self, n: int) -> None:
        self._pending = self._pending[n:]
        self._flaws = self._flaws[n:]
        self._next -= n
        self._covered = max(0, self._covered - n)
        self._start_s += n / self.sr

    def _window(self, start: int) -> Window:
        start_s = self._start_s + start / self.sr
        part = slice(start, start + self.n_samples)
        flaws = Flaws(*map(float, self._flaws[part].mean(axis=0)))
        return Window(self._pending[part], start_s, start_s + self.n_samples / self.sr, flaws)


class FlawAverage:
    """Mean flaws of the input of a resampler since its last output."""

    def __init__(self) -> None:
        self._sum = np.zeros(2)
        self._n_samples = 0
        self._mean = NO_FLAWS

    def add(self, flaws: Flaws, n_samples: int) -> None:
        """Count ``n_samples`` input samples whose flaws are ``flaws``."""
        self._sum += np.multiply(flaws, n_samples)
        self._n_samples += n_samples

    def mean_and_reset(self) -> Flaws:
        """Mean since the last call, for the next block; the same again if nothing went in."""
        if self._n_samples:
            self._mean = Flaws(*(self._sum / self._n_samples).tolist())
        self._sum[:], self._n_samples = 0, 0
        return self._mean


def mean_flaws(blocks: Sequence[Block]) -> Flaws:
    """Flaws of ``blocks``, averaged over their samples; NO_FLAWS if they have no samples."""
    average = FlawAverage()
    for block in blocks:
        average.add(block.flaws, block.y.size)
    return average.mean_and_reset()
