"""The pins behind the indicator: mock ones, busy ones, none at all."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from edge.config import IndicatorConfig
from edge.indicator import (
    Indicator,
    Signal,
)
from edge.lamp import RETRY_S, Lamp
from tests.wait import Clock, wait_for

pytestmark = pytest.mark.usefixtures("mock_pins")


@pytest.mark.parametrize("active_high", [True, False])
def test_a_real_pin_follows(mock_pins, active_high):
    indicator = Indicator(IndicatorConfig(led_pin=17, knock_pin=18, active_high=active_high))
    led, knock = mock_pins.pin(17), mock_pins.pin(18)
    wait_for(lambda: (led.state, knock.state) == (active_high, active_high))  # lamp test
    indicator.window_done()
    indicator.show(Signal.LISTENING)
    wait_for(lambda: (led.state, knock.state) == (not active_high, not active_high))
    indicator.show(Signal.KNOCKING)
    wait_for(lambda: (led.state, knock.state) == (active_high, active_high))
    indicator.close()
    assert led.state in (None, not active_high)


def test_without_gpio_it_goes_on_and_says_so_once(monkeypatch, caplog):
    def refuse(*_, **__):
        raise RuntimeError("no such chip")

    monkeypatch.setattr("gpiozero.LED", refuse)
    indicator = Indicator(IndicatorConfig(led_pin=17))
    indicator.show(Signal.KNOCKING)
    indicator.close()
    assert "no such chip" in indicator.failure
    assert sum("no such chip" in r.message for r in caplog.records) == 1


def test_a_busy_pin_is_named_and_tried_again(mock_pins):
    clock = Clock()
    first = Lamp(17, active_high=True, clock=clock)
    second = Lamp(17, active_high=True, clock=clock)
    assert first.problem == ""
    assert "GPIO 17" in second.problem
    first.close()
    clock.now += RETRY_S / 2
    second.set(lit=True)
    assert second.problem
    clock.now += RETRY_S
    second.set(lit=True)
    assert second.problem == ""
    assert mock_pins.pin(17).state
    second.close()


@pytest.mark.parametrize(("chips", "times"), [([], 1), (["gpiochip0"], 2)])
def test_without_any_gpio_it_is_tried_once(monkeypatch, tmp_path, chips, times):
    """But where there is some, gpiozero's no may be that of a boot that is not that far yet."""
    monkeypatch.setattr("edge.lamp.DEV", tmp_path)
    for chip in chips:
        (tmp_path / chip).touch()
    tried = []

    def refuse(*_, **__):
        from gpiozero import BadPinFactory

        tried.append(1)
        raise BadPinFactory("no chip")

    monkeypatch.setattr("gpiozero.LED", refuse)
    clock = Clock()
    lamp = Lamp(17, active_high=True, clock=clock)
    clock.now += 100 * RETRY_S
    lamp.set(lit=True)
    assert "no chip" in lamp.problem
    assert len(tried) == times


def test_a_pin_that_fails_while_lit_is_given_up_and_taken_again(mock_pins, monkeypatch):
    clock = Clock()
    lamp = Lamp(17, active_high=True, clock=clock)
    from gpiozero import LED

    with monkeypatch.context() as broken:
        broken.setattr(LED, "on", lambda *_: 1 / 0)
        lamp.set(lit=True)
    assert "fails" in lamp.problem
    lamp.set(lit=True)  # not before its time
    assert lamp.problem
    clock.now += RETRY_S
    lamp.set(lit=True)
    assert lamp.problem == ""
    assert mock_pins.pin(17).state


def test_the_pins_driver_leaves_nothing_where_it_is_started(tmp_path):
    """lgpio puts its named pipes where LG_WD says, or else into the current folder."""
    code = (
        "import os; from edge.lamp import flash\n"
        "flash(17, active_high=True, seconds=0)\n"
        "print(os.environ['LG_WD'])"
    )
    ours = {"GPIOZERO_PIN_FACTORY", "LG_WD"}
    environment = {k: v for k, v in os.environ.items() if k not in ours}
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert list(tmp_path.iterdir()) == []
    assert not Path(done.stdout.strip()).exists()  # it went with the program


@pytest.mark.parametrize("chips", [[], ["gpiochip0"]])
def test_a_machine_that_can_have_no_lamp_has_no_failed_one(monkeypatch, tmp_path, chips):
    monkeypatch.setattr("edge.lamp.DEV", tmp_path)
    for chip in chips:
        (tmp_path / chip).touch()

    def refuse(*_, **__):
        from gpiozero import BadPinFactory

        raise BadPinFactory("no chip")

    monkeypatch.setattr("gpiozero.LED", refuse)
    indicator = Indicator(IndicatorConfig(led_pin=17))
    failure, missing = indicator.failure, indicator.missing
    indicator.close()
    assert ("no chip" in failure, "no chip" in missing) == (bool(chips), not chips)


def test_the_buzzer_follows_the_knock_lamp_and_no_heartbeat(mock_pins):
    indicator = Indicator(IndicatorConfig(led_pin=17, knock_pin=18, buzzer_pin=19))
    led, *loud = (mock_pins.pin(number) for number in (17, 18, 19))
    wait_for(lambda: all(pin.state for pin in (led, *loud)))  # lamp test
    indicator.window_done()
    indicator.show(Signal.MICROPHONE_LOST)  # blinks four times a second
    wait_for(lambda: not any(pin.state for pin in loud))
    seen: list[bool] = []

    def led_is(lit):
        seen.extend(pin.state for pin in loud)
        return bool(led.state) == lit

    wait_for(lambda: led_is(True))
    wait_for(lambda: led_is(False))
    assert not any(seen)
    indicator.window_done()
    indicator.show(Signal.KNOCKING)
    wait_for(lambda: all(pin.state for pin in loud))
    indicator.close()


def test_the_first_pin_of_all_is_a_pin(mock_pins):
    lamp = Lamp(0, active_high=True, clock=Clock())
    lamp.set(lit=True)
    assert mock_pins.pin(0).state
    lamp.close()


def test_tries_in_vain_use_up_no_descriptors(monkeypatch):
    """One every ten seconds, they would be all gone in three hours."""
    monkeypatch.setattr("gpiozero.LED", lambda *_, **__: 1 / 0)
    clock = Clock()
    lamp = Lamp(17, active_high=True, clock=clock)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(10):
        clock.now += RETRY_S
        lamp.set(lit=True)
    assert lamp.problem
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


def test_the_drivers_pipes_have_a_folder_until_it_is_loaded(monkeypatch, tmp_path):
    """Otherwise, after a first try in vain, it could not be loaded by a later one."""
    pipes = tempfile.TemporaryDirectory(dir=tmp_path)
    monkeypatch.setattr("edge.lamp._redirect_lgpio_pipes", lambda: pipes)
    monkeypatch.delitem(sys.modules, "lgpio", raising=False)
    Lamp(17, active_high=True, clock=Clock()).close()
    assert Path(pipes.name).is_dir()
    monkeypatch.setitem(sys.modules, "lgpio", object())
    Lamp(17, active_high=True, clock=Clock()).close()
    assert not Path(pipes.name).exists()
