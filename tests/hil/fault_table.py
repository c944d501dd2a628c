"""The text of ``docs/faults.md``: what was observed during each fault, a row per fault."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from edge.indicator import PATTERNS, Signal

COLUMNS = (
    "fault",
    "state",
    "lamp",
    "the status says",
    "shown after",
    "back after it is mended",
    "records kept",
)
HEAD = f"""# Faults, and how the service responds

Written by `make faults`, which causes each of these faults while the service runs on real
PortAudio and a virtual microphone. State, reason and times come from its `status.json`, which it
writes once a second; if it does not run for long enough to write one, the time is the lamp's. The
lamp's pattern was recognised in a record of every setting of its pin; once the fault was mended,
the pattern of `listening` had to follow. The black box's folder held records before the fault.
Afterwards, with the service stopped, each of them had to be there, identical in every byte, with
no half-written file beside them.

| {" | ".join(COLUMNS)} |
|{"---|" * len(COLUMNS)}
"""
NOT_AT_ALL = "-"


@dataclass(frozen=True)
class Row:
    """One fault, as it was observed. What does not apply is ``NOT_AT_ALL``."""

    fault: str
    state: str  # as in the status
    lamp: str  # the pattern that the pin showed, in words
    says: str
    after: str  # time until it is shown
    back: str  # time until all is well again
    kept: str

    def line(self) -> str:
        """As a line of the table."""
        cells = (self.fault, self.state, self.lamp, self.says, self.after, self.back, self.kept)
        return f"| {' | '.join(cells)} |\n"


def looks(signal: Signal) -> str:
    """The pattern of ``signal``, in words."""
    return PATTERNS[signal].description


def in_words(status: dict[str, Any]) -> str:
    """The gravest problem in ``status``, or the reason why the last window was not judged."""
    if not status["problems"]:
        reason = status.get("last_reason")
        return f"last_reason: {reason}" if reason else NOT_AT_ALL
    problem = re.sub(r"/\S*/(?=[\w.]+)", "", status["problems"][0])  # without folders
    return re.sub(r" by <.*>$", "", problem)  # nor Python's repr of a lamp


def document(rows: Iterable[Row]) -> str:
    """The whole of ``docs/faults.md``."""
    return HEAD + "".join(row.line() for row in rows)
