"""The lamp. It must not lie: dark means not running, and a heartbeat means windows are judged.

The patterns are one table; the README and ``edge run --help`` print it. gpiozero is known to this
module alone; on a machine without GPIO the lamp's changes go to the log.
"""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from edge.config import IndicatorConfig

log = logging.getLogger(__name__)


class Signal(StrEnum):
    """What the lamp can say; the worst news first."""

    FAULT = "fault"
    MICROPHONE_LOST = "microphone_lost"
    KNOCKING = "knocking"
    DEGRADED = "degraded"
    UNJUDGED = "unjudged"
    LISTENING = "listening"
    STARTING = "starting"


@dataclass(frozen=True)
class Pattern:
    """Seconds lit and dark in turn, over and over; and what it means."""

    seconds: tuple[float, ...]
    looks: str
    means: str


PATTERNS: dict[Signal, Pattern] = {
    Signal.KNOCKING: Pattern((1.0,), "solid", "the engine knocks"),
    Signal.LISTENING: Pattern(
        (0.1, 1.9), "a short blink every 2 s", "listening, nothing found; one blink, four windows"
    ),
    Signal.UNJUDGED: Pattern(
        (0.1, 3.9), "a short blink every 4 s", "listening, but engine off or sound unfit to judge"
    ),
    Signal.DEGRADED: Pattern(
        (0.1, 0.2, 0.1, 1.6), "two blinks every 2 s", "listening, but behind, hot, low on power"
    ),
    Signal.MICROPHONE_LOST: Pattern((0.12, 0.13), "fast, 4 a second", "no sound arrives"),
    Signal.FAULT: Pattern(
        (0.1, 0.2, 0.1, 0.2, 0.1, 1.3), "three blinks every 2 s", "a part has failed: edge doctor"
    ),
    Signal.STARTING: Pattern((1.0,), "solid for 1 s at start", "lamp test"),
}
STEP_S = 0.05
STALE_S = 5.0  # without a window for so long the heartbeat stops: nobody is listening
NEEDS_WINDOWS = {Signal.LISTENING, Signal.UNJUDGED, Signal.DEGRADED, Signal.KNOCKING}


def lit(signal: Signal, seconds: float) -> bool:
    """Whether the lamp is lit ``seconds`` after ``signal`` began."""
    pattern = PATTERNS[signal].seconds
    at = seconds % sum(pattern)
    for number, duration in enumerate(pattern):
        if at < duration:
            return number % 2 == 0
        at -= duration
    return False


def pattern_table() -> str:
    """The patterns for people, one a line."""
    rows = [("lamp", "meaning")]
    rows += [(pattern.looks, pattern.means) for pattern in PATTERNS.values()]
    rows.append(("dark", "not running, or no power"))
    return "\n".join(f"  {looks:<26}{means}" for looks, means in rows)


class Lamp(Protocol):
    """Something that is on or off."""

    def on(self) -> None:
        """Light it."""

    def off(self) -> None:
        """Put it out."""

    def close(self) -> None:
        """Let go of it."""


class LogLamp:
    """Stands in where there is no GPIO; what it would show is in the log anyway."""

    def on(self) -> None:
        """Nothing to light."""

    def off(self) -> None:
        """Nothing to put out."""

    def close(self) -> None:
        """Nothing to let go of."""


def open_lamp(pin: int, *, active_high: bool) -> tuple[Lamp, str]:
    """The lamp on BCM ``pin``, and "" or the reason why it is only a log."""
    if pin < 0:
        return LogLamp(), ""
    try:
        from gpiozero import LED  # noqa: PLC0415 - the one place that knows it

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one line for every back end it tries
            led: Any = LED(pin, active_high=active_high)
    except Exception as error:  # gpiozero and its back ends raise whatever they like
        return LogLamp(), f"no lamp on GPIO {pin}: {' '.join(str(error).split()) or type(error)}"
    return led, ""


class Indicator:
    """Shows one signal on the lamps, from a thread of its own."""

    def __init__(
        self, config: IndicatorConfig, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Open the lamps and start with the lamp test; ``clock`` is for tests."""
        self._clock = clock
        self._lock = threading.Lock()
        self._signal, self._since = Signal.STARTING, clock()
        self._window_at = clock()
        self._led, self.problem = open_lamp(config.led_pin, active_high=config.active_high)
        self._extra = [
            open_lamp(pin, active_high=config.active_high)
            for pin in (config.knock_pin, config.buzzer_pin)
            if pin >= 0
        ]
        for _, problem in self._extra:
            self.problem = self.problem or problem
        if self.problem:
            log.warning("%s; what it would show is logged instead", self.problem)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def signal(self) -> Signal:
        """What is shown."""
        return self._signal

    def show(self, signal: Signal) -> None:
        """Show ``signal`` from now on; showing it again changes nothing."""
        with self._lock:
            if signal is not self._signal:
                log.info("lamp: %s (%s)", PATTERNS[signal].looks, signal)
                self._signal, self._since = signal, self._clock()

    def window_done(self) -> None:
        """A window was really gone through; the heartbeat lives on this."""
        self._window_at = self._clock()

    def level(self) -> bool:
        """Whether the lamp should be lit now."""
        now = self._clock()
        with self._lock:
            signal, since = self._signal, self._since
        if signal in NEEDS_WINDOWS and now - self._window_at > STALE_S:
            signal = Signal.FAULT
        return lit(signal, now - since)

    def close(self) -> None:
        """All lamps off, and let go."""
        self._ended.set()
        self._thread.join()
        for lamp in self._lamps():
            with suppress(Exception):  # on the way out nothing may keep the others lit
                lamp.off()
                lamp.close()

    def _lamps(self) -> list[Lamp]:
        return [self._led, *(lamp for lamp, _ in self._extra)]

    def _run(self) -> None:
        while not self._ended.is_set():
            self._set(self._led, lit=self.level())
            for lamp, _ in self._extra:
                self._set(lamp, lit=self._signal in (Signal.KNOCKING, Signal.STARTING))
            self._ended.wait(STEP_S)

    def _set(self, lamp: Lamp, *, lit: bool) -> None:
        try:
            if lit:
                lamp.on()
            else:
                lamp.off()
        except Exception as error:  # the pin was taken away; go on without
            if not self.problem:
                self.problem = f"the lamp fails: {error}"
                log.error("%s", self.problem)
