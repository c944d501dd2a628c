"""Logging as the journal wants it: one line each, with its priority, and never a flood."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections import defaultdict, deque

BURST, PERIOD_S = 10, 60.0  # so many lines of one kind in so long a time


class RateLimit(logging.Filter):
    """Lets BURST records of one kind through in PERIOD_S; the next one tells how many were not."""

    def __init__(self) -> None:
        super().__init__()
        self._times: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=BURST))
        self._held_back: dict[str, int] = defaultdict(int)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether ``record`` may pass."""
        if record.levelno <= logging.DEBUG:
            return True  # asked for, every line of it
        # What one line says of many things, "lamp: %s", names its kind itself.
        kind = f"{record.name}:{record.levelno}:{getattr(record, 'kind', record.msg)}"
        times, now = self._times[kind], time.monotonic()
        if len(times) == BURST and now - times[0] < PERIOD_S:
            self._held_back[kind] += 1
            return False
        if missed := self._held_back.pop(kind, 0):
            record.msg = f"{record.msg} ({missed} like this were left out)"
        times.append(now)
        return True


class _Format(logging.Formatter):
    """systemd reads a priority from ``<N>`` at the beginning of a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = " ".join(super().format(record).split())
        levels = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
        priority = next((p for level, p in levels if record.levelno >= level), 7)
        return f"<{priority}>{line}"


def _journal_listens() -> bool:
    """Whether standard error is the stream that systemd names (systemd.exec(5)).

    Its name alone says little: who is started by a service inherits it with any other output.
    """
    ours = os.fstat(2)
    return os.environ.get("JOURNAL_STREAM") == f"{ours.st_dev}:{ours.st_ino}"


def set_up_logging(*, verbose: bool) -> None:
    """Log to standard error, with priorities where the journal listens."""
    handler = logging.StreamHandler(sys.stderr)
    if _journal_listens():
        handler.setFormatter(_Format("%(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    handler.addFilter(RateLimit())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
