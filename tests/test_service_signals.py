"""What the service shows on the lamp, in the status and to systemd, and when."""

import os
import shutil
import signal
import time
from typing import Any

import numpy as np
import pytest

from edge.blackbox import Alert
from edge.config import Config
from edge.errors import ConfigError
from edge.indicator import Signal
from edge.microphone import NOT_OPENED
from edge.service import BEHIND_S, Service
from tests.audio import noise
from tests.listener import SR, Clock, Judge, Scripted, Watch, seconds
from tests.wait import wait_for


def test_systemd_is_told_the_state(make):
    said = []
    service = make(["gone"])
    service._notify = lambda **fields: said.append(fields)
    service.run()
    assert any(fields.get("STATUS", "").startswith("microphone_lost") for fields in said)


def hang_up():
    os.kill(os.getpid(), signal.SIGHUP)


class Burst(Scripted):
    """A source whose sound arrives four seconds at a time."""

    def read(self, timeout_s):
        blocks = []
        for _ in range(min(8, len(self.steps))):
            blocks += super().read(timeout_s)
        return blocks or None


def test_behind_the_newest_window_is_judged(make):
    service = make(Burst(seconds(8)), skip=True)
    service.run()
    assert service.counters.windows_skipped == 4
    assert service._last_verdict.end_s == pytest.approx(4.0)


def test_it_is_behind_however_long_a_window_takes_but_not_while_it_starts(make, monkeypatch):
    clock = Clock()
    monkeypatch.setattr("edge.service.time", clock)

    class Slow(Judge):
        def predict(self, picture):
            clock.sleep(BEHIND_S + 1)
            return super().predict(picture)

    service = make(Burst(seconds(24)), Slow(), skip=True)
    behind, housekeeping = [], service._housekeeping

    def housekeep_and_look():
        housekeeping()
        behind.append(any("behind" in words for words in service.describe()["problems"]))

    service._housekeeping = housekeep_and_look
    service.run()
    assert behind == [False, True, True]


def test_that_it_is_behind_is_shown_before_another_window_is_judged(make):
    """On a slow board that may take seconds, in which the lamp must not say that all is well."""
    shown = []

    class Looks(Judge):
        def predict(self, picture):
            shown.append(service._indicator._signal)
            return super().predict(picture)

    service = make(Burst(seconds(24)), Looks(), skip=True)
    service.run()
    assert shown[1:] == [Signal.DEGRADED, Signal.DEGRADED]


def test_a_stop_while_the_network_is_proved_waits_for_no_window(make):
    def stop():
        service.stop()

    service = make(Burst(seconds(8)), self_test=stop)
    service.run()
    assert (service.counters.windows_due, service.stopped) == (0, True)


def test_the_heartbeat_comes_after_the_verdict(make):
    order = []

    class Notes(Judge):
        def predict(self, picture):
            order.append("judged")
            return 0.1

    service = make(seconds(5), Notes())
    service._indicator.window_done = lambda: order.append("beat")
    service.run()
    assert order == ["judged", "beat"] * 2


def test_good_settings_after_bad_ones_are_no_problem_any_more(make):
    answers = [ConfigError("no good"), Config()]

    def reload():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    watch = Watch()
    service = make(
        [*seconds(6), hang_up, watch, *seconds(2), hang_up, *seconds(2), watch], reload=reload
    )
    watch.service = service
    service.run()
    assert watch.shown[-1] is Signal.LISTENING
    assert service.describe()["problems"] == []


@pytest.fixture
def clock(monkeypatch):
    now = [time.monotonic()]
    monkeypatch.setattr("edge.service.time.monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("problem", "shown"), [(NOT_OPENED, Signal.STARTING), ("no microphone", Signal.MICROPHONE_LOST)]
)
def test_a_microphone_missing_from_the_start_is_lost(make, problem, shown):
    watch = Watch()
    service = make([problem, watch])
    watch.service = service
    service.run()
    assert watch.shown == [shown]


def put_a_file_in_its_place(box):
    """Replace the records' folder by a file, so that the next record fails, and every retry."""
    shutil.rmtree(box.directory)
    box.directory.write_text("in the way")
    assert box.keep(Alert(noise(1), None, {}, 0.0))
    wait_for(lambda: box.problem)


@pytest.mark.parametrize("part", ["_source", "_blackbox", "_indicator"])
def test_what_has_failed_is_told(make, tmp_path, part):
    def fail():
        if part == "_indicator":
            service._indicator._lamps[0].problem = "broken"
        elif part == "_blackbox":
            put_a_file_in_its_place(service._blackbox)
        else:
            service._source.problem = "broken"

    watch, told = Watch(), Watch(Service.describe)
    service = make([*seconds(6), fail, watch, told])
    watch.service = told.service = service
    wait_for(lambda: service._blackbox._write_tested)
    service.run()
    in_the_way = f"black box {tmp_path / 'box'}: a file is in the way of this folder: move it away"
    assert ("broken" if part != "_blackbox" else in_the_way) in told.shown[0]["problems"]
    state = {
        "_source": Signal.MICROPHONE_LOST,
        "_blackbox": Signal.FAULT,
        "_indicator": Signal.FAULT,
    }
    assert watch.shown == [state[part]]


def test_an_alert_nobody_listens_to_is_a_fault(make):
    judge = Judge()
    judge.script = [0.9] * 50
    now = [0.0]

    def later():
        now[0] += 20

    watch = Watch()
    service = make([*seconds(12), watch, later, watch], judge)
    service._indicator._clock = lambda: now[0]
    service._indicator.window_done()
    watch.service = service
    service.run()
    assert watch.shown == [Signal.KNOCKING, Signal.FAULT]


def test_another_threshold_holds_for_the_alert_too(make):
    judge = Judge()
    judge.script = [0.4] * 50
    new = Config.from_toml("[listen]\nthreshold = 0.3\n", "x")
    service = make([hang_up, *seconds(14)], judge, reload=lambda: new)
    service.run()
    assert service.describe()["last_verdict"] == "knocking"
    assert service.counters.alerts == 1


@pytest.mark.parametrize("synchronised", [True, False])
def test_a_record_has_a_time_only_if_the_clock_is_right(make, monkeypatch, synchronised):
    monkeypatch.setattr("edge.health.clock_is_synchronised", lambda: synchronised)
    judge = Judge()
    judge.script = [0.9] * 9
    service = make(seconds(14), judge)
    kept: list[Any] = []
    service._blackbox.keep = kept.append
    service.run()
    assert ("time" in kept[0].facts) == synchronised


def test_the_board_is_looked_at_again_and_again(make, monkeypatch, clock):
    now = [40.0]
    monkeypatch.setattr("edge.health.temperature_c", lambda: now[0])

    def hotter():
        now[0] = 90.0
        clock[0] += 6.0

    watch = Watch()
    service = make([*seconds(6), watch, hotter, *seconds(2), watch])
    watch.service = service
    service.run()
    assert watch.shown == [Signal.LISTENING, Signal.DEGRADED]


def test_a_fault_is_shown_though_the_engine_is_off(make):
    watch = Watch()

    def fail():
        put_a_file_in_its_place(service._blackbox)

    service = make([*seconds(4), *[np.zeros(SR // 2, dtype=np.float32)] * 6, watch, fail, watch])
    watch.service = service
    wait_for(lambda: service._blackbox._write_tested)
    service.run()
    assert watch.shown == [Signal.UNJUDGED, Signal.FAULT]


def test_a_microphone_that_does_not_open_for_long_is_lost(make):
    now = [0.0]

    def later():
        now[0] += 20

    watch = Watch()
    watch.service = service = make([NOT_OPENED, watch, later, watch])
    service._indicator._clock = lambda: now[0]
    service._indicator.window_done()
    service.run()
    assert watch.shown == [Signal.STARTING, Signal.MICROPHONE_LOST]
