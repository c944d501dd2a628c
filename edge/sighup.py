"""What SIGHUP means to this process: reload the settings, or that the terminal has closed."""

from __future__ import annotations

import errno
import os
import signal
from enum import Enum, auto


class SighupAction(Enum):
    """What to do on SIGHUP."""

    RELOAD = auto()  # as is usual for services
    STOP = auto()
    IGNORE = auto()


def sighup_action() -> SighupAction:
    """What this process should do on SIGHUP. Call this before a handler for it is set.

    If the terminal it was started in is closed, the listener must stop: otherwise it would keep
    microphone and lamp occupied, unseen. Started by nohup, it is meant to go on.
    """
    if "NOTIFY_SOCKET" in os.environ:
        return SighupAction.RELOAD
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return SighupAction.IGNORE
    return SighupAction.STOP if any(map(os.isatty, (0, 1, 2))) else SighupAction.RELOAD


def silence_closed_terminal() -> None:
    """Redirect output to /dev/null if the terminal has closed, because writing would fail."""
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b"")
        except OSError as error:
            if error.errno == errno.EIO:
                os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
