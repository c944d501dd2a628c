"""Logging for the systemd journal: one line per record, with its priority, and rate-limited."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections import defaultdict, deque

from edge.errors import printable

BURST, PERIOD_S = 10, 60.0  # at most BURST records of one kind within PERIOD_S seconds


class RateLimit(logging.Filter):
    """Passes BURST records of one kind per PERIOD_S; the next says how many were dropped."""

    def __init__(self) -> None:
        super().__init__()
        self._times: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=BURST))
        self._dropped: dict[str, int] = defaultdict(int)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether ``record`` may pass."""
        if record.levelno <= logging.DEBUG:
            return True  # every line of it was requested
        # A message about several things, such as "lamp: %s", names its kind in ``extra``.
        kind = f"{record.name}:{record.levelno}:{getattr(record, 'kind', record.msg)}"
        times, now = self._times[kind], time.monotonic()
        if len(times) == BURST and now - times[0] < PERIOD_S:
            self._dropped[kind] += 1
            return False
        if dropped := self._dropped.pop(kind, 0):
            record.msg = f"{record.msg} ({dropped} like this were left out)"
        times.append(now)
        return True


class OneLine(logging.Formatter):
    """Makes one printable line of each record, whatever is in the names of files."""

    def format(self, record: logging.LogRecord) -> str:
        """The message of ``record`` on one line."""
        return printable(" ".join(super().format(record).split()))


class _Format(OneLine):
    """Puts the priority before each line as ``<N>``, which systemd understands."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        levels = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
        priority = next((p for level, p in levels if record.levelno >= level), 7)
        return f"<{priority}>{line}"


def _stderr_is_journal() -> bool:
    """Whether standard error is the stream in JOURNAL_STREAM (systemd.exec(5)).

    That variable alone proves little: programs started by a service inherit it, even if their
    output goes elsewhere.
    """
    stderr = os.fstat(2)
    return os.environ.get("JOURNAL_STREAM") == f"{stderr.st_dev}:{stderr.st_ino}"


def set_up_logging(*, verbose: bool, limited: bool = True) -> None:
    """Log to standard error; with priorities if it is connected to the journal.

    ``limited``: through :class:`RateLimit`, whose minutes are real ones.
    """
    handler = logging.StreamHandler(sys.stderr)
    if _stderr_is_journal():
        handler.setFormatter(_Format("%(message)s"))
    else:
        handler.setFormatter(OneLine("%(asctime)s %(levelname)-7s %(message)s"))
    if limited:
        handler.addFilter(RateLimit())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
