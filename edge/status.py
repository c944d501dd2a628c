"""What the listener says of itself: one state, and what lamp, status and records make of it."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from edge import health
from edge.gate import Fault
from edge.indicator import STALE_S, Signal
from edge.pipeline import Verdict

LOSSES, LOSSES_S = 3, 60.0  # so many gaps within so long are no accident any more
UNDER_VOLTAGE_S = 60.0  # after the last time it is still told of


@dataclass(frozen=True)
class State:
    """All that the lamp depends on, at one moment. Texts are for people; "" is nothing wrong."""

    source_problem: str = ""  # why there is no sound
    opening: bool = False  # it is opened for the first time, which may take a while
    back: bool = False  # there is sound again, but no window of it is judged yet
    stale: bool = False  # no window went through for STALE_S
    alert: bool = False  # the detector reports knocking
    last: Verdict | None = None  # on the latest window
    faults: tuple[str, ...] = ()  # parts that have failed
    remarks: tuple[str, ...] = ()  # what is worth a word, but no fault: no GPIO on a workstation
    degraded: tuple[str, ...] = ()  # what makes it worse than it should be


def signal_of(state: State) -> Signal:
    """What the lamp should say: the worst of what is the case."""
    last = state.last
    cases = [
        (Signal.MICROPHONE_LOST, bool(state.source_problem) and not state.opening),
        (Signal.FAULT, state.stale),
        (Signal.MICROPHONE_LOST, state.back),
        (Signal.STARTING, last is None),
        (Signal.KNOCKING, state.alert),
        (Signal.FAULT, last is not None and last.reason == Fault.BAD_ANSWER),
        (Signal.FAULT, any(state.faults)),
        (Signal.UNJUDGED, last is not None and last.verdict == "unknown"),
        (Signal.DEGRADED, any(state.degraded)),
    ]
    return next((shown for shown, holds in cases if holds), Signal.LISTENING)


def problems_of(state: State) -> list[str]:
    """Everything that is wrong, in words, the gravest first."""
    stale = f"no window went through for {STALE_S:g} s" if state.stale else ""
    back = "sound has come back, no window of it is judged yet" if state.back else ""
    told = (state.source_problem, stale, back, *state.faults, *state.remarks, *state.degraded)
    return [problem for problem in told if problem]


def verdict_of(state: State) -> dict[str, Any]:
    """The last verdict, for the status file: none where it says nothing of now."""
    last = None if state.stale or state.source_problem else state.last
    return {
        "last_verdict": last.verdict if last else None,
        "last_p_knocking": last.p_knocking if last else None,
        "last_reason": last.reason if last else None,
    }


def facts_of_alert(verdict: Verdict, threshold: float, number: int) -> dict[str, Any]:
    """What goes into a record: ``verdict`` started the alert of that ``number``, now."""
    facts = {
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
    """Heat and supply, as they were found last.

    A weak supply fails for a moment, while a pump or the starter runs: each time is counted, and
    told of for a while after it.
    """

    def __init__(self) -> None:
        self._found: dict[str, Any] = {}
        self._low, self._low_at, self._seen = False, -float("inf"), 0

    def look(self, found: dict[str, Any], now: float) -> None:
        """Take what health.board found at ``now`` s; None where it is unknown."""
        low = bool(found.get("under_voltage"))
        self._seen += low and not self._low
        self._low_at = now if low else self._low_at
        self._found, self._low = found, low

    def problems(self, hot_c: float, now: float) -> list[str]:
        """What makes it worse at ``now`` s."""
        told = []
        temperature = self._found.get("temperature_c")
        if temperature is not None and temperature >= hot_c:
            told.append(f"hot: {temperature:.0f} degrees Celsius")
        if self._found.get("throttled"):
            told.append("throttled: the processor is held back, it is too hot")
        if now - self._low_at <= UNDER_VOLTAGE_S:
            times = "once" if self._seen == 1 else f"{self._seen} times"
            told.append(f"under-voltage: the supply is too weak, {times} since the start")
        return told

    def told(self) -> dict[str, Any]:
        """For the status file."""
        return {**self._found, "under_voltage_seen": self._seen}


class Losses:
    """Whether sound is lost again and again: each gap costs the window that it falls into."""

    def __init__(self) -> None:
        self._seen = 0
        self._times: deque[float] = deque(maxlen=1000)

    def count(self, gaps: int, now: float) -> str:
        """Take the number of ``gaps`` since the start, at ``now`` s; "" or what is wrong."""
        self._times.extend([now] * min(gaps - self._seen, 1000))
        self._seen = gaps
        while self._times and now - self._times[0] > LOSSES_S:
            self._times.popleft()
        n = len(self._times)
        return f"sound is being lost: {n} gaps in the last minute" if n >= LOSSES else ""


@dataclass
class Counters:
    """What has happened since the start."""

    windows_due: int = 0
    windows_judged: int = 0
    windows_unknown: int = 0
    windows_skipped: int = 0  # analysis was behind
    alerts: int = 0
    unknown_reasons: dict[str, int] = field(default_factory=dict)

    def count(self, verdict: Verdict) -> None:
        """Take the ``verdict`` on a window that was due."""
        if verdict.p_knocking is None:
            self.windows_unknown += 1
            before = self.unknown_reasons.get(verdict.reason, 0)
            self.unknown_reasons[verdict.reason] = before + 1
        else:
            self.windows_judged += 1
