"""A lamp's record is never read as another pattern, or the table of faults would be wrong."""

import itertools

import numpy as np
import pytest

from edge.indicator import PATTERNS, PHASE_LOCKED, STEP_S, Signal, lit
from tests.hil.lamp_record import LATE_S, settings_of, shown

# All but the lamp test, which is shown once and has a period of 30 s.
ONES = [signal for signal in Signal if signal is not Signal.STARTING]
BUSY_S = 0.099  # at most, between settings on a busy machine: just less than a blink
LATER_S = 9.0  # two periods of the slowest pattern, and a margin for the first, cut off


def ticks(seconds, gap_s, rng):
    """Times at which the lamp's thread sets the pin, up to ``gap_s`` apart."""
    return np.cumsum(rng.uniform(0.01, gap_s, size=round(seconds / 0.01)))


def record(level, seconds, gap_s=STEP_S, seed=0):
    """The settings of a pin that follows ``level``, a function of time, for ``seconds``."""
    times = ticks(seconds, gap_s, np.random.default_rng(seed))
    return [(float(t), level(float(t))) for t in times[times < seconds]]


def blinks(*pattern):
    """The level, as a function of time, of a lamp with a pattern that is none of ours."""

    def level(seconds):
        at = seconds % sum(pattern)
        ends = list(itertools.accumulate(pattern))
        return next(i for i, end in enumerate(ends) if at < end) % 2 == 0

    return level


@pytest.mark.parametrize("signal", ONES)
@pytest.mark.parametrize("gap_s", [STEP_S, BUSY_S])
def test_each_pattern_is_recognised_and_as_no_other(signal, gap_s):
    """From any phase, and however irregularly the lamp's thread runs."""
    for seed in range(40):
        settings = record(lambda t: lit(signal, t), 3 * LATER_S, gap_s, seed)
        assert set(shown(settings)) == {signal}
        assert set(shown(settings, since=0.1 * seed)) == {signal}


def test_the_lamp_test_is_recognised_once_all_of_it_was_seen():
    settings = record(lambda t: lit(Signal.STARTING, t), 61.0)
    assert set(shown(settings, since=1.5)) == {Signal.STARTING}
    assert shown([s for s in settings if s[0] < 29]) == {}


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(ONES, 2)))
def test_while_one_takes_over_from_another_there_is_no_third(first, second):
    """For changes at any phase, as the indicator makes them: some keep the phase."""
    for change in np.arange(4.03, 8.0, 0.1):
        since = 0.0 if {first, second} <= PHASE_LOCKED else change

        def level(t, change=change, since=since):
            return lit(first, t) if t < change else lit(second, t - since)

        settings = record(level, change + LATER_S, BUSY_S)
        assert second in shown(settings)
        assert set(shown(settings)) <= {first, second}
        assert set(shown(settings, since=change)) == {second}


@pytest.mark.parametrize("signal", ONES)
def test_a_blink_that_nobody_could_see_makes_no_other_pattern(signal):
    """Such as on a busy machine that misses every third blink."""
    settings = record(lambda t: lit(signal, t), 60.0)
    changes = [t for (_, a), (t, b) in itertools.pairwise(settings) if b and not a]
    for lost in (changes[::3], changes[1::3], changes[2::3]):
        seen = [s for s in settings if not any(0 <= s[0] - t < 0.1 for t in lost)]
        assert set(shown(seen)) <= {signal}


@pytest.mark.parametrize(
    "pattern",
    [
        (0.1, 0.9),
        (0.1, 2.9),
        (0.1, 4.9),
        (0.1, 0.2, 0.1, 0.9),
        (0.1, 0.2, 0.1, 2.6),
        (0.1, 0.2, 0.1, 0.2, 0.1, 2.3),
        (0.1, 0.2, 0.1, 0.2, 0.1, 0.2, 0.1, 1.0),
        (0.4, 0.4),
        (1.9, 0.1),
        (1.0, 1.0),
    ],
)
def test_what_is_none_of_ours_is_recognised_as_none(pattern):
    for seed in range(10):
        assert shown(record(blinks(*pattern), 30.0, seed=seed)) == {}


def test_a_lamp_that_is_dark_or_went_dark_shows_nothing():
    assert shown([]) == {}
    assert shown(record(lambda _: False, 30.0)) == {}
    went = record(lambda t: t < 9 and lit(Signal.LISTENING, t), 30.0)
    assert set(shown(went)) == {Signal.LISTENING}
    assert shown(went, since=7.5) == {}


def test_one_blink_is_no_pattern_yet():
    """Only a whole period shows how long the pause is."""
    for signal in ONES:
        if signal is not Signal.KNOCKING:
            period = sum(PATTERNS[signal].durations_s)
            assert shown(record(lambda t, signal=signal: lit(signal, t), 0.95 * period)) == {}


def test_it_says_when_a_pattern_began():
    settings = record(
        lambda t: lit(Signal.LISTENING, t) if t < 6 else lit(Signal.FAULT, t - 6), 15.0
    )
    assert 6 <= shown(settings)[Signal.FAULT] < 6 + LATE_S


def test_the_record_is_read_as_it_is_written(tmp_path):
    path = tmp_path / "lamp"
    assert settings_of(path) == []
    path.write_text("12.345 1\n12.395 0\n12.4")
    assert settings_of(path) == [(12.345, True), (12.395, False)]
