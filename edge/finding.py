"""What ``edge doctor`` finds, one line each."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Level = Literal["ok", "warn", "fail"]
UNIT = Path("/etc/systemd/system/knockknock-edge.service")


def ways(*remedies: str) -> str:
    """Those of ``remedies`` that are any, in one line."""
    return "; ".join(filter(None, remedies))


def in_use() -> str:
    """How to let go of what an installed service may hold; "" where none is installed."""
    if not UNIT.exists():
        return ""
    return "if the service runs, stop it: systemctl stop knockknock-edge"


def locked(shm: Path = Path("/dev/shm")) -> str:  # noqa: S108 - the kernel's own
    """How to get rid of a lock of JACK's that nobody may hold any more; "" where there is none.

    PortAudio asks for a JACK server. Its library keeps a data base below ``shm``: a program killed
    while it holds the lock in there leaves all later ones of that account waiting.
    """
    folder = shm / f"jack_db-{os.getuid()}"
    return f"if it hangs and no JACK program runs: rm -r {folder}" if folder.exists() else ""


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    level: Level
    what: str
    detail: str
    remedy: str = ""

    def line(self) -> str:
        """As it is printed."""
        remedy = f"\n{'':22}-> {self.remedy}" if self.remedy else ""
        return f"{self.level:<6}{self.what:<16}{self.detail}{remedy}"
