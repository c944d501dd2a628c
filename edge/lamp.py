"""One lamp or buzzer on a GPIO pin; gpiozero is known to this module alone."""

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

log = logging.getLogger(__name__)

DEVICES = Path("/dev")
RETRY_S = 10.0  # how often a pin that was in use, or failed, is tried again
LONGEST = 200  # characters of a reason that is not ours


class NoGpioError(Exception):
    """The machine has no GPIO, and will not get one while we run."""


def open_pin(pin: int, *, active_high: bool) -> Any:
    """An LED of gpiozero on BCM ``pin``.

    NoGpioError where there is no GPIO at all, OSError where this pin cannot be had now.
    """
    pipes = _send_pipes_away()
    try:
        from gpiozero import LED, BadPinFactory  # noqa: PLC0415 - the one place that knows it
    except ImportError as error:
        raise NoGpioError(f"no lamp on GPIO {pin}: {error}") from error
    tried: list[warnings.WarningMessage] = []  # one line for every back end
    try:
        with _coming_back(), warnings.catch_warnings(record=True) as tried:
            warnings.simplefilter("always")
            return LED(pin, active_high=active_high)
    except BadPinFactory as error:
        # Also what gpiozero says where there is GPIO that is not ours yet: early in a boot.
        kind = OSError if any(DEVICES.glob("gpiochip*")) else NoGpioError
        raise kind(f"no lamp on GPIO {pin}: {_words(error)}{_of_lgpio(tried)}") from error
    except Exception as error:  # gpiozero and its back ends raise whatever they like
        raise OSError(f"no lamp on GPIO {pin}: {_words(error)}") from error
    finally:
        # Once it is loaded lgpio has its pipe open, and needs no name of it any more; nobody
        # removes the folder of a program that is killed.
        if pipes is not None and "lgpio" in sys.modules:
            pipes.cleanup()


@contextmanager
def _coming_back() -> Iterator[None]:
    """Leave the working directory as it was: loading lgpio goes where LG_WD says, and stays."""
    place = os.O_PATH | os.O_DIRECTORY  # a folder may be stood in that may not be listed
    try:
        here = os.open(".", place)
    except OSError:  # nor stood in: no name in it leads anywhere, and none leads to the pipes
        here = os.open("/", place)
    try:
        yield
    finally:
        try:
            os.fchdir(here)
        finally:
            os.close(here)


@cache
def _send_pipes_away() -> tempfile.TemporaryDirectory[str] | None:
    """Have lgpio make its named pipes in a folder of ours, which goes when we do at the latest.

    By default they stay where the program was started, which may be somebody's recordings, or
    nowhere that can be written to: then it does not start.
    """
    if "LG_WD" in os.environ:
        return None
    folder = tempfile.TemporaryDirectory(prefix="knockknock-", ignore_cleanup_errors=True)
    os.environ["LG_WD"] = folder.name
    return folder


def _of_lgpio(tried: list[warnings.WarningMessage]) -> str:
    """Why lgpio, which serves every Pi, could not be used: gpiozero's error tells of none."""
    said = (" ".join(str(warning.message).split()) for warning in tried)
    reason = next((words for words in said if "lgpio:" in words), "")
    return f" ({reason[reason.index('lgpio:') :][:LONGEST]})" if reason else ""


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


class Lamp:
    """A pin that is lit or not; what goes wrong is told in ``problem`` and tried again.

    On a machine without GPIO it is not: there the lamp's changes are in the log.
    """

    def __init__(self, pin: int, *, active_high: bool, clock: Callable[[], float]) -> None:
        """Take ``pin``; -1 means no lamp. ``clock`` gives seconds."""
        self.problem = ""
        self.possible = True  # a lamp at all, on this machine
        self._pin, self._active_high, self._clock = pin, active_high, clock
        self._led: Any = None
        self._next_try = float("inf") if pin < 0 else clock()
        self._try()

    def set(self, *, lit: bool) -> None:
        """Light it or put it out."""
        self._try()
        if self._led is None:
            return
        try:
            if lit:
                self._led.on()
            else:
                self._led.off()
        except Exception as error:  # the pin was taken away; go on without
            self._led = None
            self._fail(f"the lamp on GPIO {self._pin} fails: {_words(error)}", RETRY_S)

    def close(self) -> None:
        """Put it out and let go of it."""
        if self._led is not None:
            with suppress(Exception):  # on the way out nothing may keep the others lit
                self._led.off()
                self._led.close()

    def _try(self) -> None:
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
    """Light ``pin`` for some seconds: "" or why it cannot be lit."""
    lamp = Lamp(pin, active_high=active_high, clock=time.monotonic)
    lamp.set(lit=True)
    if not lamp.problem:
        time.sleep(seconds)
    lamp.close()
    return lamp.problem
