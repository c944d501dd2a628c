"""The lamp's signals. Dark: not running. A heartbeat of short blinks: windows are being processed.

The patterns are one table; ``edge run --help`` prints it, and a test checks the README against it.
Changes are logged too, for machines without a lamp.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from edge.config import IndicatorConfig
from edge.journal import BURST, PERIOD_S
from edge.lamp import Lamp

log = logging.getLogger(__name__)


class Signal(StrEnum):
    """What the lamp can show."""

    FAULT = "fault"
    MICROPHONE_LOST = "microphone_lost"
    KNOCKING = "knocking"
    UNJUDGED = "unjudged"
    DEGRADED = "degraded"
    LISTENING = "listening"
    STARTING = "starting"


@dataclass(frozen=True)
class Pattern:
    """Seconds lit and dark in turn, repeated; how it looks, and what it means."""

    durations_s: tuple[float, ...]
    description: str
    meaning: str


PATTERNS: dict[Signal, Pattern] = {
    Signal.KNOCKING: Pattern((1.0,), "solid", "the engine knocks"),
    Signal.LISTENING: Pattern((0.1, 1.9), "a short blink every 2 s", "listening, nothing found"),
    Signal.UNJUDGED: Pattern(
        (0.1, 3.9), "a short blink every 4 s", "listening, but engine off or sound unfit to judge"
    ),
    Signal.DEGRADED: Pattern(
        (0.1, 0.2, 0.1, 1.6),
        "two blinks every 2 s",
        "listening, but behind, losing sound, hot, low on power",
    ),
    Signal.MICROPHONE_LOST: Pattern((0.12, 0.13), "fast, 4 a second", "no sound arrives"),
    Signal.FAULT: Pattern(
        (0.1, 0.2, 0.1, 0.2, 0.1, 1.3), "three blinks every 2 s", "a part has failed: edge doctor"
    ),
    # Dark from the test to the first window. If none comes within FIRST_WINDOW_S the lamp shows a
    # fault, which is before this pattern would repeat.
    Signal.STARTING: Pattern((1.0, 29.0), "solid for 1 s at start", "lamp test"),
}
STEP_S = 0.05
STALE_S = 5.0  # without a window for this long the heartbeat stops: nothing is being analysed
FIRST_WINDOW_S = 15.0  # limit for the first one: board or microphone may be slow to start
HANG_S = 10.0  # a lamp driver that blocks for this long is not expected to recover
MAX_STEP_S = 1.0  # most silence to count per check: beyond it, the whole process was stopped
CLOSE_TIMEOUT_S = 1.0  # longest wait for the lamp's thread at the end
# These patterns blink every 2 or 4 s, and a change between them keeps the phase. If each restarted,
# sound at the edge of what can be judged would blink with every window, which looks like the fast
# blinking of a lost microphone.
PHASE_LOCKED = {Signal.LISTENING, Signal.UNJUDGED, Signal.DEGRADED}
NEEDS_WINDOWS = set(Signal) - {Signal.FAULT, Signal.MICROPHONE_LOST}


def lit(signal: Signal, seconds: float) -> bool:
    """Whether the lamp is lit ``seconds`` after it began to show ``signal``."""
    pattern = PATTERNS[signal].durations_s
    at = seconds % sum(pattern)
    for number, duration in enumerate(pattern):
        if at < duration:
            return number % 2 == 0
        at -= duration
    return False


def pattern_table() -> str:
    """The table of patterns for the help text, one per line."""
    rows = [("lamp", "meaning")]
    rows += [(pattern.description, pattern.meaning) for pattern in PATTERNS.values()]
    rows.append(("dark", "not running, no power, or up to 15 s at start"))
    return "\n".join(f"  {description:<26}{meaning}" for description, meaning in rows)


class Indicator:
    """Shows one signal on the lamps, from a thread of its own."""

    def __init__(
        self, config: IndicatorConfig, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Open the lamps and start with the lamp test; ``clock`` is for tests."""
        self._clock = clock
        self._lock = threading.Lock()
        self._signal, self._since = Signal.STARTING, clock()
        self._window_at = clock() + FIRST_WINDOW_S - STALE_S
        self._lamps = [
            Lamp(pin, active_high=config.active_high, clock=clock)
            for pin in (config.led_pin, config.knock_pin, config.buzzer_pin)
        ]
        self._lamp_error = ""
        self._ticks = self._ticks_seen = 0  # of the lamp's thread
        self._watched_at, self._silent_s = clock(), 0.0
        self._hang = ""  # the problem, while the lamp's thread hangs
        self._changes, self._changed_at = 0, clock()  # since it last settled; the last one
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def failure(self) -> str:
        """Why a lamp that this machine should have does not work; "" if all work."""
        failed = (lamp.problem for lamp in self._lamps if lamp.problem and lamp.possible)
        return self._hang or self._lamp_error or next(failed, "")

    @property
    def hangs(self) -> bool:
        """Whether the lamp's thread hangs, so that the lamp shows something outdated."""
        return bool(self._hang)

    def watch(self) -> None:
        """Check whether the lamp's thread hangs, which it cannot report itself. Call it regularly.

        Also log what the lamp has settled on if the log may have left out the change to it.
        At most MAX_STEP_S counts between two calls: if the whole process was stopped, perhaps for a
        night, the thread still has nearly all of HANG_S left to show that it works.
        """
        now, ticks = self._clock(), self._ticks
        if self._changes and now - self._changed_at > PERIOD_S:
            if self._changes > BURST:
                pattern, kind = PATTERNS[self._signal], {"kind": "settled"}
                log.info("lamp: still %s (%s)", pattern.description, self._signal, extra=kind)
            self._changes = 0
        since_s, self._watched_at = now - self._watched_at, now
        if ticks != self._ticks_seen or self._closing.is_set():
            self._ticks_seen, self._silent_s, self._hang = ticks, 0.0, ""
            return
        self._silent_s += min(since_s, MAX_STEP_S)
        if self._silent_s > HANG_S and not self._hang:
            self._hang = f"the lamp does not answer for {HANG_S:g} s: what it shows is outdated"
            log.error("%s", self._hang, extra={"kind": "hang"})

    @property
    def missing(self) -> str:
        """Why this machine can have no lamp; "" if it can."""
        return next((lamp.problem for lamp in self._lamps if not lamp.possible), "")

    def show(self, signal: Signal) -> None:
        """Show ``signal`` from now on; showing it again changes nothing."""
        with self._lock:
            if signal is self._signal:
                return
            if not {signal, self._signal} <= PHASE_LOCKED:
                self._since = self._clock()
            self._signal = signal
        self._changes, self._changed_at = self._changes + 1, self._clock()
        # Not under the lock: a log that hangs must not block the lamp. The rate limit treats each
        # signal as a kind of its own, so that many changes to others cannot suppress a fault.
        log.info("lamp: %s (%s)", PATTERNS[signal].description, signal, extra={"kind": signal})

    def window_done(self) -> None:
        """Report that a window was processed, judged or not; the heartbeat depends on this."""
        self._window_at = self._clock()

    def expect_window(self) -> None:
        """Restart the wait for a window, because none could come until now."""
        self._window_at = max(self._window_at, self._clock())

    @property
    def stale(self) -> bool:
        """Whether no window was processed for STALE_S: the lamp must then show a problem."""
        return self._clock() - self._window_at > STALE_S

    def levels(self) -> tuple[bool, bool]:
        """Whether the lamp is to be lit at this moment, and whether knock lamp and buzzer are.

        Staleness is checked here too, in the lamp's own thread, as the main thread may hang.
        """
        with self._lock:
            signal, since = self._signal, self._since
        if signal in NEEDS_WINDOWS and self.stale:
            signal = Signal.FAULT
        now = lit(signal, self._clock() - since)
        return now, now and signal in (Signal.KNOCKING, Signal.STARTING)

    def close(self) -> None:
        """Turn all lamps off and release their pins, unless a driver hangs: that would block us."""
        self._closing.set()
        self._thread.join(CLOSE_TIMEOUT_S)
        if self._thread.is_alive():
            log.error("the lamp does not answer: it may stay lit")
            return
        for lamp in self._lamps:
            lamp.close()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._ticks += 1
            lit_now, knocks = self.levels()
            lamp_error = ""
            for lamp, level in zip(self._lamps, (lit_now, knocks, knocks), strict=True):
                try:
                    lamp.set(lit=level)
                except Exception as error:  # the thread goes on for the other lamps' sake
                    lamp_error = f"a lamp cannot be set: {type(error).__name__}: {error}"
                    log.exception("a lamp cannot be set", extra={"kind": "lamp_error"})
            self._lamp_error = lamp_error
            self._closing.wait(STEP_S)
