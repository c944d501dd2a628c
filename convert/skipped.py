"""Reports of recordings left out: they are counted and named, never dropped silently."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from edge.errors import printable

# Minimum length for training: a shorter one, repeated to fill a window, would sound periodic, like
# a knock.
MIN_CLIP_S = 1.0
SILENT = 1e-4  # peak, full scale 1: about three steps of 16 bits


@dataclass
class Skipped:
    """Recordings that are not used for training."""

    unreadable: list[str] = field(default_factory=list)  # error messages, which name the files
    short: list[str] = field(default_factory=list)

    def say(self, *, unreadable: bool = True) -> None:
        """Count and name them on standard error, without the unreadable ones if so asked."""
        if unreadable:
            say_unreadable(self.unreadable)
        why = f"shorter than {MIN_CLIP_S:g} s: repetition would sound like knocking"
        count_and_name("left out", "recording", why, self.short)


def say_unreadable(unreadable: Sequence[str]) -> None:
    """Count and name ``unreadable`` recordings on standard error, if there are any."""
    count_and_name("skipped", "recording", "that cannot be read", unreadable)


def count_and_name(done: str, what: str, why: str, names: Sequence[str]) -> None:
    """Print ``left out 2 recordings copied from another: a; b``, if any, to standard error."""
    if names:
        what += "s" * (len(names) > 1)
        shown = "; ".join(names[:3]) + (" ..." if len(names) > 3 else "")
        print(printable(f"{done} {len(names)} {what} {why}: {shown}"), file=sys.stderr)
