"""Lamps that fail, and a lamp that must not show that all is well when nobody listens."""

import inspect
import sys
import threading
import time
import warnings

import gpiozero
import pytest

from edge.config import IndicatorConfig
from edge.indicator import (
    FIRST_WINDOW_S,
    HANG_S,
    PATTERNS,
    STALE_S,
    STEP_S,
    Indicator,
    Signal,
    lit,
)
from edge.lamp import Lamp, open_pin
from tests.wait import Clock, wait_for


@pytest.mark.parametrize(
    "signal_", sorted(set(Signal) - {Signal.FAULT, Signal.MICROPHONE_LOST, Signal.STARTING})
)
def test_no_signal_but_bad_news_outlives_the_windows(signal_):
    clock = Clock()
    indicator = Indicator(IndicatorConfig(led_pin=-1), clock=clock)
    indicator.window_done()
    indicator.show(signal_)
    since = indicator._since
    shown = []
    for step in range(200):
        clock.now = 100.0 + STALE_S + 0.1 + step / 100
        shown.append((indicator.levels(), clock.now - since))
    indicator.close()
    assert [levels for levels, _ in shown] == [(lit(Signal.FAULT, s), False) for _, s in shown]


def test_times_of_the_lamp():
    assert (STALE_S, FIRST_WINDOW_S) == (5.0, 15.0)
    assert inspect.signature(Indicator).parameters["clock"].default is time.monotonic
    assert STEP_S <= min(s for p in PATTERNS.values() for s in p.durations_s) / 2


def test_any_lamp_that_fails_is_a_problem(monkeypatch):
    def open_pin(pin, *, active_high):
        raise OSError(f"no lamp on GPIO {pin}")

    monkeypatch.setattr("edge.lamp.open_pin", open_pin)
    for pins in (
        {"led_pin": 17},
        {"led_pin": -1, "knock_pin": 18},
        {"led_pin": -1, "buzzer_pin": 19},
    ):
        indicator = Indicator(IndicatorConfig(**pins))  # type: ignore[arg-type]
        try:
            assert indicator.failure
        finally:
            indicator.close()


def test_why_lgpio_cannot_be_used_is_said_in_one_short_line(monkeypatch):
    """gpiozero's error gives no reason for any back end; its warnings do."""
    from gpiozero.exc import PinFactoryFallback

    def refuse(*_, **__):
        for name, why in (("lgpio", "can not open\n gpiochip0 " + "x" * 999), ("pigpio", "no")):
            warnings.warn(PinFactoryFallback(f"Falling back from {name}: {why}"), stacklevel=1)
        raise gpiozero.BadPinFactory("Unable to load any default pin factory!")

    monkeypatch.setattr("gpiozero.LED", refuse)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # none of the warnings reaches the caller
        problem = Lamp(17, active_high=True, clock=Clock()).problem
    assert "any default pin factory! (lgpio: can not open gpiochip0 xxx" in problem
    assert "pigpio" not in problem
    assert len(problem) < 300


def test_the_header_is_found_whatever_number_its_chip_has(monkeypatch, tmp_path):
    """gpiozero itself looks for chips 4 and 0 only."""
    lgpio = pytest.importorskip("lgpio")
    drivers = {0: None, 11: "gpio-brcmstb@107d508500", 15: "pinctrl-rp1"}  # None: does not open
    opened = []

    def open_(number):
        if drivers[number] is None:
            raise lgpio.error("can not open gpiochip")
        opened.append(number)
        return number

    for number in drivers:
        (tmp_path / f"gpiochip{number}").touch()
    monkeypatch.setattr("edge.lamp.DEV", tmp_path)
    monkeypatch.delenv("GPIOZERO_PIN_FACTORY", raising=False)
    monkeypatch.setattr(lgpio, "gpiochip_open", open_)
    monkeypatch.setattr(lgpio, "gpiochip_close", opened.remove)
    monkeypatch.setattr(lgpio, "gpio_get_chip_info", lambda chip: [0, 54, "", drivers[chip]])
    monkeypatch.setattr("gpiozero.Device.pin_factory", None)
    monkeypatch.setattr("gpiozero.LED", lambda pin, active_high: gpiozero.Device.pin_factory)
    assert open_pin(17, active_high=True).chip == 15
    assert opened == [15]
    drivers[15] = "gpio-mockup"
    monkeypatch.setattr("gpiozero.Device.pin_factory", None)
    assert open_pin(17, active_high=True) is None  # left to gpiozero


@pytest.fixture
def one_chip(monkeypatch, tmp_path):
    """The numbers of the chips that were opened, of which there is one, 15."""
    lgpio, opened = pytest.importorskip("lgpio"), []

    def open_(number):
        opened.append(number)
        return number

    (tmp_path / "gpiochip15").touch()
    monkeypatch.setattr("edge.lamp.DEV", tmp_path)
    monkeypatch.delenv("GPIOZERO_PIN_FACTORY", raising=False)
    monkeypatch.setattr(lgpio, "gpiochip_open", open_)
    monkeypatch.setattr(lgpio, "gpiochip_close", lambda _: None)
    monkeypatch.setattr(lgpio, "gpio_get_chip_info", lambda _: [0, 54, "", "pinctrl-rp1"])
    monkeypatch.setattr("gpiozero.Device.pin_factory", None)
    monkeypatch.setattr("gpiozero.LED", lambda pin, active_high: gpiozero.Device.pin_factory)
    return opened


def test_two_lamps_share_the_chip(one_chip):
    assert open_pin(17, active_high=True) is open_pin(27, active_high=True)
    assert one_chip == [15, 15]  # to read its driver's name, and for both lamps


def test_a_back_end_that_somebody_chose_is_left_to_gpiozero(one_chip, monkeypatch):
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "native")
    assert open_pin(17, active_high=True) is None
    assert one_chip == []


def test_an_lgpio_that_does_not_start_is_left_to_gpiozero(monkeypatch, tmp_path):
    """Its other back ends may work; lgpio may lack a place for its pipes, say."""
    monkeypatch.setattr("edge.lamp.DEV", tmp_path)
    monkeypatch.delenv("GPIOZERO_PIN_FACTORY", raising=False)
    monkeypatch.setattr("gpiozero.Device.pin_factory", None)
    monkeypatch.setattr("gpiozero.LED", lambda pin, active_high: "another back end")
    monkeypatch.delitem(sys.modules, "lgpio", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "lgpio.py").write_text("raise FileNotFoundError('.lgd-nfy-3')\n")
    assert open_pin(17, active_high=True) == "another back end"


def test_what_nobody_thought_of_stops_one_lamp_and_is_told(monkeypatch, caplog):
    indicator = Indicator(IndicatorConfig(led_pin=-1))
    broken, other = indicator._lamps[:2]
    set_ = Lamp.set
    try:
        others = []

        def stumble(self, *, lit):
            if self is broken:
                raise MemoryError("what nobody thought of")
            others.append(self is other)

        monkeypatch.setattr(Lamp, "set", stumble)
        wait_for(lambda: "nobody thought of" in indicator.failure, seconds=5)
        others.clear()
        wait_for(lambda: sum(others) > 2, seconds=5)
        monkeypatch.setattr(Lamp, "set", set_)
        wait_for(lambda: indicator.failure == "", seconds=5)
    finally:
        indicator.close()
    assert "cannot be set" in caplog.text


def test_a_lamp_that_was_busy_is_lit_when_it_can_be(monkeypatch):
    class Led:
        lit = 0

        def on(self):
            self.lit += 1

        def off(self):
            pass

        def close(self):
            pass

    led, busy = Led(), [True]

    def open_pin(pin, *, active_high):
        if busy[0]:
            raise OSError("busy")
        return led

    monkeypatch.setattr("edge.lamp.open_pin", open_pin)
    monkeypatch.setattr("edge.lamp.RETRY_S", 0.05)
    indicator = Indicator(IndicatorConfig(led_pin=17))
    try:
        indicator.show(Signal.KNOCKING)
        indicator.window_done()
        time.sleep(0.2)
        busy[0] = False
        wait_for(lambda: led.lit, seconds=5)
        wait_for(lambda: indicator.failure == "", seconds=5)
    finally:
        indicator.close()


def test_a_lamp_that_fails_at_the_end_keeps_no_other_lit(monkeypatch):
    off = []

    class Led:
        def __init__(self, pin):
            self.pin = pin

        def on(self):
            pass

        def off(self):
            pass

        def close(self):
            off.append(self.pin)
            if self.pin == 17:
                raise OSError("gone")

    monkeypatch.setattr("edge.lamp.open_pin", lambda pin, active_high: Led(pin))
    Indicator(IndicatorConfig(led_pin=17, knock_pin=18, buzzer_pin=19)).close()
    assert off == [17, 18, 19]


class Hanging:
    """A lamp whose driver does not return, until ``goes_on`` is set."""

    def __init__(self):
        self.hangs, self.goes_on, self.put_out = threading.Event(), threading.Event(), False

    def on(self):
        self.hangs.set()
        self.goes_on.wait(60)

    def off(self):
        pass

    def close(self):
        self.put_out = True


@pytest.fixture
def hanging(monkeypatch):
    led, clock = Hanging(), Clock()
    monkeypatch.setattr("edge.lamp.open_pin", lambda pin, active_high: led)
    indicator = Indicator(IndicatorConfig(led_pin=17), clock=clock)
    yield led, clock, indicator
    led.goes_on.set()
    indicator.close()


def asked(indicator, clock, seconds, every_s=0.25):
    """The failures reported, polled every ``every_s`` for ``seconds``."""
    answers = []
    for _ in range(round(seconds / every_s)):
        clock.now += every_s
        answers.append(told(indicator))
    return answers


def told(indicator):
    indicator.watch()
    return indicator.failure


def test_a_lamp_that_hangs_is_told_once_until_it_answers(hanging, caplog):
    led, clock, indicator = hanging
    assert led.hangs.wait(5)
    assert not any(asked(indicator, clock, HANG_S))
    assert all("does not answer" in said for said in asked(indicator, clock, 30)[2:])
    assert sum("does not answer" in r.getMessage() for r in caplog.records) == 1
    led.goes_on.set()
    wait_for(lambda: told(indicator) == "", seconds=5)
    assert told(indicator) == ""


def test_a_lamp_that_hangs_is_found_by_a_listener_that_seldom_asks(hanging):
    led, clock, indicator = hanging
    assert led.hangs.wait(5)
    assert "does not answer" in asked(indicator, clock, 60, every_s=4)[-1]


def test_a_lamp_is_not_accused_for_the_time_that_all_stood_still(hanging):
    """After a stop of the whole process, it may be polled before the lamp's thread has run."""
    led, clock, indicator = hanging
    assert led.hangs.wait(5)
    assert told(indicator) == ""
    clock.now += 8 * 3600
    assert not any(asked(indicator, clock, HANG_S / 2))


def test_a_lamp_that_hangs_does_not_hold_up_the_end(hanging, caplog):
    led, _, indicator = hanging
    assert led.hangs.wait(5)
    closing = threading.Thread(target=indicator.close, daemon=True)
    closing.start()
    closing.join(10)
    assert not closing.is_alive()
    assert not led.put_out  # closing it would hang, too
    assert "does not answer" in caplog.text


def test_a_lamp_that_was_closed_does_not_hang():
    clock = Clock()
    indicator = Indicator(IndicatorConfig(led_pin=-1), clock=clock)
    indicator.close()
    assert not any(asked(indicator, clock, 60))


def test_no_blink_is_too_short_for_the_lamps_thread(monkeypatch):
    waits = []

    class Closing(threading.Event):
        def wait(self, timeout=None):
            waits.append(timeout)
            return super().wait(timeout)

    monkeypatch.setattr("edge.indicator.threading.Event", Closing)
    indicator = Indicator(IndicatorConfig(led_pin=-1))
    wait_for(lambda: any(waits), seconds=5)
    indicator.close()
    assert set(waits) - {None} == {STEP_S}  # None: the start of the thread
