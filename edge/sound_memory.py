"""The last seconds of sound, for the record of an alert."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from edge.wav import to_int16
from edge.window import Block

OUTAGE_S = 1.0  # sound from before a longer gap is forgotten


class SoundMemory:
    """The last seconds of sound, as 16-bit samples, in bounded memory."""

    def __init__(self, seconds: float, sr: int) -> None:
        self._max_size, self._sr = round(seconds * sr), sr
        self._end_s = 0.0  # where the last block ended, on the sound's own clock
        self._pieces: deque[NDArray[np.int16]] = deque()
        self._size = 0

    def add(self, block: Block) -> None:
        """Take the next block. Sound from before a short gap is kept; the gap is not filled.

        Sound from before a gap longer than OUTAGE_S is forgotten: the record of an alert is
        evidence of what came right before it.
        """
        if block.start_s - self._end_s > OUTAGE_S:
            self._pieces.clear()
            self._size = 0
        self._end_s = block.start_s + block.y.size / self._sr
        piece = to_int16(np.nan_to_num(block.y))  # a replayed recording may hold NaN or infinity
        self._pieces.append(piece)
        self._size += piece.size
        while self._size - self._pieces[0].size >= self._max_size:
            self._size -= self._pieces.popleft().size

    def read(self) -> NDArray[np.float32]:
        """The remembered sound: (n,) float32, at most the configured seconds."""
        sound = np.concatenate([*self._pieces, np.empty(0, dtype=np.int16)])
        return sound[-self._max_size :].astype(np.float32) / np.float32(32768)
