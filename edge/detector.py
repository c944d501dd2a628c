"""Turn verdicts on windows into alerts (debouncing). Pure arithmetic on the times it is given.

A single window may be wrong, but an engine that knocks does so in many. K knocking windows of the
last N start an alert. It lasts a minimum time and ends when fewer than ``keep`` of them knock, or
when none has knocked for ``clear_s``, for example because none could be judged. Times are seconds
on any monotonic clock.
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
class AlertChange:
    """What an update changed; at most one of the two is true."""

    started: bool = False  # an alert started
    ended: bool = False  # the alert ended


class Detector:
    """Keeps the latest verdicts and the state of the alert."""

    def __init__(self, config: DetectorConfig) -> None:
        self.config = config
        self._recent: deque[tuple[int, bool]] = deque(maxlen=config.windows)  # number, knocks
        self._n_windows = 0
        self._alert_since_s: float | None = None
        self._last_knock_s = -math.inf
        self._last_end_s = -math.inf
        self._last_judged_s = -math.inf

    @property
    def alert(self) -> bool:
        """Whether knocking is reported."""
        return self._alert_since_s is not None

    def update(self, knocks: bool | None, time_s: float) -> AlertChange:
        """Take the next window: whether it knocks (None if it could not be judged), and its end.

        A window that could not be judged is evidence neither for knocking nor against it; it only
        lets time pass. Without an alert, a verdict counts for 2 N windows at most, judged or not,
        and all are forgotten after ``clear_s`` without a judged window: yesterday's knocks must not
        add up with today's, nor the few that pass the gate now with those of minutes ago.
        """
        self._n_windows += 1
        if self._alert_since_s is None:
            while self._recent and self._n_windows - self._recent[0][0] >= 2 * self.config.windows:
                self._recent.popleft()
        if knocks is not None:
            if self._alert_since_s is None and time_s - self._last_judged_s >= self.config.clear_s:
                self._recent.clear()
            self._last_judged_s = time_s
            self._recent.append((self._n_windows, knocks))
            if knocks:
                self._last_knock_s = time_s
        return self._decide(time_s)

    def pass_time(self, time_s: float) -> AlertChange:
        """Let time pass without a window, so that an alert ends even if no more windows come."""
        return self._decide(time_s)

    def _decide(self, time_s: float) -> AlertChange:
        knocking = sum(knocks for _, knocks in self._recent)
        if self._alert_since_s is None:
            rested = time_s - self._last_end_s >= self.config.refractory_s
            if rested and knocking >= self.config.needed and self._last_knock_s == time_s:
                self._alert_since_s = time_s
                return AlertChange(started=True)
            return AlertChange()
        held = time_s - self._alert_since_s >= self.config.hold_s
        silent = time_s - self._last_knock_s >= self.config.clear_s
        if held and (silent or knocking < self.config.keep):
            self._alert_since_s = None
            self._last_end_s = time_s
            self._recent.clear()
            return AlertChange(ended=True)
        return AlertChange()
