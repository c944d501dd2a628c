"""``make soak``: a day of sound through the whole listener at full speed; memory must not grow.

Prints memory and open file descriptors along the way. Exits with 1 if memory grows by more than
2 MB after the first minute, if descriptors leak, if a window that was due was not processed, or if
the run was too short to tell.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from convert import synth
from edge.blackbox import BlackBox
from edge.classifier import Classifier
from edge.cli import run_cli
from edge.config import Config
from edge.errors import ConfigError
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
MAX_HOURS = 1000.0
Row = tuple[float, float, int]  # seconds, MB, descriptors


class Day:
    """A source that loops ten minutes of synthetic engines, one of them knocking, in 1 s blocks."""

    sr = synth.SR
    name = "synthetic engines"
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
        self._blocks = round(hours * 3600)  # of a second each
        self._sent = 0
        self.rows: list[Row] = []
        self._began = self._next = time.monotonic()

    def read(self, timeout_s: float) -> list[Block] | None:
        """The next second of sound, or None at the end."""
        if time.monotonic() >= self._next or self._sent == self._blocks:
            self._measure()
        if self._sent == self._blocks:
            return None
        at = self._sent * self.sr % self._loop.size
        block = Block(self._loop[at : at + self.sr], float(self._sent))
        self._sent += 1
        return [block]

    def _measure(self) -> None:
        now = time.monotonic()
        self._next = now + REPORT_S
        row = now - self._began, memory_mb(), len(list(Path("/proc/self/fd").iterdir()))
        self.rows.append(row)
        print(f"{self._sent / 3600:6.2f} h heard, {row[1]:.1f} MB, {row[2]} descriptors")

    def windows_due(self, seconds: float, hop_s: float) -> int:
        """How many windows of ``seconds`` the whole sound has, ``hop_s`` apart."""
        return max(0, math.floor((self._blocks - seconds) / hop_s) + 1)

    def close(self) -> None:
        """Do nothing: no device is open."""


def memory_mb() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> int:
    """Run the soak test; 0 if it passed."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0, help="hours of sound (24)")
    parser.set_defaults(run=_run)
    return run_cli(parser, None)


def _run(arguments: argparse.Namespace) -> int:
    if not 0 < arguments.hours < MAX_HOURS:
        raise ConfigError(f"--hours {arguments.hours:g} must lie between 0 and {MAX_HOURS:g}")
    config = Config.from_toml("[indicator]\nled_pin = -1\n[blackbox]\nmax_records = 5\n", "soak")
    model = ModelFile.read(default_model())
    pipeline = Pipeline(FrontEnd(), Classifier(model), model.manifest.threshold)
    # On a slow disk the black box may still be writing there when the folder is removed.
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        contextlib.closing(Indicator(config.indicator)) as indicator,
    ):
        day = Day(arguments.hours)
        service = Service(
            config,
            day,
            pipeline,
            indicator=indicator,
            blackbox=BlackBox(Path(folder), config.blackbox, day.sr),
            status=StatusFile(Path(folder) / "status.json"),
            skip_when_behind=False,
        )
        service.run()
    if service.stopped:  # by Ctrl-C, which the service handles itself
        raise KeyboardInterrupt
    counters = service.counters
    seconds = pipeline.front_end.config.n_samples / day.sr
    due = day.windows_due(seconds, config.listen.hop_s)
    processed = counters.windows_judged + counters.windows_unknown
    print(f"{processed} windows processed, {due} due; {counters.alerts} alerts")
    return int(not steady(day.rows) or processed != due)


def steady(rows: Sequence[Row]) -> bool:
    """Print the growth since SETTLED_S; whether it is within its limits, and could be measured."""
    settled = [row for row in rows if row[0] >= SETTLED_S]
    if len(settled) < 2:
        print(
            f"too short to measure growth: the run ended {rows[-1][0]:.0f} s after its start, and "
            f"memory is compared from {SETTLED_S:.0f} s on: give more --hours"
        )
        return False
    growth, leaked = (settled[-1][i] - settled[0][i] for i in (1, 2))
    print(f"memory grew by {growth:.2f} MB after the first minute, descriptors by {leaked:.0f}")
    return growth <= MAX_GROWTH_MB and leaked <= 0


if __name__ == "__main__":
    sys.exit(main())
