"""The status file: what it counts, and what makes the state worse."""

import time

import numpy as np
import pytest

from edge.config import Config
from edge.indicator import Signal
from edge.service import Service
from edge.status import signal_of
from tests.listener import SR, Judge, Scripted, Watch, seconds, status


def silence(n):
    """``n`` blocks of half a second of digital silence."""
    return [np.zeros(SR // 2, dtype=np.float32)] * n


def test_every_window_is_counted_as_what_it_was(make, tmp_path):
    judge = Judge()
    judge.script = [0.1, float("nan"), 0.1]
    service = make([*seconds(10), *silence(4)], judge)
    service.run()
    told = status(tmp_path)
    # Seven windows of sound, one of them with a bad answer; four with silence at their end.
    assert told["windows_due"] == 11
    assert told["windows_judged"] == 6
    assert told["windows_unknown"] == 5
    assert told["windows_skipped"] == 0
    # A window that is silent for a quarter has too little sound; more silence is a flat line.
    assert told["unknown_reasons"] == {"bad_answer": 1, "silence": 1, "flat_line": 3}
    assert (told["last_verdict"], told["last_p_knocking"]) == ("unknown", None)
    assert told["last_reason"] == "flat_line"
    assert (told["alerts"], told["alert"]) == (0, False)
    assert told["problems"] == []


def test_what_the_microphone_counted_is_told(make, tmp_path):
    source = Scripted(seconds(5))
    service = make(source)
    assert [service.describe()[name] for name in ("gaps", "restarts", "overflows")] == [0, 0, 0]
    source.gaps, source.restarts, source.overflows = 3, 2, 7
    service.run()
    assert [status(tmp_path)[name] for name in ("gaps", "restarts", "overflows")] == [3, 2, 7]


def test_sound_that_is_lost_again_and_again_is_no_good_listening(make, tmp_path):
    """Each gap costs windows, so the lamp must not say that nothing was found."""
    source = Scripted([])

    def lose():
        source.gaps += 1

    watch = Watch()
    source.steps = [*seconds(8), lose, lose, watch, lose, watch, *seconds(2)]
    watch.service = service = make(source)
    service.run()
    assert watch.shown == [Signal.LISTENING, Signal.DEGRADED]
    assert status(tmp_path)["problems"] == ["sound is being lost: 3 gaps in the last minute"]


def test_a_card_that_drops_samples_is_told_of(make, tmp_path):
    source = Scripted([])
    watch = Watch()

    def slow():
        source.rate_error = -0.3

    source.steps = [*seconds(8), slow, watch, *seconds(2)]
    watch.service = service = make(source)
    service.run()
    assert watch.shown == [Signal.DEGRADED]
    assert ["30% too few" in problem for problem in status(tmp_path)["problems"]] == [True]


def test_nothing_is_normal_or_knocking_while_samples_are_missing(make):
    """Sound with missing samples still looks like an engine, and like a knocking one."""
    source, judge = Scripted([]), Judge()
    judge.script = [0.1] * 2 + [0.9] * 4 + [0.9] * 8 + [0.1] * 20
    told = Watch(Service.describe)

    def rate(error):
        source.rate_error = error

    source.steps = [
        *seconds(9),  # four of them knock: one fewer than an alert needs
        lambda: rate(-0.3),
        *seconds(8),
        told,
        lambda: rate(0.0),
        told,
        *seconds(2),
        told,
    ]
    told.service = service = make(source, judge)
    service.run()
    wrong, mended, judged = told.shown
    assert [wrong[f"last_{what}"] for what in ("verdict", "p_knocking", "reason")] == [
        "unknown",
        None,
        "wrong_rate",
    ]
    assert (wrong["windows_judged"], wrong["unknown_reasons"]) == (6, {"wrong_rate": 8})
    assert [shown["state"] for shown in told.shown] == ["unjudged", "unjudged", "listening"]
    assert ["30% too few" in problem for problem in wrong["problems"]] == [True]
    assert (mended["problems"], judged["last_verdict"]) == ([], "normal")
    assert service.counters.alerts == 0


def test_an_alert_from_before_samples_were_missing_ends_by_its_own_rules(make):
    source, judge = Scripted([]), Judge()
    judge.script = [0.9] * 100

    def slow():
        source.rate_error = -0.3

    watch = Watch()
    source.steps = [*seconds(10), watch, slow, *seconds(18), watch, *seconds(2), watch]
    watch.service = service = make(source, judge)
    service.run()
    # The alert ends ten seconds after the last window that could be judged.
    assert watch.shown == [Signal.KNOCKING, Signal.KNOCKING, Signal.UNJUDGED]
    assert service.counters.alerts == 1


def test_what_the_gate_finds_in_sound_at_a_wrong_rate_is_said(make):
    source = Scripted([*seconds(3), *silence(8)])
    source.rate_error = -0.3
    service = make(source)
    service.run()
    assert service.describe()["last_reason"] == "flat_line"
    assert service.describe()["state"] == "unjudged"


def test_the_status_of_a_lost_microphone_holds_no_verdict(make):
    watch = Watch(lambda service: service.describe()["last_verdict"])
    service = make([*seconds(6), watch, "microphone lost", watch])
    watch.service = service
    service.run()
    assert watch.shown == ["normal", None]


def test_a_microphone_that_is_back_says_nothing_from_before_it_was_lost(make, monkeypatch):
    """It must report neither that all is well, as nothing was judged yet, nor a failed part."""
    now = [time.monotonic()]
    monkeypatch.setattr("edge.service.time.monotonic", lambda: now[0])
    watch = Watch(lambda service: (service.describe()["state"], service.describe()["last_verdict"]))

    def pass_time():
        now[0] += 20

    steps = [*seconds(6), watch, "cable out", pass_time, watch, *seconds(3), watch, *seconds(1)]
    watch.service = service = make([*steps, watch])
    service._indicator._clock = lambda: now[0]
    service._indicator.window_done()
    service.run()
    assert watch.shown == [
        ("listening", "normal"),
        ("microphone_lost", None),
        ("microphone_lost", None),  # there is sound, but not two seconds of it
        ("listening", "normal"),
    ]


def test_sound_that_comes_back_in_pieces_is_a_fault_in_the_end(make, monkeypatch):
    now = [time.monotonic()]
    monkeypatch.setattr("edge.service.time.monotonic", lambda: now[0])
    watch = Watch()

    def pass_time():
        now[0] += 6

    steps = [*seconds(6), "cable out", *seconds(2), watch, pass_time, watch]
    watch.service = service = make(steps)
    service._indicator._clock = lambda: now[0]
    service._indicator.window_done()
    service.run()
    assert watch.shown == [Signal.MICROPHONE_LOST, Signal.FAULT]


def test_records_are_counted(make, tmp_path):
    judge = Judge()
    judge.script = [0.9] * 8 + [0.1] * 30 + [0.9] * 8
    service = make(seconds(60), judge)  # the second alert comes too soon for a record
    service.run()
    told = status(tmp_path)
    assert (told["alerts"], told["records_written"], told["records_skipped"]) == (2, 1, 1)


WEAK = "under-voltage: the supply is too weak, once since the start"
HELD_BACK = "throttled: the processor is slowed down, it is too hot"


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ((79.9, False, False), []),
        ((None, None, None), []),
        ((80.0, False, False), ["hot: 80 degrees Celsius"]),
        ((40.0, True, False), [WEAK]),
        ((91.0, True, True), ["hot: 91 degrees Celsius", HELD_BACK, WEAK]),
        ((60.0, False, True), [HELD_BACK]),
    ],
)
def test_a_board_that_suffers_is_told_of(make, monkeypatch, found, words):
    temperature, low, throttled = found
    monkeypatch.setattr("edge.health.temperature_c", lambda: temperature)
    monkeypatch.setattr("edge.health.under_voltage", lambda: low)
    monkeypatch.setattr("edge.health.throttled", lambda: throttled)
    watch = Watch()
    service = make([*seconds(8), watch], config=Config())
    watch.service = service
    service.run()
    told = service.describe()
    assert told["problems"] == words
    assert (told["temperature_c"], told["under_voltage"]) == (temperature, low)
    assert told["throttled"] is throttled
    assert watch.shown == [Signal.DEGRADED if words else Signal.LISTENING]


def test_a_supply_too_weak_for_two_seconds_is_seen_and_told_of_for_a_minute(make, monkeypatch):
    """The kernel reports a dip for two seconds only and then forgets it."""
    began = time.monotonic()
    now = [began]
    monkeypatch.setattr("edge.service.time.monotonic", lambda: now[0])
    monkeypatch.setattr("edge.health.under_voltage", lambda: 8 <= now[0] - began < 10)
    shown: dict[float, tuple[bool, int]] = {}

    def pass_time():
        now[0] += 0.5
        seen = service.describe()["under_voltage_seen"]
        shown[now[0] - began] = (signal_of(service.state()) is Signal.DEGRADED, seen)

    steps = [step for block in seconds(160) for step in (block, pass_time)]
    service = make(steps)
    service._indicator._clock = lambda: now[0]
    service._indicator.window_done()
    service.run()
    assert shown[7.5] == (False, 0)
    assert {told for at, told in shown.items() if 10 <= at < 68} == {(True, 1)}
    assert {told for at, told in shown.items() if at >= 71} == {(False, 1)}


def test_the_limit_of_heat_is_that_of_the_settings(make, monkeypatch):
    monkeypatch.setattr("edge.health.temperature_c", lambda: 70.0)
    service = make(seconds(5), config=Config.from_toml("[health]\nhot_c = 70", "my.toml"))
    service.run()
    assert service.describe()["problems"] == ["hot: 70 degrees Celsius"]


def test_sound_that_is_gone_is_not_said_to_have_come_back(make):
    watch = Watch(lambda service: service.describe()["problems"])
    watch.service = service = make([*seconds(6), "cable out", watch, *seconds(1), watch])
    service.run()
    back = "sound has come back, but no window of it has been processed yet"
    assert watch.shown == [["cable out"], [back]]


def test_records_that_were_skipped_are_counted_apart_from_those_written(make, tmp_path):
    judge = Judge()
    judge.script = [0.1] * 4 + 3 * ([0.9] * 8 + [0.1] * 30)
    service = make(seconds(120), judge)  # three alerts, 19 s apart; records at least 30 s
    service.run()
    told = status(tmp_path)
    counted = [told[name] for name in ("alerts", "records_written", "records_skipped")]
    assert counted == [
        service.counters.alerts,
        service._blackbox.written,
        service._blackbox.skipped,
    ]
    assert counted == [3, 2, 1]
