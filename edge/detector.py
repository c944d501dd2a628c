"""From verdicts on windows to one alert: pure arithmetic on the times it is given.

One window may err; an engine that knocks does so in many. K of the last N windows start an alert;
it lasts a minimum time and ends when the knocking has gone, or when nothing certain has been heard
for long enough. Times are seconds on any clock that only goes forward.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class DetectorConfig:
    """When to light the lamp, and when to put it out."""

    windows: int = 8  # N: how many of the latest windows are looked at
    needed: int = 5  # K: that many of them knocking start an alert
    keep: int = 2  # an alert goes on while at least so many of them knock (hysteresis)
    hold_s: float = 5.0  # an alert lasts at least this long
    clear_s: float = 10.0  # an alert ends after so long without a knocking window, hold_s over
    refractory_s: float = 2.0  # after an alert no other starts for so long


@dataclass(frozen=True)
class Detection:
    """What the detector makes of the latest window."""

    started: bool = False  # an alert, with this window
    ended: bool = False  # the alert, with this window


class Detector:
    """Keeps the latest windows and the alert."""

    def __init__(self, config: DetectorConfig) -> None:
        self.config = config
        self._recent: deque[tuple[int, bool]] = deque(maxlen=config.windows)  # number, knocks
        self._windows = 0
        self._alert_since: float | None = None
        self._last_knock = -math.inf
        self._last_end = -math.inf
        self._last_judged = -math.inf

    @property
    def alert(self) -> bool:
        """Whether knocking is reported."""
        return self._alert_since is not None

    def update(self, knocks: bool | None, time_s: float) -> Detection:
        """Take the next window: whether it knocks, None if it could not be judged, and its end.

        A window that could not be judged speaks neither for knocking nor against it, so it only
        lets time pass. What an alert starts on lies within twice as many windows as are looked at,
        and after ``clear_s`` without one that could be judged it is forgotten: yesterday's knocks
        must not add up with today's, nor the few that pass a gate with those of minutes ago.
        """
        self._windows += 1
        if self._alert_since is None:
            while self._recent and self._windows - self._recent[0][0] >= 2 * self.config.windows:
                self._recent.popleft()
        if knocks is not None:
            if self._alert_since is None and time_s - self._last_judged >= self.config.clear_s:
                self._recent.clear()
            self._last_judged = time_s
            self._recent.append((self._windows, knocks))
            if knocks:
                self._last_knock = time_s
        return self._decide(time_s)

    def pass_time(self, time_s: float) -> Detection:
        """Let time pass without a window: an alert ends even if nothing comes any more."""
        return self._decide(time_s)

    def _decide(self, time_s: float) -> Detection:
        knocking = sum(knocks for _, knocks in self._recent)
        if self._alert_since is None:
            rested = time_s - self._last_end >= self.config.refractory_s
            if rested and knocking >= self.config.needed and self._last_knock == time_s:
                self._alert_since = time_s
                return Detection(started=True)
            return Detection()
        held = time_s - self._alert_since >= self.config.hold_s
        silent = time_s - self._last_knock >= self.config.clear_s
        if held and (silent or knocking < self.config.keep):
            self._alert_since = None
            self._last_end = time_s
            self._recent.clear()
            return Detection(ended=True)
        return Detection()
