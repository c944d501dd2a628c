"""Speed and memory of edge, as ratios to those of librosa, matplotlib and torch.

Machines differ and are shared. So both implementations run alternately in one process on one
thread, and the fastest of many runs of each is compared. Ratios carry over to other machines
better than times do. The network is int8 in a TFLite runtime on one side, float32 in torch on the
other. Takes two to four minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from edge.cli import run_cli
from edge.errors import ConfigError, EdgeError
from edge.files import write_atomically
from scripts.output import need_place

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)

BEFORE_NETWORK = ("resampling", "spectrogram", "picture")  # of the stages in benchmarks.ways


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        prog="benchmarks",
        description=__doc__,
        epilog="example:\n  python -m benchmarks --rounds 10 --out quick.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=30, help="runs of each stage (30)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/bench.json"),
        metavar="FILE",
        help="the table as JSON (out/bench.json)",
    )
    parser.set_defaults(run=_run)
    return run_cli(parser, None)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.rounds < 1:
        raise ConfigError(f"--rounds {arguments.rounds} must be 1 or more")
    need_place("--out", arguments.out)
    if os.environ.get("OMP_NUM_THREADS") != "1":  # libraries read it on import
        os.execve(  # noqa: S606 - this program again, with one thread
            sys.executable,
            [sys.executable, "-m", "benchmarks", *sys.argv[1:]],
            {**os.environ, **ONE_THREAD},
        )
    rows = [*_stages(arguments.rounds), *_start()]
    print(_table(rows))
    report = {"machine": platform.machine(), "python": platform.python_version(), "rows": rows}
    write_atomically(arguments.out, json.dumps(report, indent=1).encode())
    print(f"wrote {arguments.out}")
    return 0


def _stages(rounds: int) -> list[dict[str, Any]]:
    from benchmarks.ways import edge_way, training_way, window
    from edge.classifier import installed_runtimes

    y = window()
    theirs = training_way(y)
    rows = []
    for runtime in installed_runtimes():
        ours = edge_way(y, runtime)
        first = runtime == installed_runtimes()[0]
        for stage in (*BEFORE_NETWORK, "network", "verdict"):
            if stage in BEFORE_NETWORK and not first:
                continue  # does not depend on the runtime
            print(f"measuring {stage}, {runtime} ...", file=sys.stderr, flush=True)
            pair = (getattr(ours, stage), getattr(theirs, stage))
            times: tuple[list[float], list[float]] = ([], [])
            for number in range(rounds + 2):
                for call, taken in zip(pair, times, strict=True):
                    began = time.perf_counter()
                    call()
                    if number >= 2:  # the first runs are warm-up
                        taken.append(1000 * (time.perf_counter() - began))
            name = stage if stage in BEFORE_NETWORK else f"{stage}, {runtime}"
            rows.append(_row(f"{name}, ms", *times))
    return rows


def _row(name: str, ours: list[float], theirs: list[float]) -> dict[str, Any]:
    return {
        "what": name,
        "edge": round(min(ours), 2),
        "training_tools": round(min(theirs), 2),
        "ratio": round(min(theirs) / min(ours), 1),
        "ratio_of_medians": round(statistics.median(theirs) / statistics.median(ours), 1),
    }


def _start() -> list[dict[str, Any]]:
    """Rows on start-up time and memory, each from three fresh processes."""
    found: dict[str, list[dict[str, float]]] = {"edge": [], "training": []}
    for _ in range(3):
        for way, results in found.items():
            print(f"measuring a fresh process, {way} ...", file=sys.stderr, flush=True)
            results.append(_first_verdict(way))
    return [
        _row(title, [r[key] for r in found["edge"]], [r[key] for r in found["training"]])
        for title, key in (
            ("start to first verdict, s", "seconds"),
            ("peak memory, MB", "peak_mb"),
        )
    ]


def _first_verdict(way: str) -> dict[str, float]:
    """Figures measured by a fresh process; EdgeError with its last line if it fails."""
    command = [sys.executable, "-m", "benchmarks.first_verdict", way]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        words = done.stderr.strip().splitlines() or ["no output"]
        raise EdgeError(f"a fresh process, {way}, exited with {done.returncode}: {words[-1]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _table(rows: list[dict[str, Any]]) -> str:
    head = f"{'one thread, fastest run':<34}{'edge':>9}{'librosa+':>10}{'ratio':>8}{'medians':>9}"
    lines = [
        f"{r['what']:<34}{r['edge']:>9.2f}{r['training_tools']:>10.2f}"
        f"{r['ratio']:>8.1f}{r['ratio_of_medians']:>9.1f}"
        for r in rows
    ]
    return "\n".join([head, *lines])


if __name__ == "__main__":
    sys.exit(main())
