"""``docs/faults.md``: what was seen while each fault was there, a row each."""

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
HEAD = f"""# Faults, and what the listener makes of them

Written by `make faults`, which causes each of these with the listener running on real
PortAudio and a virtual microphone. State, reason and times are from its `status.json`, which it
writes once a second; where it does not run for long enough to write one, the time is the lamp's.
The lamp is what its pin did: each setting of the pin was recorded, and the pattern recognised in
that; once all was mended, the one of `listening` had to follow. Records lay in the black box's
folder before the fault. Afterwards, with the listener stopped, each had to be there with every
byte, and nothing half-written beside them.

| {" | ".join(COLUMNS)} |
|{"---|" * len(COLUMNS)}
"""
NOT_AT_ALL = "-"


@dataclass(frozen=True)
class Row:
    """One fault, as it was seen. What does not apply is ``NOT_AT_ALL``."""

    fault: str
    state: str  # as in the status
    lamp: str  # how the pin's pattern looks
    says: str
    after: str  # until it is shown
    back: str  # until all is well again
    kept: str

    def line(self) -> str:
        """As a line of the table."""
        cells = (self.fault, self.state, self.lamp, self.says, self.after, self.back, self.kept)
        return f"| {' | '.join(cells)} |\n"


def looks(signal: Signal) -> str:
    """How the pattern of ``signal`` looks."""
    return PATTERNS[signal].looks


def in_words(status: dict[str, Any]) -> str:
    """The gravest problem that ``status`` tells of, or why the last window was not judged."""
    if not status["problems"]:
        reason = status.get("last_reason")
        return f"last_reason: {reason}" if reason else NOT_AT_ALL
    problem = re.sub(r"/\S*/(?=[\w.]+)", "", status["problems"][0])  # folders are of no interest
    return re.sub(r" by <.*>$", "", problem)  # nor is Python's own name of a lamp


def document(rows: Iterable[Row]) -> str:
    """The whole of ``docs/faults.md``."""
    return HEAD + "".join(row.line() for row in rows)
