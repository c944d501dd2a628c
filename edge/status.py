"""The state of the listener, and what the lamp, the status file and the records show of it."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from edge import health
from edge.gate import Fault
from edge.indicator import STALE_S, Signal
from edge.pipeline import Verdict

LOSS_GAPS, LOSS_PERIOD_S = 3, 60.0  # this many gaps within this many seconds count as losing sound
UNDER_VOLTAGE_S = 60.0  # how long an under-voltage is still reported after it was last seen


@dataclass(frozen=True)
class State:
    """Everything the lamp depends on, at one moment. Texts are for people; "" means no problem."""

    source_problem: str = ""  # why there is no sound
    opening: bool = False  # the source is being opened for the first time, which may take a while
    recovering: bool = False  # there is sound again, but no window of it has been processed yet
    stale: bool = False  # no window was processed for STALE_S
    alert: bool = False  # the detector reports knocking
    last: Verdict | None = None  # on the latest window
    faults: tuple[str, ...] = ()  # parts that have failed
    remarks: tuple[str, ...] = ()  # worth mentioning, but no fault: no GPIO on a workstation
    degraded: tuple[str, ...] = ()  # why it listens less well than it should


def signal_of(state: State) -> Signal:
    """The signal the lamp should show: the first, most serious, case that holds."""
    last = state.last
    cases = [
        (Signal.MICROPHONE_LOST, bool(state.source_problem) and not state.opening),
        (Signal.FAULT, state.stale),
        (Signal.MICROPHONE_LOST, state.recovering),
        (Signal.STARTING, last is None),
        (Signal.KNOCKING, state.alert),
        (Signal.FAULT, last is not None and last.reason == Fault.BAD_ANSWER),
        (Signal.FAULT, any(state.faults)),
        (Signal.UNJUDGED, last is not None and last.verdict == "unknown"),
        (Signal.DEGRADED, any(state.degraded)),
    ]
    return next((shown for shown, holds in cases if holds), Signal.LISTENING)


def problems_of(state: State) -> list[str]:
    """Everything that is wrong, in words, the most serious first."""
    stale = f"no window was processed for {STALE_S:g} s" if state.stale else ""
    back = "sound has come back, but no window of it has been processed yet"
    recovering = back if state.recovering else ""
    problems = (state.source_problem, stale, recovering, *state.faults, *state.remarks)
    return [problem for problem in (*problems, *state.degraded) if problem]


def verdict_of(state: State) -> dict[str, Any]:
    """The last verdict, for the status file; all None where it no longer describes the present."""
    last = None if state.stale or state.source_problem else state.last
    return {
        "last_verdict": last.verdict if last else None,
        "last_p_knocking": last.p_knocking if last else None,
        "last_reason": last.reason if last else None,
    }


def facts_of_alert(verdict: Verdict, source: str, threshold: float, number: int) -> dict[str, Any]:
    """The facts to record of alert ``number``, which ``verdict`` has just started.

    ``source``: what was listened to. The wall-clock ``time`` is included only if the clock has been
    synchronised since boot.
    """
    facts = {
        "source": source,
        "boot_id": health.boot_id(),
        "monotonic_s": round(time.monotonic(), 3),
        "start_s": round(verdict.start_s, 3),
        "p_knocking": verdict.p_knocking,
        "threshold": threshold,
        "alert": number,
    }
    if health.clock_is_synchronised():
        facts["time"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return facts


class Board:
    """The latest readings of edge.health.board: temperature, throttling, supply voltage.

    A weak supply dips only for a moment, while a pump or the starter runs: each dip is counted, and
    reported for UNDER_VOLTAGE_S afterwards.
    """

    def __init__(self) -> None:
        self._readings: dict[str, Any] = {}
        self._low, self._low_at, self._dips = False, -float("inf"), 0

    def update(self, readings: dict[str, Any], now: float) -> None:
        """Take the readings of health.board at ``now`` s; a reading is None where unknown."""
        low = bool(readings.get("under_voltage"))
        self._dips += low and not self._low
        self._low_at = now if low else self._low_at
        self._readings, self._low = readings, low

    def problems(self, hot_c: float, now: float) -> list[str]:
        """What is wrong with the board at ``now`` s, in words; ``hot_c`` degrees Celsius is hot."""
        problems = []
        temperature = self._readings.get("temperature_c")
        if temperature is not None and temperature >= hot_c:
            problems.append(f"hot: {temperature:.0f} degrees Celsius")
        if self._readings.get("throttled"):
            problems.append("throttled: the processor is slowed down, it is too hot")
        if now - self._low_at <= UNDER_VOLTAGE_S:
            times = "once" if self._dips == 1 else f"{self._dips} times"
            problems.append(f"under-voltage: the supply is too weak, {times} since the start")
        return problems

    def as_status(self) -> dict[str, Any]:
        """The entries for the status file."""
        return {**self._readings, "under_voltage_seen": self._dips}


class Losses:
    """Detects repeated loss of sound: no window is complete until two seconds after a gap."""

    def __init__(self) -> None:
        self._seen = 0
        self._times: deque[float] = deque(maxlen=1000)

    def count(self, gaps: int, now: float) -> str:
        """Take the number of ``gaps`` since the start, at ``now`` s; what is wrong, or ""."""
        self._times.extend([now] * min(gaps - self._seen, 1000))
        self._seen = gaps
        while self._times and now - self._times[0] > LOSS_PERIOD_S:
            self._times.popleft()
        n = len(self._times)
        return f"sound is being lost: {n} gaps in the last minute" if n >= LOSS_GAPS else ""


@dataclass
class Counters:
    """Counts of windows and alerts since the start."""

    windows_due: int = 0
    windows_judged: int = 0
    windows_unknown: int = 0
    windows_skipped: int = 0  # because analysis was behind
    alerts: int = 0
    unknown_reasons: dict[str, int] = field(default_factory=dict)

    def count(self, verdict: Verdict) -> None:
        """Count the ``verdict`` on a window that was due."""
        if verdict.p_knocking is None:
            self.windows_unknown += 1
            before = self.unknown_reasons.get(verdict.reason, 0)
            self.unknown_reasons[verdict.reason] = before + 1
        else:
            self.windows_judged += 1
