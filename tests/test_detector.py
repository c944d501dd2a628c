from typing import NamedTuple

from edge.detector import Detector, DetectorConfig

CONFIG = DetectorConfig(windows=8, needed=5, keep=2, hold_s=5, clear_s=10, refractory_s=2)
HOP = 0.5


class Heard(NamedTuple):
    started: bool
    ended: bool
    alert: bool


def play(pattern, config=CONFIG):
    """``K`` a knocking window, ``n`` a normal one, ``?`` one that could not be judged."""
    detector = Detector(config)
    knocks = {"K": True, "n": False, "?": None}
    return [heard(detector, knocks[c], i * HOP) for i, c in enumerate(pattern)]


def heard(detector, knocks, time_s):
    """What comes of a window, and whether knocking is reported after it."""
    made = detector.update(knocks, time_s)
    return Heard(made.started, made.ended, detector.alert)


def starts(found):
    return [i for i, d in enumerate(found) if d.started]


def ends(found):
    return [i for i, d in enumerate(found) if d.ended]


def test_k_of_n_windows_start_an_alert():
    assert starts(play("KKKK" + "n" * 20)) == []
    assert starts(play("KKKKK")) == [4]
    assert starts(play("KnKnKnKnK")) == []  # five of nine, but only four of any eight
    assert starts(play("KnKKnKnK")) == [7]


def test_an_alert_is_held_then_ends():
    found = play("KKKKK" + "n" * 20)
    assert ends(found) == [4 + 10]  # held 5 s, ten windows, though the knocking has long gone
    assert not any(d.alert for d in found[:4])
    assert all(d.alert for d in found[4:14])
    assert not any(d.alert for d in found[14:])


def test_it_goes_on_while_some_windows_knock():
    found = play("KKKKK" + "Knnn" * 20)
    assert starts(found) == [4]
    assert ends(found) == []


def test_windows_that_cannot_be_judged_neither_start_nor_clear():
    assert starts(play("K?K?K?K?K")) == [8]
    found = play("KKKKK" + "?" * 40)
    # 10 s without a knocking window end it whatever happens.
    assert ends(found) == [4 + 20]


def test_it_ends_even_if_nothing_comes_any_more():
    detector = Detector(CONFIG)
    for i in range(5):
        detector.update(True, i * HOP)
    assert detector.alert
    assert not detector.pass_time(11.9).ended
    assert detector.pass_time(12.0).ended
    assert not detector.alert


def test_a_new_alert_needs_a_rest_and_new_windows():
    config = DetectorConfig(windows=4, needed=2, keep=1, hold_s=0, clear_s=1, refractory_s=3)
    found = play("KKnnnnKKKKKKKKKK", config)
    assert starts(found)[0] == 1
    assert ends(found)[0] == 3  # 1 s after the last knocking window
    assert starts(found)[1] == ends(found)[0] + 6  # 3 s


def test_knocks_of_long_ago_do_not_add_up_with_new_ones():
    detector = Detector(DetectorConfig())
    for number in range(4):
        detector.update(True, number)
    for number in range(4, 100):
        detector.update(None, number)
    assert not any(detector.update(True, 100 + n).started for n in range(4))
    assert detector.update(True, 104).started


def test_old_knocks_alone_start_nothing():
    """Not at a window that does not knock, however many before it did."""
    config = DetectorConfig(windows=8, needed=2, keep=1, hold_s=0, clear_s=1, refractory_s=3)
    assert starts(play("KKnn" + "KK" + "n" * 6, config)) == [1]


def test_knocks_of_the_last_alert_do_not_count_for_the_next():
    assert starts(play("KKKKK" + "?" * 19 + "n" + "????" + "K")) == [4]


def test_few_windows_that_can_be_judged_do_not_add_up_over_minutes():
    """At the edge of clipping some pass, ten seconds apart at the most, and no fair sample."""
    assert starts(play(("K" + "?" * 18) * 30)) == []
    assert starts(play("K???K???K???K???K" + "?" * 20)) == []  # seventeen windows
    assert starts(play("K???K???K???KK")) == [13]


def test_an_alert_goes_on_where_knocking_does_though_some_could_not_be_judged():
    detector = Detector(DetectorConfig(hold_s=12, clear_s=10))
    for n in range(5):
        detector.update(True, n * 0.5)
    for n in range(5, 28):
        detector.update(None, n * 0.5)
    assert detector.alert
    assert not detector.update(True, 14.0).ended


def test_exactly_so_long_is_forgotten():
    detector = Detector(DetectorConfig(clear_s=10))
    for n in range(4):
        detector.update(True, n)
    assert not detector.update(True, 13).started


def test_a_knock_counts_though_the_engine_was_quiet_for_a_while_since():
    """All is forgotten after a while without a judged window, not without a knocking one."""
    config = DetectorConfig(clear_s=1)
    assert starts(play("KKKKnnK", config)) == [6]
    assert starts(play("KKKK??K", config)) == []


def test_one_knock_after_an_alert_starts_no_other():
    """The last alert's own knocks are gone with it, even where few windows have passed."""
    config = DetectorConfig(hold_s=2, clear_s=2, refractory_s=0)
    found = play("KKKKK??n?K", config)
    assert ends(found) == [8]
    assert starts(found) == [4]
