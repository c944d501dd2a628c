"""What SIGHUP means to this process: reload the settings, or that the terminal has closed."""

from __future__ import annotations

import errno
import os
import signal
from enum import Enum, auto


class HangUp(Enum):
    """What to do on SIGHUP."""

    RELOAD = auto()  # as is usual for services
    STOP = auto()
    NOTHING = auto()


def meaning() -> HangUp:
    """What to do on SIGHUP. Call this before a handler for SIGHUP is set.

    If the terminal it was started in is closed, the listener must stop: otherwise it would keep
    microphone and lamp occupied, unseen. Started by nohup, it is meant to go on.
    """
    if "NOTIFY_SOCKET" in os.environ:
        return HangUp.RELOAD
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return HangUp.NOTHING
    return HangUp.STOP if any(map(os.isatty, (0, 1, 2))) else HangUp.RELOAD


def speak_to_nobody_if_gone() -> None:
    """Redirect output to /dev/null if the terminal has closed, because writing would fail."""
    for number in (1, 2):
        try:
            os.write(number, b"")
        except OSError as error:
            if error.errno == errno.EIO:
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)
