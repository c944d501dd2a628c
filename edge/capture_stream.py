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

from edge.capture_process import HEADER, MAGIC, OPENED_PREFIX, SAMPLE_BYTES
from edge.frontend.resample import Resampler
from edge.gate import measure_flaws
from edge.rate_monitor import RateMonitor
from edge.rates import RATES
from edge.sound_clock import ClockState, SoundClock
from edge.window import Block, FlawAverage

# rate (Hz), samples, samples lost before them, overflows so far, arrival time of the last one (s)
_Packet = tuple[int, NDArray[np.float32], int, int, float]

MAX_LINE_BYTES = 4096
MAX_PACKET_SAMPLES = RATES[1]  # samples, at least a second; a header that claims more is corrupt
EXIT_TIMEOUT_S = 1.0  # time a killed process has to exit
PAUSE_S = 1.0  # a longer pause between two packets (of 50 ms each) counts as lost sound
BUFFER_S = 4.0  # sound kept for a late reader; beyond that the oldest is dropped, which is a gap


class CaptureStream:
    """Reads one capture process in threads of its own, so that its pipe never fills up.

    Times are on the sound's own clock (edge.sound_clock).

    ``resume_at``: where that clock stood when the process before ended. ``clock_state``: where it
    stands now.
    """

    def __init__(self, process: subprocess.Popen[bytes], sr: int, resume_at: ClockState) -> None:
        assert process.stdout is not None and process.stderr is not None  # noqa: S101 - piped
        self._sr = sr
        self._blocks: deque[Block] = deque()
        self._not_empty = threading.Condition()
        self._buffered = 0
        self._stderr_lines: deque[str] = deque(maxlen=5)
        self.device = ""  # its name, once it is open
        self.clock_state = resume_at
        self.received = 0  # samples, at the device's rate
        self.last_read_s = time.monotonic()  # when the latest packet was read; at first, the start
        self.still_s = 0.0  # duration of the latest samples that are all equal
        self.overflows = 0  # that the device has reported
        self.rate_error = 0.0  # see RateMonitor.push
        self.out_of_sync = False  # whether the pipe held something that is no packet
        self._threads = [
            threading.Thread(target=self._read_packets, args=(process.stdout,), daemon=True),
            threading.Thread(target=self._read_stderr, args=(process.stderr,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def take(self, timeout_s: float) -> list[Block]:
        """The blocks since the last call; waits up to ``timeout_s`` for the first of them."""
        with self._not_empty:
            if not self._blocks:
                self._not_empty.wait(timeout_s)
            blocks = list(self._blocks)
            self._blocks.clear()
            self._buffered = 0
        return blocks

    def drain(self) -> list[Block]:
        """The blocks that a process left in its pipe when it exited; waits at most EXIT_TIMEOUT_S.

        The pipes do not end as long as a child of that process still holds them open.
        """
        until = time.monotonic() + EXIT_TIMEOUT_S
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return self.take(0)

    def last_error_line(self) -> str:
        """The last line on standard error, by the process or one of its libraries; "" for none."""
        return self._stderr_lines[-1] if self._stderr_lines else ""

    def _read_stderr(self, pipe: IO[bytes]) -> None:
        with pipe:
            while line := pipe.readline(MAX_LINE_BYTES):  # a library may never end its line
                text = line.decode(errors="replace").strip()[:300]
                if text.startswith(OPENED_PREFIX):
                    self.device = text.removeprefix(OPENED_PREFIX)
                else:
                    self._stderr_lines.append(text)

    def _read_packets(self, pipe: IO[bytes]) -> None:
        """Read packets until ``pipe`` ends or is out of sync."""
        resampler: Resampler | None = None
        gap = first = True  # sound from before this process is not joined to its own
        input_flaws, monitor, arrival_s = FlawAverage(), RateMonitor(), 0.0
        clock = SoundClock(self.clock_state)
        while packet := self._next_packet(pipe):
            # Arrival times, not the time of reading: this process may be busy or have just started.
            previous_s = arrival_s
            rate, y, lost, self.overflows, arrival_s = packet
            sound_s = y.size / rate
            self.last_read_s = time.monotonic()
            # A source that was suspended resumes without reporting what it left out.
            after_gap = first or lost > 0 or arrival_s - previous_s > PAUSE_S
            self.rate_error = monitor.push(sound_s, arrival_s, gap=after_gap)
            if after_gap:
                if resampler is not None and clock.held_s > 0:
                    # If packets are short, all sound since the last gap may still be in it.
                    rest = resampler.flush()
                    self._append(Block(rest, clock.next_block_s, gap, input_flaws.mean_and_reset()))
                first, gap, resampler, input_flaws = False, True, None, FlawAverage()
                clock.skip_gap(sound_s, arrival_s, lost_s=lost / rate)
            if resampler is None and rate != self._sr:
                resampler = Resampler(rate, self._sr)
            input_flaws.add(measure_flaws(y, rate), y.size)
            self.still_s = self.still_s + sound_s if y.size and np.ptp(y) == 0 else 0.0
            out = y if resampler is None else resampler.push(y)
            start_s = clock.advance(sound_s, arrival_s, block_s=out.size / self._sr)
            if out.size:
                self._append(Block(out, start_s, gap, input_flaws.mean_and_reset()))
                gap = False
            self.clock_state = clock.state
            self.received += y.size  # last, so that whatever is counted can be taken
        pipe.close()  # not from another thread, which would wait for this one

    def _next_packet(self, pipe: IO[bytes]) -> _Packet | None:
        try:
            return _read_packet(pipe)
        except ValueError:
            self.out_of_sync = True
            return None

    def _append(self, block: Block) -> None:
        with self._not_empty:
            self._blocks.append(block)
            self._buffered += block.y.size
            # If the reader is far behind, drop the oldest: new sound is worth more.
            while self._buffered > BUFFER_S * self._sr and len(self._blocks) > 1:
                self._buffered -= self._blocks.popleft().y.size
                self._blocks[0] = replace(self._blocks[0], gap=True)
            self._not_empty.notify()


def _read_packet(pipe: IO[bytes]) -> _Packet | None:
    """The next packet; None at the end of the pipe, ValueError if what follows is no packet."""
    header = pipe.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    magic, rate, count, lost, overflows, arrival_s = HEADER.unpack(header)
    if magic != MAGIC or count > MAX_PACKET_SAMPLES:
        raise ValueError("out of sync")
    data = pipe.read(count * SAMPLE_BYTES)
    if len(data) < count * SAMPLE_BYTES:
        return None
    y = np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32768)
    return rate, y, lost, overflows, arrival_s
