"""What a capture process sends, as blocks at the model's rate, with their times and gaps."""

from __future__ import annotations

import subprocess
import threading
import time
from collections import deque
from dataclasses import replace
from typing import IO

import numpy as np
from numpy.typing import NDArray

from edge.capture_process import HEADER, MAGIC, OPENED, SAMPLE_BYTES
from edge.frontend.resample import Resampler
from edge.gate import flaws
from edge.pace import Pace
from edge.rates import RATES
from edge.window import Block, FlawsOfInput

# rate, samples, samples lost before them, overflows so far, when they came
_Packet = tuple[int, NDArray[np.float32], int, int, float]

MAX_PACKET = RATES[1]  # samples, a second at least; more in one packet is a broken stream
KILLED_S = 1.0  # time a killed process has to go
PAUSE_S = 1.0  # longer between two packets of 50 ms, and sound is missing in between
LATELY = 20  # packets, a second of them
BUFFER_S = 4.0  # sound kept for a reader that is late; the oldest is dropped and counted


class CaptureStream:
    """Reads one capture process in threads of its own, so that its pipe never fills up.

    ``ended`` is, of former processes, too, when the sound so far ended on its own clock, which
    counts samples, and by how much the machine's was ahead of that at most, of late. The two drift
    apart, by a second in some hours, and a driver may deliver late: what comes later than anything
    in the last second before a gap was lost in it, and what is counted as lost; that is added.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], sr: int, ended: tuple[float, float]
    ) -> None:
        assert process.stdout is not None and process.stderr is not None  # noqa: S101 - piped
        self._sr = sr
        self._blocks: deque[Block] = deque()
        self._arrived = threading.Condition()
        self._buffered = 0
        self._words: deque[str] = deque(maxlen=5)
        self.device = ""  # its name, once it is open
        self.ended = ended
        self.received = 0
        self.arrived = time.monotonic()  # the latest packet; before the first, the start
        self.overflows = 0
        self.rate_error = 0.0
        self.out_of_step = False
        self._threads = [
            threading.Thread(target=self._listen, args=(process.stdout,), daemon=True),
            threading.Thread(target=self._hear_errors, args=(process.stderr,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def take(self, timeout_s: float) -> list[Block]:
        """What was heard since the last call, after waiting at most so long for the first of it."""
        with self._arrived:
            if not self._blocks:
                self._arrived.wait(timeout_s)
            blocks = list(self._blocks)
            self._blocks.clear()
            self._buffered = 0
        return blocks

    def rest(self) -> list[Block]:
        """What a process that has gone left in its pipes, which takes KILLED_S at most.

        They stay open while something that it started holds them.
        """
        until = time.monotonic() + KILLED_S
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return self.take(0)

    def last_words(self) -> str:
        """The last line on standard error, of the process or of a library of its; "" for none."""
        return self._words[-1] if self._words else ""

    def _hear_errors(self, pipe: IO[bytes]) -> None:
        with pipe:
            for line in pipe:
                words = line.decode(errors="replace").strip()[:300]
                if words.startswith(OPENED):
                    self.device = words.removeprefix(OPENED)
                else:
                    self._words.append(words)

    def _listen(self, pipe: IO[bytes]) -> None:
        """Until ``pipe`` ends or is out of step."""
        resampler: Resampler | None = None
        gap = fresh = True  # what came before this process is not joined to it
        met, pace, came_s = FlawsOfInput(), Pace(), 0.0
        (time_s, most_s), held_s = self.ended, 0.0  # held_s: of sound in the resampler
        ahead_s: deque[float] = deque([most_s], maxlen=LATELY)
        while packet := self._next(pipe):
            # When it came, not when it is read: this process may have been busy, or just started.
            before_s = came_s
            rate, y, lost, self.overflows, came_s = packet
            self.arrived = time.monotonic()
            # A source that was suspended goes on without a word about what it left out.
            missed = fresh or lost > 0 or came_s - before_s > PAUSE_S
            self.rate_error = pace.push(y.size / rate, came_s, gap=missed)
            if missed:
                if resampler is not None and held_s > 0:  # of short packets it may hold all
                    self._append(Block(resampler.flush(), time_s, gap, met.take()))
                fresh, gap, resampler, met = False, True, None, FlawsOfInput()
                time_s, held_s = time_s + held_s, 0.0
                later_s = came_s - y.size / rate - time_s - max(ahead_s)
                time_s += max(0.0, later_s, lost / rate)
            if resampler is None and rate != self._sr:
                resampler = Resampler(rate, self._sr)
            met.add(flaws(y, rate), y.size)
            out = y if resampler is None else resampler.push(y)
            held_s += y.size / rate
            if out.size:
                self._append(Block(out, time_s, gap, met.take()))
                time_s += out.size / self._sr
                held_s -= out.size / self._sr
                gap = False
            ahead_s.append(came_s - time_s - held_s)
            self.ended = time_s + held_s, max(ahead_s)
            self.received += y.size  # last: what is counted can be taken
        pipe.close()  # here and not from outside, which would wait for this very thread

    def _next(self, pipe: IO[bytes]) -> _Packet | None:
        try:
            return _packet(pipe)
        except ValueError:
            self.out_of_step = True
            return None

    def _append(self, block: Block) -> None:
        with self._arrived:
            self._blocks.append(block)
            self._buffered += block.y.size
            # Where the reader is far behind: old sound is worth less than new.
            while self._buffered > BUFFER_S * self._sr and len(self._blocks) > 1:
                self._buffered -= self._blocks.popleft().y.size
                self._blocks[0] = replace(self._blocks[0], gap=True)
            self._arrived.notify()


def _packet(pipe: IO[bytes]) -> _Packet | None:
    """The next one; None at the end, ValueError out of step."""
    header = pipe.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    magic, rate, count, lost, overflows, came_s = HEADER.unpack(header)
    if magic != MAGIC or count > MAX_PACKET:
        raise ValueError("out of step")
    data = pipe.read(count * SAMPLE_BYTES)
    if len(data) < count * SAMPLE_BYTES:
        return None
    y = np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32768)
    return rate, y, lost, overflows, came_s
