"""Whether sound arrives at its nominal sampling rate: samples counted against the clock.

A card that drops USB frames, or runs at another rate than it claims, reports nothing; its sound is
spliced or out of tune, and the network's answers are worthless. This module reads no clock itself.

Limits: unreported loss cannot be told from late sound if reported gaps come every 20 s or more
often, or if less than about 1 s is missing between two of them.
"""

from __future__ import annotations

import math

MIN_INTERVAL_S = 20.0  # without a reported gap; over less, jitter looks like a wrong rate
TOLERANCE = 0.03  # relative error allowed; clocks of sound cards are accurate to 0.001
# Late sound is not lost: a driver may hold back 1 s of it, and a busy board may delay the callback.
# What is really missing keeps growing beyond this.
MAX_LATENESS_S = 5.0
DRIVER_BUFFER_S = 1.0  # a driver's buffer may fill up and be dropped at every gap: not a wrong rate
CONFIRM_S = 5.0  # an interval cut short by a gap must be this long to show that the rate is right


class RateMonitor:
    """Compares one interval of sound after another with the time it took to arrive."""

    def __init__(self) -> None:
        self._start_s = self._last_s = self._sound_s = 0.0
        self._error = 0.0
        self._late_s: list[float] = []  # lateness of each packet, since the start of the interval
        self._carried_s = 0.0  # surplus (or, negative, loss) over the intervals that gaps cut short

    def push(self, sound_s: float, arrival_s: float, *, gap: bool) -> float:
        """Take ``sound_s`` seconds of sound that arrived at ``arrival_s``; returns the rate error.

        It is relative: -0.3 means that three in ten samples are missing, 0.0 that the rate is
        right. It keeps its value until a later interval changes it. ``gap``: sound before this was
        lost and reported as lost; a new interval begins.
        """
        if gap:
            self._end_at_gap()
            self._start_interval(arrival_s)
            return self._error
        self._sound_s += sound_s
        self._last_s = arrival_s
        elapsed_s = arrival_s - self._start_s
        surplus_s = self._sound_s - elapsed_s
        self._late_s.append(-surplus_s)
        if elapsed_s < MIN_INTERVAL_S:
            return self._error
        if abs(surplus_s) <= TOLERANCE * elapsed_s:
            self._error = self._carried_s = 0.0
            self._start_interval(arrival_s)
        elif abs(surplus_s) > MAX_LATENESS_S:
            self._error, self._carried_s = surplus_s / elapsed_s, 0.0
            self._start_interval(arrival_s)
        elif self._error:  # a loss from before the repair must not count against what follows
            self._start_interval(arrival_s)
        # Otherwise neither right nor clearly wrong: sound may be late, so the interval goes on.
        return self._error

    def _end_at_gap(self) -> None:
        """End an interval at a gap, before it is conclusive, and add its error to ``_carried_s``.

        Otherwise an occasional gap would hide an unreported loss for ever.
        """
        elapsed_s = self._last_s - self._start_s
        surplus_s = self._sound_s - elapsed_s
        if elapsed_s >= CONFIRM_S and abs(surplus_s) <= TOLERANCE * elapsed_s:
            self._error = self._carried_s = 0.0
        elif self._carried_s * surplus_s < 0:
            # Opposite sign: late sound has arrived. It counts in full, however short the interval,
            # so that lateness that comes and goes never adds up to more than MAX_LATENESS_S.
            remaining_s = max(0.0, abs(self._carried_s) - abs(surplus_s))
            self._carried_s = math.copysign(remaining_s, self._carried_s)
        elif elapsed_s >= MIN_INTERVAL_S and abs(surplus_s) > DRIVER_BUFFER_S:
            self._carried_s += _steady_part(surplus_s, self._late_s)
            if abs(self._carried_s) > MAX_LATENESS_S:
                self._error, self._carried_s = surplus_s / elapsed_s, 0.0

    def _start_interval(self, arrival_s: float) -> None:
        """Begin a new interval at ``arrival_s``."""
        self._start_s = self._last_s = arrival_s
        self._sound_s = 0.0
        self._late_s = []


def _steady_part(surplus_s: float, late_s: list[float]) -> float:
    """The part of ``surplus_s`` that built up steadily, as with a wrong rate, and not in one jump.

    Near a gap sound may come late, or be lost a little before or after the loss is reported: a
    jump. It shows in only one of the two steps between the medians of the interval's thirds; a
    wrong rate shows in both, and three times the smaller step is what it explains.
    """
    third = len(late_s) // 3
    if not third:
        return 0.0
    first, middle, last = (
        sorted(late_s[i * third : (i + 1) * third])[third // 2] for i in range(3)
    )
    sign = math.copysign(1.0, surplus_s)
    least_s = min(abs(surplus_s), *(3 * sign * step for step in (first - middle, middle - last)))
    return sign * max(0.0, least_s)


def rate_error_message(error: float) -> str:
    """A message for a rate whose relative error is ``error``; "" for 0."""
    if not error:
        return ""
    what = "too few" if error < 0 else "too many"
    return (
        f"the microphone delivers {abs(error):.0%} {what} samples: try another USB socket, or "
        "other audio.rates"
    )
