"""One lamp or buzzer on a GPIO pin. Only this module uses gpiozero."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from edge.packages import pip_install

log = logging.getLogger(__name__)

DEV = Path("/dev")
RETRY_S = 10.0  # wait before a pin that was in use, or failed, is tried again
HEADER_DRIVER = "pinctrl-"  # -bcm2835 up to a Pi 3, -bcm2711 on a Pi 4, -rp1 on a Pi 5
MAX_QUOTE = 200  # characters quoted of another library's message


class NoGpioError(Exception):
    """The machine has no GPIO, and will not get any while this process runs."""


def open_pin(pin: int, *, active_high: bool) -> Any:
    """A gpiozero LED on BCM ``pin``.

    NoGpioError if the machine has no GPIO at all, OSError if this pin is not available now.
    """
    pipe_folder = _redirect_lgpio_pipes()
    try:
        from gpiozero import LED, BadPinFactory  # noqa: PLC0415 - the only place that uses it
    except ImportError as error:
        remedy = f"; {pip_install('gpiozero')}" if error.name == "gpiozero" else ""
        raise NoGpioError(f"no lamp on GPIO {pin}: {error}{remedy}") from error
    failures: list[warnings.WarningMessage] = []  # one warning for each back end that failed
    try:
        with _working_directory_kept(), warnings.catch_warnings(record=True) as failures:
            warnings.simplefilter("always")
            _choose_chip()
            return LED(pin, active_high=active_high)
    except BadPinFactory as error:
        # gpiozero also raises this where GPIO exists but is not accessible yet, early in a boot.
        kind = OSError if any(DEV.glob("gpiochip*")) else NoGpioError
        raise kind(f"no lamp on GPIO {pin}: {_message(error)}{_lgpio_reason(failures)}") from error
    except Exception as error:  # gpiozero and its back ends raise whatever they like
        raise OSError(f"no lamp on GPIO {pin}: {_message(error)}") from error
    finally:
        # Once loaded, lgpio has its pipe open and no longer needs its name. Remove the folder now:
        # nothing would, if the program were killed.
        if pipe_folder is not None and "lgpio" in sys.modules:
            pipe_folder.cleanup()


def _choose_chip() -> None:
    """Point gpiozero at the GPIO chip of the 40-pin header, by the name of its driver.

    Left alone, gpiozero opens gpiochip4 or gpiochip0. But the number depends on the kernel: on a
    Pi 5 it has been 0, 4 and 15. Where no such chip can be opened, gpiozero is left alone.
    """
    from gpiozero import Device  # noqa: PLC0415 - see open_pin

    if Device.pin_factory is not None or "GPIOZERO_PIN_FACTORY" in os.environ:
        return
    try:
        import lgpio  # noqa: PLC0415 - needs a working directory it can write to
        from gpiozero.pins.lgpio import LGPIOFactory  # noqa: PLC0415
    except Exception:  # of any kind: gpiozero tries it again, says why, and goes on
        return
    for number in sorted(int(path.name[8:]) for path in DEV.glob("gpiochip[0-9]*")):
        with suppress(lgpio.error):
            chip = lgpio.gpiochip_open(number)
            label = lgpio.gpio_get_chip_info(chip)[3]
            lgpio.gpiochip_close(chip)
            if label.startswith(HEADER_DRIVER):
                Device.pin_factory = LGPIOFactory(chip=number)
                return


@contextmanager
def _working_directory_kept() -> Iterator[None]:
    """Restore the working directory afterwards: loading lgpio changes it to LG_WD."""
    flags = os.O_PATH | os.O_DIRECTORY  # works for a folder that may be entered but not listed
    try:
        directory = os.open(".", flags)
    except OSError:  # may not even be entered: relative names are useless there, so return to /
        directory = os.open("/", flags)
    try:
        yield
    finally:
        try:
            os.fchdir(directory)
        finally:
            os.close(directory)


@cache
def _redirect_lgpio_pipes() -> tempfile.TemporaryDirectory[str] | None:
    """Have lgpio make its named pipes in a temporary folder; it is removed at exit at the latest.

    By default lgpio leaves them in the working directory, which may be a folder of recordings. If
    that cannot be written to, lgpio does not start. None if LG_WD is already set.
    """
    if "LG_WD" in os.environ:
        return None
    folder = tempfile.TemporaryDirectory(prefix="knockknock-", ignore_cleanup_errors=True)
    os.environ["LG_WD"] = folder.name
    return folder


def _lgpio_reason(failures: list[warnings.WarningMessage]) -> str:
    """Why lgpio, which works on every Pi, could not be used: gpiozero's error does not say."""
    messages = (" ".join(str(warning.message).split()) for warning in failures)
    reason = next((message for message in messages if "lgpio:" in message), "")
    return f" ({reason[reason.index('lgpio:') :][:MAX_QUOTE]})" if reason else ""


def _message(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


class Lamp:
    """A pin that is lit or not. An error is kept in ``problem``, and the pin is tried again.

    On a machine without GPIO it is not: there only the log shows the lamp's changes.
    """

    def __init__(self, pin: int, *, active_high: bool, clock: Callable[[], float]) -> None:
        """Take ``pin``; -1 means no lamp. ``clock`` gives seconds."""
        self.problem = ""
        self.possible = True  # whether this machine can have a lamp at all
        self._pin, self._active_high, self._clock = pin, active_high, clock
        self._led: Any = None
        self._next_try = float("inf") if pin < 0 else clock()
        self._open_if_due()

    def set(self, *, lit: bool) -> None:
        """Turn it on or off."""
        self._open_if_due()
        if self._led is None:
            return
        try:
            if lit:
                self._led.on()
            else:
                self._led.off()
        except Exception as error:  # the pin was taken away; continue without
            self._led = None
            self._fail(f"the lamp on GPIO {self._pin} fails: {_message(error)}", RETRY_S)

    def close(self) -> None:
        """Turn it off and release the pin."""
        if self._led is not None:
            with suppress(Exception):  # an error must not leave the other lamps lit
                self._led.off()
                self._led.close()

    def _open_if_due(self) -> None:
        if self._led is not None or self._clock() < self._next_try:
            return
        try:
            self._led = open_pin(self._pin, active_high=self._active_high)
        except NoGpioError as error:
            self.possible = False
            self._fail(str(error), float("inf"))
        except OSError as error:
            self._fail(str(error), RETRY_S)
        else:
            if self.problem:
                log.info("lamp on GPIO %d works again", self._pin)
            self.problem = ""

    def _fail(self, problem: str, wait_s: float) -> None:
        self._next_try = self._clock() + wait_s
        if problem != self.problem:
            log.warning("%s; what it would show is logged instead", problem)
        self.problem = problem


def flash(pin: int, *, active_high: bool, seconds: float) -> str:
    """Light ``pin`` for some seconds; why it cannot be lit, or ""."""
    lamp = Lamp(pin, active_high=active_high, clock=time.monotonic)
    lamp.set(lit=True)
    if not lamp.problem:
        time.sleep(seconds)
    lamp.close()
    return lamp.problem
