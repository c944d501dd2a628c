"""A stream of examples that some processes make while networks in others train on it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convert.example_cache import SHAPE
from convert.examples import Maker

WAIT_S = 0.02  # between two looks for new examples


class Stream:
    """Numbered examples in memory-mapped files that processes share, readable as they are made.

    Makers write theirs in any order; readers advance up to the first number that is missing.
    """

    def __init__(self, folder: Path, size: int, *, new: bool = False) -> None:
        self.size = size
        folder.mkdir(parents=True, exist_ok=True)

        def shared(name: str, *shape: int) -> NDArray[np.uint8]:
            whole = (size, *shape)
            return np.memmap(folder / name, np.uint8, "w+" if new else "r+", shape=whole)

        self.indices = shared("indices", *SHAPE)
        self.labels = shared("labels")
        self.part_bits = shared("bits")  # bit K: it contains a recording of part K
        self._made = shared("made")
        self._until = 0

    def fill(self, maker: Maker, parts: list[set[str]], first: int, step: int) -> None:
        """Make every ``step``-th example from ``first`` on."""
        for number in range(first, self.size, step):
            example = maker(number)
            self.indices[number] = example.indices
            self.labels[number] = example.label
            bits = (bool(example.groups & part) << place for place, part in enumerate(parts))
            self.part_bits[number] = sum(bits)
            self._made[number] = 1  # set last: the example is complete

    def until(self) -> int:
        """How many examples there are before the first missing one."""
        # The flags are read once: an example missing at one read may be there at the next.
        missing = np.flatnonzero(self._made[self._until :] == 0)
        self._until = self._until + int(missing[0]) if missing.size else self.size
        return self._until

    def batches(self, without: int, size: int, deadline_s: float) -> Iterator[NDArray[np.int64]]:
        """Batches of ``size`` numbers of examples that contain nothing of the part ``without``.

        No example comes twice. Waits for more until ``deadline_s`` of the monotonic clock, or until
        all examples have been used.
        """
        seen, waiting = 0, np.empty(0, np.int64)
        while time.monotonic() < deadline_s:
            until = self.until()
            fresh = np.arange(seen, until)
            waiting = np.concatenate(
                [waiting, fresh[self.part_bits[seen:until] >> without & 1 == 0]]
            )
            seen = until
            if len(waiting) < size and until == self.size:
                return
            while len(waiting) >= size and time.monotonic() < deadline_s:
                batch, waiting = waiting[:size], waiting[size:]
                yield batch
            time.sleep(WAIT_S)
