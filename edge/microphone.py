"""The microphone as the service sees it: blocks of sound, or the reason why there are none.

Samples come from :mod:`edge.capture_process`. If none arrives for a while, that process is killed
and restarted, after 1, 2, 5, 10 and then every 30 seconds, for ever; each start reads the list of
devices again.
"""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Sequence

from edge.capture_start import capture_command, start_capture
from edge.capture_stream import EXIT_TIMEOUT_S, CaptureStream
from edge.config import AudioConfig
from edge.rate_monitor import rate_error_message
from edge.sound_clock import ClockState
from edge.window import Block

log = logging.getLogger(__name__)

NOT_OPENED, SILENT = "not opened yet", "no samples arrive"
STUCK = "the samples do not change"
STUCK_S = (60.0, 3600.0)  # so long before it is opened anew; doubles each time, up to the second
BACK_OFF_S = (1.0, 2.0, 5.0, 10.0, 30.0)
OPEN_TIMEOUT_S = 10.0  # limit from start to first sample; a Pi 3 needs 2 s to start Python
BACK_OFF_RESET_S = 5.0  # after this much sound the back-off starts from the beginning again


class Microphone:
    """A supervised microphone. One thread calls :meth:`read`, which waits at most its timeout.

    Only three calls may take EXIT_TIMEOUT_S longer: :meth:`close`, a :meth:`read` after the capture
    process has exited, and a :meth:`read` that gives it up.
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

        ``process``: a capture process that :func:`edge.capture_start.start_capture` has already
        started; this object owns it from now on. ``command``: run in place of the real one.
        """
        self._config = config
        self._command = list(command or capture_command(config))
        self.sr = sr
        self._process: subprocess.Popen[bytes] | None = None
        self._stream: CaptureStream | None = None
        self._hung_process: subprocess.Popen[bytes] | None = None  # killed, but has not exited
        self._started = False
        self._failures = 0
        self._next_try = 0.0
        self._stuck_limit_s = STUCK_S[0]
        self._ever_heard = False
        self._process_sound_s = 0.0  # sound received from this process
        self._clock_state = ClockState()  # of the latest stream's clock
        self.problem = NOT_OPENED  # why there is no sound; "" while there is
        self.gaps = 0  # how many times sound was lost
        self.restarts = 0  # of the capture process
        self.overflows = 0  # that the device reported
        self._overflows_before = 0  # those of earlier capture processes
        self.rate_error = 0.0  # relative: -0.3 if three in ten samples are missing; 0.0: fine
        if process is not None:
            self._attach(process)

    @property
    def name(self) -> str:
        """What PortAudio calls the open microphone; what the settings call it if none is open."""
        opened = self._stream.device if self._stream else ""
        return opened or self._config.device or "default microphone"

    @property
    def opening(self) -> bool:
        """Whether it is being opened for the first time, and nothing has failed yet."""
        return self.problem == NOT_OPENED

    @property
    def samples(self) -> int:
        """Samples received from the device since it was last opened."""
        return self._stream.received if self._stream else 0

    def read(self, timeout_s: float) -> list[Block]:
        """The blocks that have arrived; waits up to ``timeout_s`` for the first of them."""
        now = time.monotonic()  # before the wait, during which this process may be suspended
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
            blocks = self._stream.drain()
        if blocks:
            self._on_blocks(self._stream, blocks)
            self._check_still(self._stream.still_s)
        elif self._stream.out_of_sync:
            self._give_up("the capture process sent invalid data")
        elif self._process.poll() is not None:
            # If it was killed (a negative code), its last line is not an error but library output.
            error = self._stream.last_error_line() if self._process.returncode > 0 else ""
            self._give_up(error or "the capture process has died")
        else:
            limit_s = self._config.stall_s if self.samples else OPEN_TIMEOUT_S
            if now - self._stream.last_read_s > limit_s:
                self._give_up(SILENT)
        return blocks

    def close(self) -> None:
        """Kill the capture process, if there is one."""
        if self._process is not None:
            self._process.kill()
            try:
                self._process.wait(EXIT_TIMEOUT_S)
            except subprocess.TimeoutExpired:  # it is blocked in a driver that hangs in the kernel
                log.error("capture process %d does not exit after SIGKILL", self._process.pid)
                self._hung_process = self._process
        if self._stream is not None:
            self._clock_state = self._stream.clock_state
        self._process = self._stream = None

    def _open(self) -> None:
        if self._hung_process is not None and self._hung_process.poll() is None:
            # No second process while one hangs: it would cost memory and find the device busy.
            self._give_up("the sound driver hangs: unplug the microphone and plug it in again")
            return
        self._hung_process = None
        try:
            process = start_capture(self._command)
        except OSError as error:  # out of memory, or of processes
            self._give_up(f"the capture process cannot be started: {error.strerror}")
            return
        self._attach(process)

    def _attach(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._stream = CaptureStream(process, self.sr, self._clock_state)
        self._process_sound_s = 0.0
        self._overflows_before = self.overflows
        self.restarts += self._started
        self._started = True

    def _on_blocks(self, stream: CaptureStream, blocks: list[Block]) -> None:
        # The very first block is marked as a gap, but nothing was lost before it.
        self.gaps += sum(block.gap for block in blocks) - (not self._ever_heard)
        self._ever_heard = True
        self.overflows = self._overflows_before + stream.overflows
        self._update_rate_error(stream.rate_error)
        if self.problem:
            log.info("microphone delivers%s", f": {stream.device}" if stream.device else "")
        self.problem = ""
        # With a loose plug there is a little sound after each start: that resets no back-off.
        self._process_sound_s += sum(block.y.size for block in blocks) / self.sr
        if self._process_sound_s >= BACK_OFF_RESET_S:
            self._failures = 0

    def _check_still(self, still_s: float) -> None:
        """Give up if the samples have not changed for long.

        After a dip of its supply, a card may send zeros until it is opened anew. A microphone with
        a noise gate beside an engine that is off does so, too: the limit grows until it is heard
        for a while. The click of being opened is no such sound.
        """
        if self._process_sound_s - still_s >= BACK_OFF_RESET_S:
            self._stuck_limit_s = STUCK_S[0]
        if still_s > self._stuck_limit_s:
            self._stuck_limit_s = min(2 * self._stuck_limit_s, STUCK_S[1])
            self._give_up(STUCK)

    def _update_rate_error(self, error: float) -> None:
        if error and not self.rate_error:
            log.warning("%s", rate_error_message(error))
        self.rate_error = error

    def _give_up(self, why: str) -> None:
        wait_s = BACK_OFF_S[min(self._failures, len(BACK_OFF_S) - 1)]
        self._failures += 1
        self._next_try = time.monotonic() + wait_s
        if why != self.problem:
            log.warning("microphone lost: %s; next try in %g s", why, wait_s)
        self.problem = why
        self.rate_error = 0.0  # what was measured does not apply to the next process
        self.close()
