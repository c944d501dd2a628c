"""What ``edge doctor`` finds, one line each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]
IN_USE = "if the service runs, stop it: systemctl stop knockknock-edge"


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
