"""The whole listener, on synthetic sound and with scripted answers in place of a network."""

import json
import os
import signal
import threading
import time

import numpy as np
import pytest
from PIL import Image

from edge.config import BlackBoxConfig, Config
from edge.detector import DetectorConfig
from edge.errors import ModelError, SignalError
from edge.frontend import FrontEnd
from edge.indicator import Signal
from edge.recording import Recording
from edge.replay import Replay
from edge.window import Block
from tests.audio import noise, wav_file
from tests.listener import SR, Blank, Clock, Judge, Watch, seconds, status
from tests.wait import wait_for


def test_every_window_that_is_due_is_judged(make, tmp_path):
    service = make(seconds(20))
    service.run()
    assert service.counters.windows_due == service.counters.windows_judged == 17
    assert status(tmp_path)["state"] == "stopped"
    assert service._source.closed


def test_the_log_tells_of_every_window_where_that_is_wanted(make, caplog):
    judge = Judge()
    judge.script = [0.25, 0.75]
    caplog.set_level("DEBUG", "edge.service")
    make([*seconds(5), *[np.zeros(SR // 2, dtype=np.float32)] * 4], judge).run()
    told = [line for line in caplog.messages if line.startswith("window to")]
    assert told[:2] == [
        "window to 2.0 s: normal, p = 0.250",
        "window to 2.5 s: knocking, p = 0.750",
    ]
    assert told[-1].endswith(": unknown, flat_line")
    assert len(told) == 6


def test_knocking_lights_the_lamp_and_leaves_one_record(make, tmp_path):
    judge = Judge()
    judge.script = [0.1] * 4 + [0.9] * 6 + [0.1] * 40
    watch = Watch()
    steps = []
    for block in seconds(60):
        steps += [block, watch]
    front_end = FrontEnd()
    service = make(steps, judge, front_end=front_end)
    watch.service = service
    service.run()
    assert service.counters.alerts == 1
    lit = [i for i, s in enumerate(watch.shown) if s is Signal.KNOCKING]
    # The fifth knocking window is number 8; the first window is complete with block 3.
    assert lit[0] == 3 + 8
    assert lit == list(range(lit[0], lit[0] + len(lit)))
    assert 5.0 <= len(lit) / 2 <= 6.0  # held 5 s
    wait_for(lambda: service._blackbox.written == 1)
    (record,) = [p for p in (tmp_path / "box").iterdir() if p.name.isdigit()]
    facts = json.loads((record / "alert.json").read_text())
    assert (facts["p_knocking"], facts["source"]) == (0.9, "USB Audio (hw:1,0)")
    assert status(tmp_path)["source"] == facts["source"]
    kept = Recording(record / "sound.wav").read()
    heard = np.concatenate(seconds(60))[: (lit[0] + 1) * SR // 2]
    assert np.abs(kept - heard[-kept.size :]).max() < 1e-4
    with Image.open(record / "picture.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), front_end.picture(heard[-2 * SR :]))


def test_silence_is_unjudged_and_never_listening(make):
    watch = Watch()
    steps = []
    for block in [*seconds(8), *[np.zeros(SR // 2, dtype=np.float32)] * 8]:
        steps += [block, watch]
    service = make(steps)
    watch.service = service
    service.run()
    assert watch.shown[:3] == [Signal.STARTING] * 3
    assert watch.shown[7] is Signal.LISTENING
    assert watch.shown[-1] is Signal.UNJUDGED
    # The first window with silence in it has one sample less than half a second of it: too little
    # for a flat line, but silent for a quarter of the time.
    assert service.counters.unknown_reasons == {"silence": 1, "flat_line": 7}


def test_a_lost_microphone_is_shown_even_during_an_alert(make):
    judge = Judge()
    judge.script = [0.9] * 50
    watch = Watch()
    steps = [*seconds(12), watch, "gone"]
    steps += [watch]
    service = make(steps, judge)
    watch.service = service
    service.run()
    assert watch.shown == [Signal.KNOCKING, Signal.MICROPHONE_LOST]


def test_what_the_service_finds_is_what_the_lamp_shows(make):
    judge = Judge()
    judge.script = [0.9] * 50
    watch = Watch(lambda service: service._indicator._signal)
    service = make([*seconds(12), watch, "gone", watch], judge)
    watch.service = service
    service.run()
    assert watch.shown == [Signal.KNOCKING, Signal.MICROPHONE_LOST]


def test_an_alert_ends_though_no_sound_comes_any_more(make, monkeypatch):
    judge = Judge()
    judge.script = [0.9] * 50

    clock = [time.monotonic()]

    def wait():
        clock[0] += 0.2

    monkeypatch.setattr("edge.service.time.monotonic", lambda: clock[0])
    config = Config(detector=DetectorConfig(hold_s=0, clear_s=0.6))
    watch = Watch(lambda service: service._detector.alert)
    steps = [*seconds(9), "gone", watch, wait, wait, wait, wait, watch]
    service = make(steps, judge, config)
    watch.service = service
    service.run()
    assert watch.shown == [True, False]


def test_a_broken_network_is_a_fault(make):
    judge = Judge()
    judge.script = [float("nan")] * 50
    watch = Watch()
    service = make([*seconds(8), watch], judge)
    watch.service = service
    service.run()
    assert watch.shown == [Signal.FAULT]
    assert service.counters.windows_judged == 0


@pytest.fixture
def clock(monkeypatch):
    """Simulated time for a service and its replayed source: no test waits for either."""
    clock = Clock()
    monkeypatch.setattr("edge.service.time", clock)
    monkeypatch.setattr("edge.replay.time", clock)
    return clock


def test_behind_it_skips_the_old_and_says_so(make, tmp_path, clock):
    class Slow(Judge):
        def predict(self, picture):
            clock.sleep(0.6)  # more than the half second between windows
            return super().predict(picture)

    wav = wav_file(tmp_path / "a.wav", noise(8).astype("f8"), SR)
    degraded: list[list[str]] = []
    source = Replay(Recording(wav), 1.0)
    service = make(source, Slow(), skip=True)
    judge_window = service._judge

    def judge_and_look(window):
        judge_window(window)
        degraded.append(service.describe()["problems"])

    service._judge = judge_and_look
    began_s = clock.now_s
    service.run()
    assert 8 <= clock.now_s - began_s < 8 + 2 * 0.6  # and at the end two more windows
    counters = service.counters
    # Thirteen windows from 2.0 s on, one per 0.5 s, but 0.6 s of work each: one in six is too many.
    assert counters.windows_due == 13
    assert counters.windows_skipped == 2
    assert counters.windows_judged + counters.windows_skipped == counters.windows_due
    assert any("behind" in words for found in degraded for words in found)


@pytest.mark.parametrize("rate", [8000, SR, 44_100])
def test_a_recording_played_as_fast_as_it_was_made_is_not_behind(make, tmp_path, clock, rate):
    wav = wav_file(tmp_path / "a.wav", noise(5, rate).astype("f8"), rate)
    service = make(Replay(Recording(wav), 1.0), skip=True)
    began_s = clock.now_s
    service.run()
    assert service.counters.windows_due == 7
    assert service.counters.windows_skipped == 0  # in window-long pieces, most were
    assert clock.now_s - began_s == pytest.approx(5, abs=1e-3)  # a resampler's last samples


def test_records_are_as_far_apart_as_their_sounds(make):
    """Not as their times of playing: at full speed a drive of an hour takes a minute."""
    judge = Judge()
    knocks = [0.9] * 8 + [0.1] * 32  # every 20 s
    judge.script = [0.1] * 4 + 3 * knocks
    config = Config(blackbox=BlackBoxConfig(min_interval_s=20))
    service = make(seconds(len(judge.script) + 3), judge, config)
    service.run()
    assert service.counters.alerts == 3
    wait_for(lambda: service._blackbox.written == 3)
    assert (service._blackbox.written, service._blackbox.skipped) == (3, 0)


def test_unfit_sound_is_worse_news_than_a_hot_board(make, monkeypatch):
    monkeypatch.setattr("edge.health.temperature_c", lambda: 85.0)
    watch = Watch()
    service = make([*seconds(8), watch, *[np.zeros(SR // 2, dtype=np.float32)] * 8, watch])
    watch.service = service
    service.run()
    assert watch.shown == [Signal.DEGRADED, Signal.UNJUDGED]
    assert "hot: 85 degrees Celsius" in service.describe()["problems"]


def test_threads_end_with_the_service(make):
    before = set(threading.enumerate())
    service = make(seconds(6))
    started = set(threading.enumerate()) - before
    assert len(started) == 2  # the lamp's and the black box's
    service.run()
    service._indicator.close()  # its owner closes it, not the service
    wait_for(lambda: not any(thread.is_alive() for thread in started))
    # Nor did it start any while it ran. Threads of other tests do not count.
    assert not set(threading.enumerate()) - before


def test_parts_whose_threads_hang_are_told_of(make, monkeypatch, caplog):
    """A hung thread cannot report itself: the service checks it."""
    goes_on = threading.Event()
    monkeypatch.setattr("edge.blackbox.STALL_S", -1.0)  # at once
    monkeypatch.setattr("edge.blackbox.BlackBox._prepare", lambda _: goes_on.wait(20))
    monkeypatch.setattr("edge.indicator.HANG_S", 0.0)
    monkeypatch.setattr("edge.indicator.Indicator._run", lambda _: None)
    service = make(seconds(8))
    wait_for(lambda: service._blackbox.problem)
    sent = []
    service._notify = lambda **fields: sent.append((service._indicator.hangs, fields))
    service.run()
    goes_on.set()
    assert "the lamp does not answer" in service._indicator.failure
    # Nobody sees what is heard: systemd is to restart it, at the start and later on.
    while_it_hangs = [fields for hangs, fields in sent if hangs]
    assert len(while_it_hangs) > 1
    assert not any(fields.keys() & {"WATCHDOG", "EXTEND_TIMEOUT_USEC"} for fields in while_it_hangs)
    assert ["the disk has not responded" in said for said in caplog.messages].count(True) == 1
    assert ["the lamp does not answer" in said for said in caplog.messages].count(True) == 1


def test_a_crash_is_no_stop_in_the_status(make, tmp_path):
    class Broken(Judge):
        def predict(self, picture):
            raise RuntimeError("bug")

    service = make(seconds(6), Broken())
    with pytest.raises(RuntimeError):
        service.run()
    assert status(tmp_path)["state"] == "fault"


@pytest.mark.parametrize("starts_s", [0.0, 12345.678, 100.1, 7.3, 86400.777])
def test_an_alert_in_sound_that_is_judged_ends_with_a_window(make, caplog, starts_s):
    """Times are inexact sums of 0.5 s; the alert must not end at a block between two windows."""
    caplog.set_level("INFO")
    judge = Judge()
    judge.script = [0.9] * 9
    y = noise(25)
    service = make(
        [Block(y[i : i + 1103], starts_s + i / SR) for i in range(0, y.size, 1103)], judge
    )
    service.run()
    assert service.counters.alerts == 1
    assert [said for said in caplog.messages if "alert ended" in said] == [
        f"alert ended at {starts_s + 9.5:.1f} s"  # seven of the last eight do not knock
    ]


def test_the_network_is_proved_once_and_before_anything_is_judged(make):
    order = []

    class Notes(Judge):
        def predict(self, picture):
            order.append("judged")
            return 0.1

    service = make(["not yet", *seconds(5)], Notes(), self_test=lambda: order.append("proved"))
    service.run()
    assert order == ["proved", "judged", "judged"]


def test_a_network_that_is_not_proved_judges_nothing(make):
    def refuse():
        raise ModelError("computes wrongly")

    judge = Judge()
    service = make(seconds(6), judge, self_test=refuse)
    with pytest.raises(ModelError):
        service.run()
    assert service.counters.windows_due == 0


def test_the_blank_picture_is_one_that_a_network_would_take():
    real, blank = FrontEnd(), Blank()
    picture = blank.picture(noise(2))
    assert (picture.shape, picture.dtype) == ((shown := real.picture(noise(2))).shape, shown.dtype)
    for front_end in (real, blank):
        with pytest.raises(SignalError):
            front_end.picture(noise(1))


def test_the_clock_goes_by_what_is_slept():
    clock = Clock()
    began_s = clock.monotonic()
    clock.sleep(0.25)
    assert clock.monotonic() - began_s == 0.25


def test_a_signal_after_the_end_of_a_recording_makes_it_no_interrupted_one(make):
    service = make(seconds(6))
    service.run()
    service.stop()
    assert not service.stopped
    stopped = make(seconds(6))
    stopped.stop()
    stopped.run()
    assert stopped.stopped


def test_the_network_is_not_proved_while_the_microphone_is_being_opened(make):
    order = []
    steps = ["not yet", lambda: order.append("opening"), *seconds(4)]
    make(steps, self_test=lambda: order.append("proved")).run()
    assert order == ["opening", "proved"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_listens_is_a_stop_and_no_fault(make, tmp_path, number):
    def stop():
        os.kill(os.getpid(), number)

    service = make([*seconds(6), stop, *seconds(6)])
    service.run()
    assert service.stopped
    assert (status(tmp_path)["state"], service.counters.windows_judged) == ("stopped", 3)
