"""Whether sound comes at the rate it is said to have: its samples against the clock.

A card that drops USB frames, or that runs at another rate than it claims, tells nobody; its sound
is spliced or out of tune, and the network's answers are worth nothing. No clock in here.

Not told from sound that is late: what is missing without a word between gaps that come every 20 s
or more often, or less than about 1 s of it between two gaps.
"""

from __future__ import annotations

import math

STRETCH_S = 20.0  # without a declared gap; in less, jitter looks like a wrong rate
TOLERANCE = 0.03  # share that may be missing or too much; clocks of sound cards keep within 0.001
# Sound that is late is no loss: a driver may hold 1 s of it, a board that is busy keep the callback
# waiting. What is missing for good grows beyond that.
HELD_S = 5.0
DRIVER_S = 1.0  # it may fill up unseen and be dropped at a gap, each time: no sign of a wrong rate
CLEARS_S = 5.0  # a stretch that a gap cuts short may still show that all is well, from so long on


class Pace:
    """Compares one stretch of sound after another with the time it took to arrive."""

    def __init__(self) -> None:
        self._began_s = self._last_s = self._sound_s = 0.0
        self._error = 0.0
        self._late_s: list[float] = []  # of each packet of the stretch, against its begin
        self._owed_s = 0.0  # too much or missing in stretches that gaps cut short, so far

    def push(self, sound_s: float, at_s: float, *, gap: bool) -> float:
        """Sound of ``sound_s`` arrived at ``at_s``: the relative error of the rate, 0.0 if fine.

        -0.3: three in ten samples are missing. It stays as it was until a stretch says otherwise.
        ``gap``: sound before this was lost, and that is known; a new stretch begins.
        """
        if gap:
            self._cut_short()
            self._begin(at_s)
            return self._error
        self._sound_s += sound_s
        self._last_s = at_s
        passed_s = at_s - self._began_s
        off_s = self._sound_s - passed_s
        self._late_s.append(-off_s)
        if passed_s < STRETCH_S:
            return self._error
        if abs(off_s) <= TOLERANCE * passed_s:
            self._error = self._owed_s = 0.0
            self._begin(at_s)
        elif abs(off_s) > HELD_S:
            self._error, self._owed_s = off_s / passed_s, 0.0
            self._begin(at_s)
        elif self._error:  # what was lost before it was mended must not be held against the rest
            self._begin(at_s)
        return self._error  # in between it may be late only: the stretch goes on

    def _cut_short(self) -> None:
        """A gap ends the stretch before it is long enough to tell: what it shows is added up.

        Else a gap now and then would hide for ever what is missing without a word.
        """
        passed_s = self._last_s - self._began_s
        off_s = self._sound_s - passed_s
        if passed_s >= CLEARS_S and abs(off_s) <= TOLERANCE * passed_s:
            self._error = self._owed_s = 0.0
        elif self._owed_s * off_s < 0:
            # It was late, and has come. In full and from the shortest stretch, too: so lateness
            # that comes and goes never adds up to more than can be held.
            left_s = max(0.0, abs(self._owed_s) - abs(off_s))
            self._owed_s = math.copysign(left_s, self._owed_s)
        elif passed_s >= STRETCH_S and abs(off_s) > DRIVER_S:
            self._owed_s += _steady(off_s, self._late_s)
            if abs(self._owed_s) > HELD_S:
                self._error, self._owed_s = off_s / passed_s, 0.0

    def _begin(self, at_s: float) -> None:
        """What arrived until ``at_s`` counts no more."""
        self._began_s = self._last_s = at_s
        self._sound_s = 0.0
        self._late_s = []


def _steady(off_s: float, late_s: list[float]) -> float:
    """How much of ``off_s`` came about bit by bit, as at a wrong rate, and not at one time.

    Around a gap sound comes late, or is lost a little before or after it is said to be: a jump.
    Between the thirds of a stretch, each in the middle of its values, there is only one then.
    """
    third = len(late_s) // 3
    if not third:
        return 0.0
    first, middle, last = (
        sorted(late_s[i * third : (i + 1) * third])[third // 2] for i in range(3)
    )
    sign = math.copysign(1.0, off_s)
    least_s = min(abs(off_s), *(3 * sign * step for step in (first - middle, middle - last)))
    return sign * max(0.0, least_s)


def rate_in_words(error: float) -> str:
    """What is wrong with a rate that is off by ``error``; "" where nothing is."""
    if not error:
        return ""
    what = "misses" if error < 0 else "delivers too many:"
    return (
        f"the microphone {what} {abs(error):.0%} of its samples: try another USB socket, or other "
        "audio.rates"
    )
