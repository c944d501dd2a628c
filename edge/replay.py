"""A recording played to the service as if it came from a microphone."""

from __future__ import annotations

import logging
import math
import time

from edge.recording import Recording
from edge.window import Block

log = logging.getLogger(__name__)

PROGRESS_INTERVAL_S = 5.0  # of messages at full speed, where no clock shows the position


class Replay:
    """Blocks of a recording, played ``speed`` times as fast as they were recorded.

    Infinite ``speed``: a block at every read, without waiting. If decoding is slower, blocks come
    late.
    """

    def __init__(self, recording: Recording, speed: float) -> None:
        self.sr = recording.sr
        self.problem = ""
        self.opening = False
        self.gaps = self.restarts = self.overflows = 0
        self.rate_error = 0.0  # there is no clock to compare a recording with
        self._recording = recording
        self._speed = speed
        self._blocks = recording.blocks()
        self._next: Block | None = None
        self._began = time.monotonic()
        self._next_progress = self._began + PROGRESS_INTERVAL_S

    @property
    def name(self) -> str:
        """The recording's file."""
        return str(self._recording.path.resolve())

    def read(self, timeout_s: float) -> list[Block] | None:
        """The blocks that are due; waits up to ``timeout_s`` for the first. None at the end."""
        if self._speed == math.inf:
            block = next(self._blocks, None)
            if block is not None and time.monotonic() >= self._next_progress:
                self._next_progress = time.monotonic() + PROGRESS_INTERVAL_S
                log.info("at %.0f s of the recording", block.start_s)
            self.gaps += block is not None and block.gap
            return None if block is None else [block]
        due: list[Block] = []
        deadline = time.monotonic() + timeout_s
        while True:
            self._next = self._next or next(self._blocks, None)
            if self._next is None:
                return due or None
            end_s = self._next.start_s + self._next.y.size / self.sr
            now = time.monotonic()
            wait_s = self._began + end_s / self._speed - now
            timed_out = now >= deadline
            if due and (timed_out or wait_s > 0):
                return due
            if wait_s > 0:
                if timed_out:
                    return []
                time.sleep(min(wait_s, deadline - now))
                continue
            due.append(self._next)
            self.gaps += self._next.gap
            self._next = None

    def close(self) -> None:
        """Close the file."""
        self._blocks.close()
