"""Settings reloaded by a running listener: taken over, or left for the next start."""

import os
import signal

import numpy as np

from edge.config import Config
from edge.errors import ConfigError
from edge.indicator import Signal
from edge.service import Service
from tests.listener import Judge, Watch, seconds


def test_settings_are_read_again_and_bad_ones_are_not_taken(make):
    answers = [Config.from_toml("[detector]\nhold_s = 60", "x"), ConfigError("no good")]

    def reload():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def hang_up():
        os.kill(os.getpid(), signal.SIGHUP)

    watch = Watch(Service.describe)
    steps = [*seconds(6), hang_up, *seconds(6), hang_up, *seconds(6)]
    service = make([*steps, watch], reload=reload)
    watch.service = service
    service.run()
    assert service._config.detector.hold_s == 60
    assert "no good" in watch.shown[0]["problems"]
    assert watch.shown[0]["state"] == "fault"


def test_settings_that_cannot_be_opened_end_nothing(make):
    def reload():
        raise PermissionError(13, "Permission denied", "/etc/knockknock/edge.toml")

    def hang_up():
        os.kill(os.getpid(), signal.SIGHUP)

    service = make([*seconds(6), hang_up, *seconds(6)], reload=reload)
    service.run()
    assert service.counters.windows_judged == 9
    assert any("Permission denied" in problem for problem in service.describe()["problems"])


def test_an_alert_goes_on_over_settings_that_leave_it_as_it_was(make):
    judge = Judge()
    judge.script = [0.95] * 40
    watch = Watch()
    new = Config.from_toml("[health]\nhot_c = 70", "x")

    def hang_up():
        os.kill(os.getpid(), signal.SIGHUP)

    steps = [*seconds(20), watch, hang_up]
    for block in seconds(8, seed=1):
        steps += [block, watch]
    service = make(steps, judge, reload=lambda: new)
    watch.service = service
    memory, windower = service._memory, service._windower
    service.run()
    assert service._config is new
    assert watch.shown == [Signal.KNOCKING] * 9
    assert service.counters.alerts == 1
    assert (service._memory, service._windower) == (memory, windower)
    service._apply(Config.from_toml("[listen]\nhop_s = 1", "x"), new)
    assert service._memory is memory
    assert service._windower is not windower


def test_another_threshold_holds_for_verdicts_too(make):
    judge = Judge()
    judge.script = [0.4] * 9
    service = make(seconds(12), judge, Config.from_toml("[listen]\nthreshold = 0.3\n", "my.toml"))
    service.run()
    assert service.describe()["last_verdict"] == "knocking"
    service._apply(Config())
    assert service.pipeline.threshold == 0.5  # the model's own threshold again


def test_the_settings_of_the_gate_hold_and_can_be_changed(make):
    def hang_up():
        os.kill(os.getpid(), signal.SIGHUP)

    strict = Config.from_toml("[gate]\nsilence_db = -30\n", "x")
    quiet = [np.float32(0.1) * y for y in seconds(6)]  # -40 dB
    service = make([*quiet, hang_up, *quiet], config=strict, reload=Config)
    service.run()
    assert service.counters.unknown_reasons == {"silence": 3}
    assert service.counters.windows_judged == 6


def test_a_new_detector_counts_at_once(make):
    judge = Judge()
    judge.script = [0.9] * 50

    def hang_up():
        os.kill(os.getpid(), signal.SIGHUP)

    new = Config.from_toml("[detector]\nwindows = 20\nneeded = 20\n", "x")
    service = make([hang_up, *seconds(15)], judge, reload=lambda: new)
    service.run()
    assert (service.counters.windows_judged, service.counters.alerts) == (12, 0)


def test_what_still_needs_a_restart_is_said_at_every_reload(make, caplog):
    """Compared with what the service runs on, not with what was read last."""
    caplog.set_level("INFO", "edge.service")

    def hang_up():
        os.kill(os.getpid(), signal.SIGHUP)

    new = Config.from_toml("[indicator]\nled_pin = 5\n", "x")
    answers = [new, new, Config()]
    make([hang_up, hang_up, hang_up], reload=lambda: answers.pop(0)).run()
    told = [line for line in caplog.messages if line.startswith("settings reloaded")]
    assert ["only after a restart: indicator" in line for line in told] == [True, True, False]


def test_another_limit_of_heat_holds_at_once(make, monkeypatch):
    monkeypatch.setattr("edge.health.temperature_c", lambda: 75.0)

    def hang_up():
        os.kill(os.getpid(), signal.SIGHUP)

    watch = Watch(lambda service: service.describe()["problems"])
    new = Config.from_toml("[health]\nhot_c = 70\n", "x")
    watch.service = service = make([*seconds(5), watch, hang_up, watch], reload=lambda: new)
    service.run()
    assert watch.shown == [[], ["hot: 75 degrees Celsius"]]
