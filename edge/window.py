"""Cut a stream of blocks into overlapping windows. Pure: no clock, no input or output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Flaws(NamedTuple):
    """Shares of the samples as recorded that a resampler would hide; see edge.gate.flaws."""

    clipped: float = 0.0  # in flat tops
    still: float = 0.0  # in stretches without movement


NO_FLAWS = Flaws()
GAP_S = 0.5  # one gap up to this long, or one hop if shorter, only delays the next window


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
        self._since_s: float | None = None  # when the wait for the next window began
        self._forget(0.0)

    def _forget(self, start_s: float) -> None:
        self._pending = np.empty(0, dtype=np.float32)
        self._flaws = np.empty((0, 2), dtype=np.float32)  # for each sample, its block's
        self._start_s = start_s  # time of the first pending sample
        self._next = 0  # where in the pending samples the next window starts
        self._covered = 0  # how many pending samples are in a window already

    def push(self, block: Block) -> list[Window]:
        """Take the next block and return the windows it completes, oldest first."""
        if block.gap or self._pending.size == 0:
            self._forget(block.start_s)
        if self._since_s is None:
            self._since_s = block.start_s
        self._pending = np.concatenate([self._pending, block.y])
        of_block = np.full((block.y.size, 2), block.flaws, dtype=np.float32)
        self._flaws = np.concatenate([self._flaws, of_block])
        windows: list[Window] = []
        while self._next + self.n_samples <= self._pending.size:
            windows.append(self._window(self._next))
            self._covered = self._next + self.n_samples
            self._next += self.hop
        if windows:
            self._since_s = windows[-1].end_s
        # Keep at least one window's worth of samples for tail().
        self._drop(max(0, min(self._next, self._pending.size - self.n_samples)))
        return windows

    def missed(self) -> tuple[float, float] | None:
        """Start and end, s, of a window that gaps have prevented; None if none is overdue.

        The first is overdue when no window has come for its length and two hops (one hop and GAP_S
        if hops are longer than that); from then on, one every hop. At most one per call.
        """
        end_s = self._start_s + self._pending.size / self.sr
        hop_s = self.hop / self.sr
        least_s = self.n_samples / self.sr + hop_s + min(hop_s, GAP_S)
        if self._since_s is None or end_s - self._since_s <= least_s:
            return None
        self._since_s = end_s - least_s + hop_s
        return end_s - self.n_samples / self.sr, end_s

    def sound_stops(self) -> None:
        """Tell that the sound has stopped: no window can be missed until the next block."""
        self._since_s = None

    def tail(self, *, least: int) -> Window | None:
        """A last window that ends with the signal, if ``least`` samples or more are in none yet."""
        if self._pending.size < self.n_samples or self._pending.size - self._covered < least:
            return None
        return self._window(self._pending.size - self.n_samples)

    def _drop(self, n: int) -> None:
        self._pending = self._pending[n:]
        self._flaws = self._flaws[n:]
        self._next -= n
        self._covered = max(0, self._covered - n)
        self._start_s += n / self.sr

    def _window(self, at: int) -> Window:
        start_s = self._start_s + at / self.sr
        part = slice(at, at + self.n_samples)
        flaws = Flaws(*map(float, self._flaws[part].mean(axis=0)))
        return Window(self._pending[part], start_s, start_s + self.n_samples / self.sr, flaws)


class FlawsOfInput:
    """Mean flaws of the input of a resampler since its last output."""

    def __init__(self) -> None:
        self._sum = np.zeros(2)
        self._samples = 0
        self._mean = NO_FLAWS

    def add(self, found: Flaws, samples: int) -> None:
        """Count ``samples`` input samples whose flaws are ``found``."""
        self._sum += np.multiply(found, samples)
        self._samples += samples

    def take(self) -> Flaws:
        """Mean since the last call, for the next block; the same again if nothing went in."""
        if self._samples:
            self._mean = Flaws(*(self._sum / self._samples).tolist())
        self._sum[:], self._samples = 0, 0
        return self._mean


def mean_flaws(blocks: Sequence[Block]) -> Flaws:
    """Flaws of ``blocks``, averaged over their samples; NO_FLAWS if they have no samples."""
    met = FlawsOfInput()
    for block in blocks:
        met.add(block.flaws, block.y.size)
    return met.take()
