"""The packets of a capture process, as blocks at the model's rate, with their times and gaps."""

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
from edge.gate import measure_flaws
from edge.pace import Pace
from edge.rates import RATES
from edge.window import Block, FlawAverage

# rate (Hz), samples, samples lost before them, overflows so far, arrival time of the last one (s)
_Packet = tuple[int, NDArray[np.float32], int, int, float]

MAX_PACKET = RATES[1]  # samples, at least a second; a header that claims more is corrupt
KILLED_S = 1.0  # time a killed process has to exit
PAUSE_S = 1.0  # a longer pause between two packets (of 50 ms each) counts as lost sound
LATELY = 20  # packets: the last second
BUFFER_S = 4.0  # sound kept for a late reader; beyond that the oldest is dropped, which is a gap


class CaptureStream:
    """Reads one capture process in threads of its own, so that its pipe never fills up.

    Times are on a clock that counts samples and adds the length of each gap. The machine's clock
    drifts away from it, by a second in some hours, and a driver may deliver late. So the length of
    a gap is the machine's lead at the first packet after it, less the largest lead in the second
    before it, and at least the duration of the samples counted as lost.

    ``ended``: where the sound ends on that clock, and the largest lead of the machine's clock over
    it in the last second (both s). The stream of the next process continues from there.
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
        self.received = 0  # samples, at the device's rate
        self.arrived = time.monotonic()  # when the latest packet was read; at first, the start
        self.overflows = 0  # that the device has reported
        self.rate_error = 0.0  # see Pace.push
        self.out_of_step = False  # whether the pipe held something that is no packet
        self._threads = [
            threading.Thread(target=self._listen, args=(process.stdout,), daemon=True),
            threading.Thread(target=self._hear_errors, args=(process.stderr,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def take(self, timeout_s: float) -> list[Block]:
        """The blocks since the last call; waits up to ``timeout_s`` for the first of them."""
        with self._arrived:
            if not self._blocks:
                self._arrived.wait(timeout_s)
            blocks = list(self._blocks)
            self._blocks.clear()
            self._buffered = 0
        return blocks

    def rest(self) -> list[Block]:
        """The blocks that a process left in its pipe when it exited; waits at most KILLED_S.

        The pipes do not end as long as a child of that process still holds them open.
        """
        until = time.monotonic() + KILLED_S
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return self.take(0)

    def last_words(self) -> str:
        """The last line on standard error, by the process or one of its libraries; "" for none."""
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
        """Read packets until ``pipe`` ends or is out of step.

        ``time_s`` is where the next block starts; ``held_s`` is the sound held in the resampler.
        """
        resampler: Resampler | None = None
        gap = fresh = True  # sound from before this process is not joined to its own
        flaws, pace, came_s = FlawAverage(), Pace(), 0.0
        (time_s, most_s), held_s = self.ended, 0.0
        ahead_s: deque[float] = deque([most_s], maxlen=LATELY)  # leads of the machine's clock
        while packet := self._next(pipe):
            # Arrival times, not the time of reading: this process may be busy or have just started.
            before_s = came_s
            rate, y, lost, self.overflows, came_s = packet
            self.arrived = time.monotonic()
            # A source that was suspended resumes without reporting what it left out.
            missed = fresh or lost > 0 or came_s - before_s > PAUSE_S
            self.rate_error = pace.push(y.size / rate, came_s, gap=missed)
            if missed:
                if resampler is not None and held_s > 0:  # short packets may all be still in it
                    self._append(Block(resampler.flush(), time_s, gap, flaws.mean_and_reset()))
                fresh, gap, resampler, flaws = False, True, None, FlawAverage()
                time_s, held_s = time_s + held_s, 0.0
                later_s = came_s - y.size / rate - time_s - max(ahead_s)
                time_s += max(0.0, later_s, lost / rate)
            if resampler is None and rate != self._sr:
                resampler = Resampler(rate, self._sr)
            flaws.add(measure_flaws(y, rate), y.size)
            out = y if resampler is None else resampler.push(y)
            held_s += y.size / rate
            if out.size:
                self._append(Block(out, time_s, gap, flaws.mean_and_reset()))
                time_s += out.size / self._sr
                held_s -= out.size / self._sr
                gap = False
            ahead_s.append(came_s - time_s - held_s)
            self.ended = time_s + held_s, max(ahead_s)
            self.received += y.size  # last, so that whatever is counted can be taken
        pipe.close()  # not from another thread, which would wait for this one

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
            # If the reader is far behind, drop the oldest: new sound is worth more.
            while self._buffered > BUFFER_S * self._sr and len(self._blocks) > 1:
                self._buffered -= self._blocks.popleft().y.size
                self._blocks[0] = replace(self._blocks[0], gap=True)
            self._arrived.notify()


def _packet(pipe: IO[bytes]) -> _Packet | None:
    """The next packet; None at the end of the pipe, ValueError if what follows is no packet."""
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
