import itertools
import logging
import threading
from pathlib import Path

import pytest

from edge.config import IndicatorConfig
from edge.indicator import (
    FIRST_WINDOW_S,
    PATTERNS,
    STALE_S,
    Indicator,
    Signal,
    lit,
    pattern_table,
)
from edge.journal import BURST, RateLimit
from tests.wait import Clock

pytestmark = pytest.mark.usefixtures("mock_pins")


def after(hundredths):
    """Seconds since 100.0 as the clock of a test has them, to the last bit."""
    return 100.0 + hundredths / 100 - 100.0


def shape(signal):
    """Times of a pattern's changes within 8 s, in steps of 10 ms."""
    levels = [lit(signal, i / 100) for i in range(800)]
    return [i for i in range(1, 800) if levels[i] != levels[i - 1]]


def test_every_signal_has_a_pattern_of_its_own():
    assert set(PATTERNS) == set(Signal)
    assert len({tuple(shape(s)) for s in Signal}) == len(Signal)
    assert all(any(lit(s, i / 100) for i in range(800)) for s in Signal)  # none is dark


def test_solid_means_knocking_and_nothing_else():
    solid = [s for s in Signal if all(lit(s, i / 100) for i in range(200))]
    assert solid == [Signal.KNOCKING]


def test_the_table_tells_all():
    for pattern in PATTERNS.values():
        assert pattern.description in pattern_table()
    assert "dark" in pattern_table()


def test_what_it_settles_on_is_logged_though_the_log_left_changes_out(caplog, monkeypatch):
    clock = Clock()
    monkeypatch.setattr("edge.journal.time.monotonic", clock)
    caplog.handler.addFilter(limit := RateLimit())
    caplog.set_level(logging.INFO)
    indicator = Indicator(IndicatorConfig(led_pin=-1), clock=clock)

    def settle(flips):
        caplog.clear()
        for _ in range(flips):
            clock.now += 1
            indicator.show(Signal.LISTENING)
            indicator.show(Signal.UNJUDGED)
        for _ in range(100):
            clock.now += 1
            indicator.watch()
        return [m for m in caplog.messages if m.startswith("lamp:")]

    try:
        assert settle(13)[-1] == "lamp: still a short blink every 4 s (unjudged)"
        assert not any("still" in said for said in settle(2))
    finally:
        caplog.handler.removeFilter(limit)
        indicator.close()


def trace(steps, shown):
    """The lamp in steps of 10 ms, while step i is told to show ``shown(i)``, if anything."""
    clock = Clock()
    indicator = Indicator(IndicatorConfig(led_pin=-1), clock=clock)
    levels = []
    for step in range(steps):
        clock.now = 100.0 + step / 100
        indicator.window_done()
        if (signal := shown(step)) is not None:
            indicator.show(signal)
        levels.append(indicator.levels()[0])
    indicator.close()
    return levels


def test_showing_the_same_again_changes_nothing():
    """The service says it with every window: a pattern begun anew each time would look solid."""
    levels = trace(400, lambda step: Signal.LISTENING if step % 25 == 0 else None)
    assert levels == [lit(Signal.LISTENING, after(step)) for step in range(400)]


def test_sound_at_the_edge_of_what_can_be_judged_blinks_no_faster():
    """With every window another signal: neither of their patterns blinks twice within 1.8 s."""
    both = [Signal.LISTENING, Signal.UNJUDGED]
    levels = trace(3000, lambda step: both[step // 50 % 2] if step % 50 == 0 else None)
    blinks = [i for i in range(1, 3000) if levels[i] and not levels[i - 1]]
    assert 7 <= len(blinks) <= 16
    assert min(b - a for a, b in itertools.pairwise(blinks)) >= 180


def test_an_alarm_begins_with_its_own_pattern():
    clock = Clock()
    indicator = Indicator(IndicatorConfig(led_pin=-1), clock=clock)
    for signal in (Signal.LISTENING, Signal.MICROPHONE_LOST, Signal.LISTENING):
        clock.now += 0.77
        indicator.window_done()
        indicator.show(signal)
        assert indicator.levels()[0] == lit(signal, 0.0)
        clock.now += 0.11
        assert indicator.levels()[0] == lit(signal, 0.11)
    indicator.close()


def test_a_flood_of_changes_hides_no_fault_in_the_journal(caplog):
    indicator = Indicator(IndicatorConfig(led_pin=-1))
    caplog.set_level("INFO", "edge.indicator")
    limit = RateLimit()
    caplog.handler.addFilter(limit)
    try:
        for _ in range(30):
            indicator.show(Signal.UNJUDGED)
            indicator.show(Signal.LISTENING)
        indicator.show(Signal.FAULT)
    finally:
        caplog.handler.removeFilter(limit)
        indicator.close()
    assert len(caplog.messages) == 2 * BURST + 1
    assert caplog.messages[-1].endswith("(fault)")


def test_no_windows_no_heartbeat():
    clock = Clock()
    indicator = Indicator(IndicatorConfig(led_pin=-1), clock=clock)
    indicator.show(Signal.LISTENING)
    indicator.window_done()
    assert not indicator.stale
    shown = []
    for step in range(1200):
        clock.now = 100.0 + step / 100
        shown.append(indicator.levels()[0])
    edge = round(100 * STALE_S)
    assert shown[:edge] == [lit(Signal.LISTENING, after(i)) for i in range(edge)]
    assert shown[edge + 1 :] == [lit(Signal.FAULT, after(i)) for i in range(edge + 1, 1200)]
    assert shown[edge + 1 :] != [lit(Signal.LISTENING, after(i)) for i in range(edge + 1, 1200)]
    assert indicator.stale
    indicator.window_done()
    assert not indicator.stale
    indicator.close()


def test_a_start_that_gets_nowhere_looks_like_a_fault_and_never_like_a_knock():
    clock = Clock()
    indicator = Indicator(IndicatorConfig(led_pin=-1), clock=clock)
    traces = []
    for step in range(3000):
        clock.now = 100.0 + step / 100
        traces.append(indicator.levels())
    assert all(traces[i] == (True, True) for i in range(99))  # the lamp test, of all lamps
    assert not any(any(levels) for levels in traces[101 : round(100 * FIRST_WINDOW_S)])
    late = traces[round(100 * FIRST_WINDOW_S) + 1 :]
    first = round(100 * FIRST_WINDOW_S) + 1
    assert [lamp for lamp, _ in late] == [lit(Signal.FAULT, after(i)) for i in range(first, 3000)]
    assert not any(knocks for _, knocks in late)
    indicator.close()


def test_the_readme_shows_the_same_table():
    readme = (Path(__file__).resolve().parents[1] / "README.md").read_text()
    for pattern in PATTERNS.values():
        assert f"| {pattern.description} | {pattern.meaning} |" in readme


def test_a_log_that_hangs_does_not_hold_up_the_lamp():
    """The journal may be full; then the lamp must still go from knocking to fault."""
    clock, hangs, go_on = Clock(), threading.Event(), threading.Event()

    class Stuck(logging.Handler):
        def emit(self, record):
            hangs.set()
            go_on.wait(10)

    indicator = Indicator(IndicatorConfig(led_pin=-1), clock=clock)
    handler, told = Stuck(), logging.getLogger("edge.indicator")
    told.addHandler(handler)
    before = told.level
    told.setLevel(logging.INFO)
    try:
        thread = threading.Thread(target=indicator.show, args=(Signal.KNOCKING,))
        thread.start()
        assert hangs.wait(5)
        answers = []
        asking = threading.Thread(target=lambda: answers.append(indicator.levels()))
        asking.start()
        asking.join(5)
        assert answers
    finally:
        go_on.set()
        thread.join()
        told.removeHandler(handler)
        told.setLevel(before)
        indicator.close()


def test_what_changes_from_window_to_window_keeps_the_phase():
    """Begun anew each time, two blinks at every change would look like a lost microphone."""
    three = [Signal.LISTENING, Signal.UNJUDGED, Signal.DEGRADED]
    levels = trace(1200, lambda step: three[step // 50 % 3] if step % 50 == 0 else None)
    assert levels == [lit(three[step // 50 % 3], after(step)) for step in range(1200)]


def test_a_microphone_that_stays_away_is_shown_as_lost_and_as_no_failed_part():
    clock = Clock()
    indicator = Indicator(IndicatorConfig(led_pin=-1), clock=clock)
    indicator.show(Signal.MICROPHONE_LOST)
    shown = []
    for step in range(3000):
        clock.now = 100.0 + step / 100
        shown.append(indicator.levels()[0])
    stale = indicator.stale
    indicator.close()
    assert stale
    assert shown == [lit(Signal.MICROPHONE_LOST, after(i)) for i in range(3000)]


def test_a_wait_that_is_restarted_at_the_start_is_no_shorter():
    clock = Clock()
    indicator = Indicator(IndicatorConfig(led_pin=-1), clock=clock)
    clock.now += 1
    indicator.expect_window()  # the microphone is missing, and may come any moment
    clock.now = 100.0 + FIRST_WINDOW_S
    stale = [indicator.stale]
    indicator.expect_window()
    for later_s in (STALE_S, STALE_S + 0.1):
        clock.now = 100.0 + FIRST_WINDOW_S + later_s
        stale.append(indicator.stale)
    indicator.close()
    assert stale == [False, False, True]
