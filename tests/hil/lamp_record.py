"""What the lamp's pin showed, from the record that ``tests.hil.recorded_lamp`` writes.

The lamp's thread sets the pin twenty times a second, whether its level changes or not. So the
record also shows its own gaps: between two settings that are far apart a whole blink may be
missing, and three blinks less one look like two. Only what lies between such gaps is known.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from edge.indicator import PATTERNS, Signal

# The length of a blink: none is missed while the pin is set more often. A change is late by at
# most as much, and the long pauses that tell the patterns apart differ by three times that or more.
LATE_S = 0.1
# More than one period of most patterns: where one pattern follows another, the end of the first and
# the beginning of the second may together look like one period of a third.
LEAST_S = 2.1

Setting = tuple[float, bool]  # monotonic seconds, lit


@dataclass(frozen=True)
class Run:
    """A time during which the pin's level did not change."""

    at: float  # monotonic seconds
    lit: bool
    seconds: float


def settings_of(path: Path) -> list[Setting]:
    """The recorded settings of the pin; empty if it was never set."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    pairs = (line.split() for line in lines if line.endswith("\n"))  # the last may be incomplete
    return [(float(at), level == "1") for at, level in pairs]


def stretches(settings: list[Setting]) -> list[list[Run]]:
    """Stretches of the record without a gap; the first and last run of each may be cut short."""
    known: list[list[Run]] = []
    last_s = -math.inf
    for at, lit in settings:
        if at - last_s >= LATE_S:
            known.append([Run(at, lit, 0.0)])
        run = known[-1][-1]
        known[-1][-1] = Run(run.at, run.lit, at - run.at)
        if lit is not run.lit:
            known[-1].append(Run(at, lit, 0.0))
        last_s = at
    return known


def shown(settings: list[Setting], since: float = -math.inf) -> dict[Signal, float]:
    """The signals whose patterns the pin has shown after ``since``, and when each first began."""
    found: dict[Signal, float] = {}
    for runs in stretches([(at, lit) for at, lit in settings if at > since]):
        for signal in set(Signal) - set(found):
            at = _first(runs, PATTERNS[signal].durations_s)
            if at is not None:
                found[signal] = at
    return found


def _first(runs: list[Run], pattern: tuple[float, ...]) -> float | None:
    """When ``runs`` first show ``pattern``, from any phase of it, for LEAST_S; or None."""
    if len(pattern) == 1:  # always lit
        return next((run.at for run in runs if run.lit and run.seconds >= LEAST_S), None)
    needed = len(pattern) * math.ceil(LEAST_S / sum(pattern))
    whole = runs[1:-1]
    for start in range(len(whole) - needed + 1):
        piece = whole[start : start + needed]
        for shift in range(0 if piece[0].lit else 1, len(pattern), 2):
            nominal = [pattern[(shift + i) % len(pattern)] for i in range(needed)]
            if all(abs(r.seconds - n) < LATE_S for r, n in zip(piece, nominal, strict=True)):
                return piece[0].at
    return None
