"""Sound with so many gaps that no window is whole, and sound that does not come at all."""

import pytest

from edge.indicator import Signal
from edge.service import Service
from edge.window import Block
from tests.audio import noise
from tests.listener import SR, Judge, Watch, seconds, status

HOP_S = 0.1


def stretch(begin_s, seconds, *, gap):
    """Blocks of HOP_S, ``seconds`` in all, from ``begin_s`` on; ``gap``: one before the first."""
    y = noise(seconds)
    n = round(HOP_S * SR)
    return [
        Block(y[i : i + n], begin_s + i / SR, gap and i == 0) for i in range(0, y.size - n + 1, n)
    ]


def pieces(begin_s, count, *, every_s=1.5):
    """``count`` stretches, one every ``every_s``, each with a gap of HOP_S before it."""
    starts = (begin_s + every_s * i for i in range(count))
    return [block for at in starts for block in stretch(at, every_s - HOP_S, gap=True)]


@pytest.fixture
def timed(make, monkeypatch):
    """Play blocks to a service whose clock follows the sound; calls ``watch`` after each block."""

    def play(blocks, watch, judge=None):
        now_s = [0.0]
        monkeypatch.setattr("edge.indicator.HANG_S", 1e9)  # its thread runs in real time
        monkeypatch.setattr("edge.service.time.monotonic", lambda: now_s[0])

        def heard(block):
            now_s[0] = block.start_s + block.y.size / SR

        steps = [step for b in blocks for step in ((lambda b=b: heard(b)), b, watch)]
        watch.service = service = make(steps, judge)
        service._indicator._clock = lambda: now_s[0]
        service._indicator.window_done()
        service.run()
        return service

    return play


def test_sound_in_pieces_is_unknown_with_the_reason_and_no_fault(timed, tmp_path):
    watch = Watch(Service.describe)
    whole = stretch(0, 4, gap=False)
    service = timed([*whole, *pieces(4, 20), *stretch(34, 5, gap=True)], watch)
    told = watch.shown
    # Windows of the 4 s before the gaps and of the 5 s after: from 2 s on, one per half second.
    assert service.counters.windows_judged == 5 + 7
    assert {shown["state"] for shown in told} == {"starting", "listening", "degraded", "unjudged"}
    in_pieces = told[len(whole) + 45 : len(whole) + 280]  # the fourth piece to the last
    assert {shown["state"] for shown in in_pieces} == {"unjudged"}
    assert {shown["last_reason"] for shown in in_pieces} == {"gap"}
    assert {shown["last_p_knocking"] for shown in in_pieces} == {None}
    assert "sound is being lost: 20 gaps in the last minute" in in_pieces[-1]["problems"]
    # One per half second of 27 s, as in whole sound, but each noticed up to one block later.
    (reason,) = told[-1]["unknown_reasons"].items()
    assert reason == ("gap", pytest.approx(27 / (0.5 + HOP_S), abs=4))
    assert told[-1]["windows_due"] == told[-1]["windows_judged"] + told[-1]["windows_unknown"]
    assert told[-1]["last_verdict"] == "normal"  # all is well again
    assert status(tmp_path)["unknown_reasons"] == told[-1]["unknown_reasons"]


@pytest.mark.parametrize("begin_s", [0.0, 54_321.0])
def test_a_single_gap_costs_no_window_that_is_counted(timed, begin_s):
    """Nor do the first two seconds, whatever the time at which sound begins."""
    watch = Watch()
    service = timed([*stretch(begin_s, 4, gap=True), *stretch(begin_s + 4.2, 4, gap=True)], watch)
    assert service.counters.unknown_reasons == {}
    assert service.counters.windows_due == 10


def test_a_microphone_that_is_back_has_two_seconds_before_anything_is_missing(make):
    watch = Watch(lambda service: dict(service.counters.unknown_reasons))
    steps = [*stretch(0, 4, gap=False), "cable out", *stretch(60, 1.9, gap=True), watch]
    watch.service = service = make(steps)
    service.run()
    assert watch.shown == [{}]


def test_an_alert_ends_while_sound_comes_in_pieces_too_short_to_judge(make):
    """A microphone that drops out each second never gives a whole window."""
    judge = Judge()
    judge.script = [0.9] * 20
    short = [Block(noise(0.5), 10 + 0.6 * i, gap=True) for i in range(20)]  # to 22 s
    blocks = [Block(y, 0.5 * i) for i, y in enumerate(seconds(20))]
    service = make([*blocks, *short], judge)
    service.run()
    assert service.counters.alerts == 1
    assert not service.describe()["alert"]
    assert set(service.counters.unknown_reasons) == {"gap"}


def test_sound_that_stays_away_without_a_reason_is_a_fault_and_not_listening(make):
    watch, told = Watch(), Watch(Service.describe)
    clock = [0.0]
    steps = [*seconds(4), watch]

    def later():
        clock[0] += 20.0  # nothing comes, and the microphone has not said so

    steps += [later, watch, told, *seconds(4), watch]
    service = make(steps)
    service._indicator._clock = lambda: clock[0]
    service._indicator.window_done()
    watch.service = told.service = service
    service.run()
    assert watch.shown == [Signal.LISTENING, Signal.FAULT, Signal.LISTENING]
    assert told.shown[0]["state"] == "fault"
    assert "no window was processed for 5 s" in told.shown[0]["problems"]
