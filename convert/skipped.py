"""Recordings that are left out: counted and named, never dropped in silence."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

# Of recordings to learn from: shorter ones, repeated to fill a window, would beat as a knock does.
LEAST_S = 1.0


@dataclass
class Skipped:
    """Recordings that nothing is learnt from."""

    unreadable: list[str] = field(default_factory=list)  # with what is wrong with each
    short: list[str] = field(default_factory=list)

    def say(self, *, unreadable: bool = True) -> None:
        """Count and name them on standard error; not ``unreadable`` ones if others have."""
        if unreadable:
            say_unreadable(self.unreadable)
        why = f"shorter than {LEAST_S:g} s: repeated, it would beat as a knock does"
        count_and_name("left out", "recording", why, self.short)


def say_unreadable(unreadable: Sequence[str]) -> None:
    """One line about recordings that were skipped, if any were."""
    count_and_name("skipped", "recording", "that cannot be read", unreadable)


def count_and_name(done: str, what: str, why: str, names: Sequence[str]) -> None:
    """``left out 2 recordings copied from another: a; b`` on standard error, if there are any."""
    if names:
        what += "s" * (len(names) > 1)
        shown = "; ".join(names[:3]) + (" ..." if len(names) > 3 else "")
        print(f"{done} {len(names)} {what} {why}: {shown}", file=sys.stderr)
