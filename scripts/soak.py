"""``make soak``: a day of sound through the whole listener at full speed; nothing may grow.

Prints memory and descriptors along the way. Ends with 1 if memory grows by more than 2 MB after
the first minute of running, if descriptors leak, or if a window that was due was not judged.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from convert import synth
from edge.blackbox import BlackBox
from edge.classifier import Classifier
from edge.config import Config
from edge.frontend import FrontEnd
from edge.health import StatusFile
from edge.indicator import Indicator
from edge.model import ModelFile, default_model
from edge.pipeline import Pipeline
from edge.service import Service
from edge.window import Block

MAX_GROWTH_MB = 2.0
SETTLED_S = 60.0
REPORT_S = 30.0


class Day:
    """Ten minutes of made engines, one of them knocking, round and round, in blocks of a second."""

    sr = synth.SR
    problem = ""
    opening = False

    def __init__(self, hours: float) -> None:
        rng = np.random.default_rng(1)
        parts = []
        for number in range(20):
            y = synth.engine(rng, synth.random_crank(rng, 30))
            if number == 10:
                y = synth.mix(y, synth.random_knock(rng, 30), 18)
            parts.append(0.3 * y / np.abs(y).max())
        self._loop = np.concatenate(parts).astype(np.float32)
        self.gaps = self.restarts = self.overflows = 0
        self.rate_error = 0.0
        self._blocks = round(hours * 3600)
        self._sent = 0
        self.rows: list[tuple[float, float, int]] = []  # seconds, MB, descriptors
        self._began = self._next = time.monotonic()

    def read(self, timeout_s: float) -> list[Block] | None:
        """The next second."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + REPORT_S
            self.rows.append(
                (now - self._began, memory_mb(), len(list(Path("/proc/self/fd").iterdir())))
            )
            heard = self._sent / 3600
            print(
                f"{heard:6.2f} h heard, {self.rows[-1][1]:.1f} MB, {self.rows[-1][2]} descriptors"
            )
        if self._sent == self._blocks:
            return None
        at = self._sent * self.sr % self._loop.size
        block = Block(self._loop[at : at + self.sr], float(self._sent))
        self._sent += 1
        return [block]

    def close(self) -> None:
        """Nothing is open."""


def memory_mb() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> int:
    """Run and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0, help="of sound (24)")
    arguments = parser.parse_args()
    config = Config.from_toml("[indicator]\nled_pin = -1\n[blackbox]\nmax_records = 5\n", "soak")
    model = ModelFile.read(default_model())
    pipeline = Pipeline(FrontEnd(), Classifier(model), model.manifest.threshold)
    with tempfile.TemporaryDirectory() as folder:
        day = Day(arguments.hours)
        service = Service(
            config,
            day,
            pipeline,
            indicator=Indicator(config.indicator),
            blackbox=BlackBox(Path(folder), config.blackbox, day.sr),
            status=StatusFile(Path(folder) / "status.json"),
            skip_when_behind=False,
        )
        service.run()
    counters = service.counters
    due = max(0, round((arguments.hours * 3600 - 2) / config.listen.hop_s) + 1)
    settled = [row for row in day.rows if row[0] >= SETTLED_S] or day.rows
    growth = settled[-1][1] - settled[0][1]
    leaked = settled[-1][2] - settled[0][2]
    gone_through = counters.windows_judged + counters.windows_unknown
    print(f"{gone_through} windows gone through, {due} due; {counters.alerts} alerts")
    print(f"memory grew by {growth:.2f} MB after the first minute, descriptors by {leaked}")
    return int(gone_through != due or growth > MAX_GROWTH_MB or leaked > 0)


if __name__ == "__main__":
    sys.exit(main())
