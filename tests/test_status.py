"""What state the lamp shows in each case; the gravest comes first."""

import itertools
import time
from typing import Any

import pytest

from edge.gate import Fault
from edge.indicator import Signal
from edge.pipeline import Verdict
from edge.status import (
    LOSS_GAPS,
    LOSS_PERIOD_S,
    UNDER_VOLTAGE_S,
    Board,
    Losses,
    State,
    facts_of_alert,
    problems_of,
    signal_of,
    verdict_of,
)

NORMAL = Verdict(0, 2, "normal", 0.1, "", None)
UNKNOWN = Verdict(0, 2, "unknown", None, "hiss", None)
OFF = Verdict(0, 2, "unknown", None, Fault.WRONG_RATE, None)
BAD = Verdict(0, 2, "unknown", None, Fault.BAD_ANSWER, None)


def test_nothing_wrong_is_listening_and_no_words():
    state = State(last=NORMAL)
    assert signal_of(state) is Signal.LISTENING
    assert problems_of(state) == []


# Each takes precedence over all that follow.
RANKS: list[tuple[dict[str, Any], Signal]] = [
    ({"source_problem": "cable out"}, Signal.MICROPHONE_LOST),
    ({"stale": True}, Signal.FAULT),
    ({"recovering": True}, Signal.MICROPHONE_LOST),
    ({"last": None}, Signal.STARTING),
    ({"alert": True}, Signal.KNOCKING),
    ({"faults": ("", "disk full")}, Signal.FAULT),
    ({"last": UNKNOWN}, Signal.UNJUDGED),
    ({"degraded": ("", "hot")}, Signal.DEGRADED),
]


@pytest.mark.parametrize("rank", range(len(RANKS)))
def test_the_worst_is_shown(rank):
    case, shown = RANKS[rank]
    assert signal_of(State(**{"last": NORMAL, **case})) is shown
    for less, _ in RANKS[rank + 1 :]:
        assert signal_of(State(**{"last": NORMAL, **less, **case})) is shown


def test_a_bad_answer_is_a_fault_but_not_while_it_knocks():
    assert signal_of(State(last=BAD)) is Signal.FAULT
    assert signal_of(State(last=BAD, alert=True)) is Signal.KNOCKING


def test_sound_at_a_wrong_rate_is_not_judged_and_the_lamp_says_so():
    assert signal_of(State(last=OFF, degraded=("30% too few",))) is Signal.UNJUDGED
    assert signal_of(State(last=OFF, faults=("full",))) is Signal.FAULT
    assert signal_of(State(last=OFF, alert=True)) is Signal.KNOCKING  # which began on good sound
    assert signal_of(State(last=NORMAL, degraded=("30% too few",))) is Signal.DEGRADED  # just found


def test_a_microphone_that_is_being_opened_is_not_lost():
    assert signal_of(State(source_problem="not yet", opening=True)) is Signal.STARTING


def test_sound_that_has_come_back_is_not_well_before_a_window_of_it_is_judged():
    (told,) = problems_of(State(recovering=True))
    assert "come back" in told


def test_no_lamp_on_a_workstation_is_a_remark_and_no_fault():
    state = State(last=NORMAL, remarks=("no GPIO",))
    assert signal_of(state) is Signal.LISTENING
    assert problems_of(state) == ["no GPIO"]


def test_all_that_is_wrong_is_told_the_gravest_first():
    state = State("gone", stale=True, faults=("a", "", "b"), remarks=("r",), degraded=("", "d"))
    told = problems_of(state)
    assert [told[0], *told[2:]] == ["gone", "a", "b", "r", "d"]
    assert "5 s" in told[1]


def test_the_lamp_never_says_well_with_a_fault_or_a_dead_microphone():
    for problem, stale, alert, fault, last in itertools.product(
        ("", "gone"), (False, True), (False, True), ("", "full"), (None, NORMAL, UNKNOWN, BAD, OFF)
    ):
        state = State(problem, stale=stale, alert=alert, faults=(fault,), last=last)
        well = signal_of(state) is Signal.LISTENING
        assert well == (last is NORMAL and not (problem or stale or alert or fault))


@pytest.mark.parametrize("gaps", [LOSS_GAPS - 1, LOSS_GAPS])
def test_sound_that_is_lost_again_and_again(gaps):
    losses = Losses()
    assert losses.count(0, 100) == ""
    for n in range(gaps):
        told = losses.count(n + 1, 100 + n)
    assert bool(told) == (gaps >= LOSS_GAPS)
    assert (f"{gaps} gaps" in told) == (gaps >= LOSS_GAPS)
    # Only the last minute counts.
    assert bool(losses.count(gaps, 100 + LOSS_PERIOD_S)) == (gaps >= LOSS_GAPS)
    assert losses.count(gaps, 101.1 + LOSS_PERIOD_S) == ""
    # Memory stays bounded, whatever the number.
    assert "1000 gaps" in losses.count(10**9, 300)


def board(*found):
    """A board observed once per second from 100 s on, as in ``found``."""
    made = Board()
    for second, (temperature, low) in enumerate(found):
        made.update({"temperature_c": temperature, "under_voltage": low}, 100.0 + second)
    return made


def test_heat_and_supply():
    assert Board().problems(80, 0) == []
    assert Board().as_status() == {"under_voltage_seen": 0}
    assert board((None, None)).problems(80, 100) == []
    assert board((79.9, False)).problems(80, 100) == []
    assert board((80.0, True)).problems(80, 100) == [
        "hot: 80 degrees Celsius",
        "under-voltage: the supply is too weak, once since the start",
    ]
    assert board((91.0, True), (40.0, True)).problems(80, 101) == [
        "under-voltage: the supply is too weak, once since the start"  # no longer hot
    ]


def test_a_processor_that_is_held_back_is_told_of():
    made = Board()
    for throttled, words in (
        (None, []),
        (False, []),
        (True, ["throttled: the processor is slowed down, it is too hot"]),
        (False, []),
    ):
        made.update({"temperature_c": 60.0, "under_voltage": False, "throttled": throttled}, 100)
        assert made.problems(80, 100) == words
        assert made.as_status()["throttled"] is throttled


def test_a_supply_that_was_too_weak_for_a_moment_is_told_of_and_counted():
    was = board((40.0, True), (40.0, True), (40.0, False), (40.0, True), (40.0, False))
    (told,) = was.problems(80, 103 + UNDER_VOLTAGE_S)
    assert told.endswith("2 times since the start")
    assert was.problems(80, 103.1 + UNDER_VOLTAGE_S) == []
    assert was.as_status() == {
        "temperature_c": 40.0,
        "under_voltage": False,
        "under_voltage_seen": 2,
    }


@pytest.mark.parametrize("gone", [{"stale": True}, {"source_problem": "cable out"}])
def test_a_verdict_that_no_longer_holds_is_not_told(gone):
    assert list(verdict_of(State(last=NORMAL)).values()) == ["normal", 0.1, ""]
    assert set(verdict_of(State(last=NORMAL, **gone)).values()) == {None}


def test_the_facts_of_an_alert_are_those_of_the_window_that_started_it(monkeypatch):
    monkeypatch.setattr("edge.health.clock_is_synchronised", lambda: False)
    facts = facts_of_alert(Verdict(7.25, 9.25, "knocking", 0.9, "", None), "/golf.wav", 0.4, 3)
    assert (facts["start_s"], facts["p_knocking"], facts["threshold"], facts["alert"]) == (
        *(7.25, 0.9, 0.4, 3),
    )
    assert facts["source"] == "/golf.wav"
    assert facts["monotonic_s"] == pytest.approx(time.monotonic(), abs=60)


def test_the_time_of_an_alert_is_utc_wherever_the_machine_is(monkeypatch):
    monkeypatch.setattr("edge.health.clock_is_synchronised", lambda: True)
    monkeypatch.setenv("TZ", "XYZ-5")  # five hours ahead of UTC
    time.tzset()
    try:
        told = facts_of_alert(Verdict(0, 2, "knocking", 0.9, "", None), "mic", 0.5, 1)["time"]
    finally:
        monkeypatch.undo()
        time.tzset()
    now = time.time()
    near = {time.strftime("%Y-%m-%dT%H:%M", time.gmtime(now - ago)) for ago in (0, 60)}
    assert told[:16] in near
    assert told.endswith("Z")


def test_a_supply_that_stays_too_weak_is_told_of_for_as_long():
    (told,) = board(*[(40.0, True)] * 200).problems(80, 299 + UNDER_VOLTAGE_S)
    assert told.endswith("once since the start")
