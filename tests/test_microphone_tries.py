"""When the microphone counts as lost, and when it is opened again."""

from pathlib import Path

import pytest

from edge.config import AudioConfig
from edge.microphone import BACK_OFF_RESET_S, Microphone
from tests.captured import Later, gather, size
from tests.fake_capture import PACKET

SR = 22_050

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("script", ["3 say:gone die", "3 hang", "3 nonsense hang", "die"])
def test_whatever_happens_it_is_opened_again_for_ever(listening, script):
    microphone = listening(script)
    problems = set()

    def restarted(_):
        problems.add(microphone.problem)
        return microphone.restarts >= 3

    heard = gather(microphone, restarted, seconds=20)
    assert microphone.restarts >= 3
    assert problems - {"", "not opened yet"}
    if not script.startswith("die"):
        assert size(heard) >= 2 * 3 * PACKET


def test_a_capture_process_that_cannot_start_is_tried_again(listening, monkeypatch):
    microphone = listening("3 hang")

    def refuse(*_, **__):
        raise OSError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as full:
        full.setattr("edge.microphone.subprocess.Popen", refuse)
        assert microphone.read(0.1) == []
        assert "cannot be started: Resource temporarily unavailable" in microphone.problem
    heard = gather(microphone, lambda b: size(b) >= 2 * PACKET, seconds=10)
    assert size(heard) >= 2 * PACKET
    assert microphone.problem == ""


def test_a_process_that_does_not_die_is_left_and_not_joined_by_others(listening, monkeypatch):
    microphone = listening("3 hang", stall_s=60)
    gather(microphone, lambda b: size(b) >= 2 * PACKET)
    stuck = microphone._process
    waited, wait = [], stuck.wait

    def noted(timeout=None):
        waited.append(timeout)
        return wait(timeout)

    with monkeypatch.context() as kernel:
        kernel.setattr("edge.microphone.EXIT_TIMEOUT_S", 0.05)
        kernel.setattr(stuck, "kill", lambda: None)  # as in state D, where no signal arrives
        kernel.setattr(stuck, "wait", noted)
        microphone._give_up("no samples arrive")
        assert waited == [0.05]
        gather(microphone, lambda _: "driver hangs" in microphone.problem, seconds=5)
    assert "driver hangs" in microphone.problem
    assert microphone.restarts == 0
    stuck.kill()
    stuck.wait(5)
    heard = gather(microphone, lambda b: size(b) >= 2 * PACKET, seconds=10)
    assert size(heard) >= 2 * PACKET


def test_a_stall_is_noticed_in_time_and_then_forgiven(listening, monkeypatch):
    # A stall so long that no busy machine causes it.
    microphone = listening("2 hang", stall_s=1000)
    clock = Later()
    monkeypatch.setattr("edge.microphone.time", clock)
    # By the same clock as the reader, or the next process would be late as soon as it starts.
    monkeypatch.setattr("edge.capture_stream.time", clock)
    gather(microphone, lambda b: size(b) >= 2 * PACKET)
    clock.by_s = 900
    assert microphone.read(0) == []
    assert microphone.problem == ""
    clock.by_s = 1000
    assert microphone.read(0) == []
    assert microphone.problem == "no samples arrive"
    gather(microphone, lambda _: microphone.problem == "", seconds=10)
    assert microphone.problem == ""


def test_a_listener_that_stood_still_has_not_lost_its_microphone(listening, monkeypatch):
    """If it is stopped while it waits, sound that has come lies unread in the pipe."""
    microphone = listening("2 hang", stall_s=1000)
    clock = Later()
    monkeypatch.setattr("edge.microphone.time", clock)
    gather(microphone, lambda b: size(b) >= 2 * PACKET)
    take = microphone._stream.take

    def stand_still(timeout_s):
        clock.by_s = 2000
        return take(timeout_s)

    with monkeypatch.context() as stopped:
        stopped.setattr(microphone._stream, "take", stand_still)
        assert microphone.read(0) == []
    assert (microphone.problem, microphone.restarts) == ("", 0)
    assert microphone.read(0) == []  # now it was able to read, and nothing has come
    assert microphone.problem == "no samples arrive"


def test_a_microphone_that_opens_slowly_has_time(listening):
    microphone = listening("wait:1.2 3 hang", stall_s=0.5)
    assert size(gather(microphone, lambda b: size(b) >= 2 * PACKET)) >= 2 * PACKET
    assert microphone.restarts == 0


def test_after_steady_sound_the_next_try_comes_soon_again(listening, monkeypatch):
    monkeypatch.setattr("edge.microphone.BACK_OFF_RESET_S", 2.5 * PACKET / SR)
    microphone = listening("3 die")
    for _ in range(3):
        gather(microphone, lambda b: size(b) >= 3 * PACKET)
        gather(microphone, lambda _: bool(microphone.problem))
        assert microphone._failures == 1  # steady sound in between reset the count


@pytest.mark.parametrize("reset_s", [BACK_OFF_RESET_S, 1.5 * PACKET / SR])
def test_a_loose_plug_that_gives_a_little_each_time_is_tried_less_and_less_often(
    listening, monkeypatch, reset_s
):
    """Sound of several starts together, too, is no steady sound."""
    monkeypatch.setattr("edge.microphone.BACK_OFF_RESET_S", reset_s)
    microphone = listening("1 die")
    for failures in (1, 2, 3):
        gather(microphone, lambda b: size(b) > 0)
        gather(microphone, lambda _: bool(microphone.problem))
        assert microphone._failures == failures


def test_the_tries_are_as_far_apart_as_is_said(monkeypatch):
    clock = Later()
    monkeypatch.setattr("edge.microphone.time", clock)
    monkeypatch.setattr(
        "edge.microphone.start_capture", lambda _: (_ for _ in ()).throw(OSError(11, "full"))
    )
    microphone = Microphone(AudioConfig(), SR, command=["none"])
    waits = []
    for _ in range(7):
        assert microphone.read(0) == []
        waits.append(round(microphone._next_try - clock.monotonic()))
        clock.by_s += waits[-1] + 1
    assert waits == [1, 2, 5, 10, 30, 30, 30]


def test_a_microphone_that_opens_and_says_nothing_is_given_up_in_time(listening, monkeypatch):
    microphone = listening("hang", stall_s=1000)
    clock = Later()
    monkeypatch.setattr("edge.microphone.time", clock)
    microphone.read(0)
    clock.by_s = 9
    assert (microphone.read(0), microphone.opening) == ([], True)
    clock.by_s = 11
    microphone.read(0)
    assert microphone.problem == "no samples arrive"


def test_the_same_reason_is_said_once_and_what_has_failed_is_not_being_opened(monkeypatch, caplog):
    def refuse(_):
        raise OSError(11, "Resource temporarily unavailable")

    clock = Later()
    monkeypatch.setattr("edge.microphone.time", clock)
    monkeypatch.setattr("edge.microphone.start_capture", refuse)
    microphone = Microphone(AudioConfig(), SR, command=["none"])
    assert microphone.opening
    for _ in range(3):
        microphone.read(0)
        assert not microphone.opening
        clock.by_s += 31
    assert len([line for line in caplog.messages if line.startswith("microphone lost")]) == 1
