"""Turn verdicts on windows into alerts (debouncing). Pure arithmetic on the times it is given.

A single window may be wrong, but an engine that knocks does so in many. K knocking windows of the
last N start an alert. It lasts a minimum time and ends when the knocking has gone, or when no
window has knocked for long enough. Times are seconds on any monotonic clock.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class DetectorConfig:
    """When an alert starts, and when it ends."""

    windows: int = 8  # N: how many of the latest judged windows count
    needed: int = 5  # K: so many of them knocking start an alert
    keep: int = 2  # an alert lasts while at least so many of them knock (hysteresis)
    hold_s: float = 5.0  # an alert lasts at least this long
    clear_s: float = 10.0  # and ends, after hold_s, once no window has knocked for so long
    refractory_s: float = 2.0  # after an alert, none starts for so long


@dataclass(frozen=True)
class Detection:
    """What an update changed; at most one of the two is true."""

    started: bool = False  # an alert started
    ended: bool = False  # the alert ended


class Detector:
    """Keeps the latest verdicts and the state of the alert."""

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
        """Take the next window: whether it knocks (None if it could not be judged), and its end.

        A window that could not be judged is evidence neither for knocking nor against it; it only
        lets time pass. Without an alert, a verdict counts for 2 N windows at most, judged or not,
        and all are forgotten after ``clear_s`` without a judged window: yesterday's knocks must not
        add up with today's, nor the few that pass the gate now with those of minutes ago.
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
        """Let time pass without a window, so that an alert ends even if no more windows come."""
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
