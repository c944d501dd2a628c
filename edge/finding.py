"""The findings of ``edge doctor``, one line each, and remedies that several of them name."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Level = Literal["ok", "warn", "fail"]
UNIT = Path("/etc/systemd/system/knockknock-edge.service")


def join_remedies(*remedies: str) -> str:
    """Join the non-empty ``remedies`` into one line."""
    return "; ".join(filter(None, remedies))


def device_in_use_hint() -> str:
    """How to release devices that an installed service may use; "" if none is installed."""
    if not UNIT.exists():
        return ""
    return "if the service runs, stop it: systemctl stop knockknock-edge"


def jack_lock_hint(shm: Path = Path("/dev/shm")) -> str:  # noqa: S108 - the kernel's own
    """How to remove a JACK lock that may be left over; "" if there is no JACK database.

    PortAudio looks for a JACK server. The JACK library keeps a database below ``shm``: if a program
    is killed while it holds the lock in there, all later ones of that account wait for ever.
    """
    folder = shm / f"jack_db-{os.getuid()}"
    return f"if it hangs and no JACK program runs: rm -r {folder}" if folder.exists() else ""


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    level: Level
    check: str
    detail: str
    remedy: str = ""

    def line(self) -> str:
        """The finding as it is printed; a remedy follows on a line of its own."""
        remedy = f"\n{'':22}-> {self.remedy}" if self.remedy else ""
        return f"{self.level:<6}{self.check:<16}{self.detail}{remedy}"
