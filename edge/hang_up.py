"""What SIGHUP means to this process: read the settings again, or that the terminal has gone."""

from __future__ import annotations

import errno
import os
import signal
from enum import Enum, auto


class HangUp(Enum):
    """What to do at SIGHUP."""

    RELOAD = auto()  # as services do
    STOP = auto()
    NOTHING = auto()


def meaning() -> HangUp:
    """Of SIGHUP to this process; to be asked before anything is done about that signal.

    Whoever started it in a terminal and closes that wants no listener left that keeps the
    microphone and the lamp, out of sight, from the next one; whoever used nohup does.
    """
    if "NOTIFY_SOCKET" in os.environ:
        return HangUp.RELOAD
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return HangUp.NOTHING
    return HangUp.STOP if any(map(os.isatty, (0, 1, 2))) else HangUp.RELOAD


def speak_to_nobody_if_gone() -> None:
    """Where the terminal has gone, what is said fails: from now on it goes nowhere instead."""
    for number in (1, 2):
        try:
            os.write(number, b"")
        except OSError as error:
            if error.errno == errno.EIO:
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)
