"""The microphone as the service sees it: blocks while there are any, and the reason when not.

Samples come from :mod:`edge.capture_process`. If none arrives for a while, that process is killed
and started again, after 1, 2, 5, 10 and then every 30 seconds, for ever; each start reads the list
of devices anew.
"""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import IO

import numpy as np
from numpy.typing import NDArray

from edge.capture_process import HEADER, MAGIC, SAMPLE_BYTES
from edge.capture_start import capture_command, start_capture
from edge.config import AudioConfig
from edge.frontend.resample import Resampler
from edge.gate import flaws
from edge.pace import Pace, in_words
from edge.window import Block, FlawsOfInput

log = logging.getLogger(__name__)

# rate, samples, samples lost before them, overflows so far, when they came
_Packet = tuple[int, NDArray[np.float32], int, int, float]

NOT_OPENED = "not opened yet"
BACK_OFF_S = (1.0, 2.0, 5.0, 10.0, 30.0)
OPEN_S = 10.0  # time a fresh process has until its first sample; a Pi 3 needs 2 to start Python
MAX_PACKET = 192_000  # samples; more in one packet is a broken stream
KILLED_S = 1.0  # time a killed process has to go
PAUSE_S = 1.0  # longer between two packets of 50 ms, and sound is missing in between
BUFFER_S = 4.0  # sound kept for a reader that is late; the oldest is dropped and counted


class Microphone:
    """A supervised microphone. One thread calls :meth:`read`, which waits for its timeout at most.

    Only :meth:`close`, and a :meth:`read` after the process has gone, or that gives it up, may take
    KILLED_S longer.
    """

    def __init__(
        self,
        config: AudioConfig,
        sr: int,
        *,
        command: Sequence[str] | None = None,
        process: subprocess.Popen[bytes] | None = None,
    ) -> None:
        """Blocks will have ``sr`` Hz. Nothing is opened before the first :meth:`read`.

        But ``process`` was started already, by :func:`edge.capture_start.start_capture`, and is
        ours from now on. ``command`` starts another one than the real one.
        """
        self._config = config
        self._command = list(command or capture_command(config))
        self.sr = sr
        self._process: subprocess.Popen[bytes] | None = None
        self._stream: _Stream | None = None
        self._stuck: subprocess.Popen[bytes] | None = None  # killed, but it does not die
        self._started = False
        self._failures = 0
        self._next_try = 0.0
        self._heard_to_s = 0.0
        self.problem = NOT_OPENED  # why there is no sound; "" while there is
        self.gaps = 0  # times sound was lost
        self.restarts = 0  # of the capture process
        self.overflows = 0  # that the device reported
        self._overflows_before = 0  # by capture processes that have gone
        self.rate_error = 0.0  # relative: -0.3 where three in ten samples are missing; 0.0: fine
        if process is not None:
            self._listen_to(process)

    @property
    def samples(self) -> int:
        """Samples received from the device since it was opened last."""
        return self._stream.received if self._stream else 0

    def read(self, timeout_s: float) -> list[Block]:
        """What has arrived, after waiting at most ``timeout_s`` for the first of it."""
        now = time.monotonic()
        if self._process is None:
            if now < self._next_try:
                time.sleep(min(timeout_s, self._next_try - now))
                return []
            self._open()
            if self._process is None:
                return []
        assert self._stream is not None and self._process is not None  # noqa: S101 - just opened
        blocks = self._stream.take(timeout_s)
        if not blocks and self._process.poll() is not None:
            blocks = self._stream.rest()
        now = time.monotonic()
        if blocks:
            self._heard(blocks)
        elif self._stream.out_of_step:
            self._lose("the capture process sent nonsense")
        elif self._process.poll() is not None:
            # Killed, it had no last words: what it said last was the name of the device.
            words = self._stream.last_words() if self._process.returncode > 0 else ""
            self._lose(words or "the capture process has died")
        elif now - self._stream.arrived > (self._config.stall_s if self.samples else OPEN_S):
            self._lose("no samples arrive")
        return blocks

    def close(self) -> None:
        """Kill the capture process, if there is one."""
        if self._process is not None:
            self._process.kill()
            try:
                self._process.wait(KILLED_S)
            except subprocess.TimeoutExpired:  # a driver that hangs in the kernel holds it
                log.error("capture process %d does not die", self._process.pid)
                self._stuck = self._process
        self._process = self._stream = None

    def _open(self) -> None:
        if self._stuck is not None and self._stuck.poll() is None:
            # One that hangs is enough: each more would cost memory and find the device taken.
            self._lose("the sound driver hangs: pull the microphone out and put it in again")
            return
        self._stuck = None
        try:
            process = start_capture(self._command)
        except OSError as error:  # no memory, no processes left
            self._lose(f"the capture process cannot be started: {error.strerror}")
            return
        self._listen_to(process)

    def _listen_to(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._stream = _Stream(process, self.sr, self._heard_to_s)
        self._overflows_before = self.overflows
        self.restarts += self._started
        self._started = True

    def _heard(self, blocks: list[Block]) -> None:
        first = not self._heard_to_s  # comes after nothing that could be missing
        self.gaps += sum(block.gap for block in blocks) - first
        self._heard_to_s = blocks[-1].start_s + blocks[-1].y.size / self.sr
        if self._stream is not None:
            self.overflows = self._overflows_before + self._stream.overflows
            self._keep_pace(self._stream.rate_error)
        if self.problem:
            alive = self._process is not None and self._process.poll() is None
            # The last words of one that has gone are no device's name.
            name = self._stream.last_words() if self._stream and alive else "for the last time"
            log.info("microphone delivers: %s", name)
        self.problem = ""
        self._failures = 0

    def _keep_pace(self, error: float) -> None:
        if error and not self.rate_error:
            log.warning("%s", in_words(error))
        self.rate_error = error

    def _lose(self, why: str) -> None:
        wait = BACK_OFF_S[min(self._failures, len(BACK_OFF_S) - 1)]
        self._failures += 1
        self._next_try = time.monotonic() + wait
        if why != self.problem:
            log.warning("microphone lost: %s; next try in %g s", why, wait)
        self.problem = why
        self.rate_error = 0.0  # nothing is left of what was measured
        self.close()


class _Stream:
    """Reads one capture process in threads of its own, so that its pipe never fills up."""

    def __init__(self, process: subprocess.Popen[bytes], sr: int, since_s: float) -> None:
        assert process.stdout is not None and process.stderr is not None  # noqa: S101 - piped
        self._sr = sr
        self._blocks: deque[Block] = deque()
        self._arrived = threading.Condition()
        self._buffered = 0
        self._words: deque[str] = deque(maxlen=5)
        self.received = 0
        self.arrived = time.monotonic()  # the latest packet; before the first, the start
        self.overflows = 0
        self.rate_error = 0.0
        self.out_of_step = False
        self._threads = [
            threading.Thread(target=self._listen, args=(process.stdout, since_s), daemon=True),
            threading.Thread(target=self._hear_errors, args=(process.stderr,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def take(self, timeout_s: float) -> list[Block]:
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
        return self._words[-1] if self._words else ""

    def _hear_errors(self, pipe: IO[bytes]) -> None:
        with pipe:
            for line in pipe:
                self._words.append(line.decode(errors="replace").strip()[:300])

    def _listen(self, pipe: IO[bytes], time_s: float) -> None:
        """Until ``pipe`` ends or is out of step; ``time_s``: when the sound before it ended."""
        resampler: Resampler | None = None
        gap = fresh = True  # what came before this process is not joined to it
        met, pace, came_s = FlawsOfInput(), Pace(), 0.0
        while packet := self._next(pipe):
            # When it came, not when it is read: this process may have been busy, or just started.
            before_s = came_s
            rate, y, lost, self.overflows, came_s = packet
            self.arrived = time.monotonic()
            # A source that was suspended goes on without a word about what it left out.
            missed = fresh or lost > 0 or came_s - before_s > PAUSE_S
            self.rate_error = pace.push(y.size / rate, came_s, gap=missed)
            if missed:
                fresh, gap, resampler, met = False, True, None, FlawsOfInput()
                # Sample times count on from here; between gaps the clock is the sound card's. If
                # that is a little fast it is ahead: time never goes back.
                time_s = max(time_s, came_s - y.size / rate)
            if resampler is None and rate != self._sr:
                resampler = Resampler(rate, self._sr)
            met.add(flaws(y, rate), y.size)
            out = y if resampler is None else resampler.push(y)
            if out.size:
                self._append(Block(out, time_s, gap, met.take()))
                time_s += out.size / self._sr
                gap = False
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
