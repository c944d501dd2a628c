"""False alarms: alerts of the device's detector on windows that do not knock."""

import dataclasses
import json

import numpy as np
import pytest

from convert.alarms import alerts_in, false_alarms, in_words
from tests.graded import judged, report


def test_alarms_are_counted_after_confirmation():
    one = np.zeros(40, dtype=np.float32)
    one[10:14] = 1  # four of eight: not enough
    assert alerts_in(one, 0.5, 0.5) == 0
    one[14] = 1
    assert alerts_in(one, 0.5, 0.5) == 1
    hour = np.zeros(7200, dtype=np.float32)
    hour[::3600] = 1  # single windows never are
    assert alerts_in(hour, 0.5, 0.5) == 0
    one[:] = np.nan
    assert alerts_in(one, 0.5, 0.5) == 0


def test_false_alarms_join_recordings_of_one_source_and_no_others():
    half = [1, 1, 1]
    same = report(
        judged("a_1", "normal", half, source="a"), judged("a_2", "normal", half, source="a")
    )
    apart = report(judged("a_1", "normal", half), judged("b_1", "normal", half))
    assert same.false_alarms()["engine"]["alerts"] == 1
    assert same.false_alarms()["engine"]["sources_too_short"] == 0
    # Six windows, each half a second of the detector's clock, however long their sound.
    assert same.false_alarms()["engine"]["hours"] == pytest.approx(6 * 0.5 / 3600, abs=5e-5)
    assert same.false_alarms()["engine"]["per_hour"] == pytest.approx(1200)
    # Neither could have given an alert: neither is counted as time without one.
    none = {"alerts": 0, "hours": 0.0, "per_hour": None, "per_hour_at_most": None}
    assert apart.false_alarms()["engine"] == {**none, "sources_too_short": 2}
    assert "engine: -; 2 sources are too short for an alert" in apart.table()
    assert json.loads(json.dumps(apart.to_dict()))["false_alarms"]["engine"]["per_hour"] is None


def test_a_window_that_only_covers_the_end_raises_no_alarm():
    p = judged("a_1", "normal", [1, 1, 1, 1, 1])
    assert report(p).false_alarms()["engine"]["alerts"] == 1
    ended = dataclasses.replace(p, extra=np.arange(5) == 4)
    assert report(ended).false_alarms()["engine"]["alerts"] == 0
    assert report(ended).false_alarms()["engine"]["sources_too_short"] == 1
    assert report(ended).row([ended])["windows"] == 5


def test_time_that_could_not_be_judged_is_no_quiet_time():
    p = np.full(40, 0.1, dtype=np.float32)
    p[10:30] = np.nan  # half a second apart: 5 s, 10 s of silence, 5 s
    assert false_alarms([p], 0.5, 0.5)["hours"] == pytest.approx(2 * 5 / 3600, abs=5e-5)
    figures = false_alarms([p[10:30]], 0.5, 0.5)
    none = {"alerts": 0, "hours": 0.0, "per_hour": None, "per_hour_at_most": None}
    assert figures == {**none, "sources_too_short": 1}
    assert in_words(figures) == "-; 1 source is too short for an alert"
    p = np.full(401, np.nan, dtype=np.float32)
    p[::80] = 0.9  # six windows, 40 s apart: the detector has forgotten each when the next comes
    assert false_alarms([p], 0.5, 0.5) == {**none, "sources_too_short": 1}


def test_a_short_time_without_an_alert_promises_little():
    """Of 3.0 an hour none comes in 5 of 100 hours (exp -3), of 6.3 an hour two or fewer."""
    hour = np.zeros(7200, dtype=np.float32)
    assert false_alarms([hour], 0.5, 0.5)["per_hour_at_most"] == pytest.approx(-np.log(0.05), 2e-3)
    minute = false_alarms([hour[:120]], 0.5, 0.5)
    assert in_words(minute) == "0 in 1.0 min: 0.0 per hour, 95 % upper limit 179.7"
    hour[100:110] = hour[5000:5010] = 1
    twice = false_alarms([hour], 0.5, 0.5)
    most = twice["per_hour_at_most"]
    assert most is not None
    assert np.exp(-most) * (1 + most + most**2 / 2) == pytest.approx(0.05, abs=2e-4)


def test_an_hour_of_short_recordings_has_the_windows_of_an_hour():
    """A drive, and the same windows cut into recordings of three, give the same rate."""
    p = np.zeros(7200, dtype=np.float32)
    p[100:110] = p[5000:5010] = 1
    drive = report(judged("a_1", "normal", p, source="a"))
    cut = report(
        *(judged(f"a_{i}", "normal", p[i : i + 3], source="a") for i in range(0, p.size, 3))
    )
    assert drive.false_alarms()["engine"] == cut.false_alarms()["engine"]
    assert drive.false_alarms()["engine"]["per_hour"] == 2


def test_alarms_are_those_of_the_device():
    """A window knocks from the threshold on; one not judged is no normal one; times are seconds."""
    knocks = np.full(8, 0.5, dtype=np.float32)
    assert alerts_in(knocks, 0.5, 0.5) == 1
    p = np.full(9, np.nan, dtype=np.float32)
    p[[0, 1, 2, 3, 8]] = 1
    assert alerts_in(p, 0.5, 0.5) == 1
    # It lasts 5 s, then rests 2 s: with the next five knocks there is another, if it has ended.
    p = np.zeros(40, dtype=np.float32)
    p[:5] = p[12:17] = 1
    assert alerts_in(p, 0.5, 0.5) == 1
    assert alerts_in(p, 0.5, 1.0) == 2


def test_windows_too_far_apart_can_raise_no_alarm():
    p = np.full(100, 0.1, dtype=np.float32)
    assert false_alarms([p], 0.5, 10.0)["sources_too_short"] == 1
    assert false_alarms([p], 0.5, 9.0)["sources_too_short"] == 0


def test_the_detector_of_a_report_waits_through_what_could_not_be_judged():
    p = [1.0] * 3 + [np.nan] * 60 + [1.0] * 3 + [0.0] * 20
    found = report(judged("a", "normal", p)).false_alarms()["engine"]
    # Three and three, half a minute apart, are no five of eight.
    assert (found["alerts"], found["sources_too_short"]) == (0, 0)


def test_the_detector_starts_afresh_for_another_source_of_the_same_car():
    drives = [judged(name, "normal", [1, 1, 1] + [0] * 20) for name in ("a", "b")]
    drives[0] = dataclasses.replace(drives[0], p_all=drives[0].p_all[::-1])
    golf = [dataclasses.replace(j, clip=dataclasses.replace(j.clip, car="golf")) for j in drives]
    assert report(*golf).false_alarms()["engine"]["alerts"] == 0
