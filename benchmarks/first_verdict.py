"""Run in a fresh process: the time to the first verdict, and the memory it took."""

import json
import sys
import time
from pathlib import Path


def main() -> None:
    """``python -m benchmarks.first_verdict {edge|training}`` prints seconds and MB as JSON."""
    began = time.perf_counter()
    from benchmarks.ways import edge_way, training_way, window

    y = window()
    way = edge_way(y) if sys.argv[1] == "edge" else training_way(y)
    way.verdict()
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "peak_mb": peak_mb()}))


def peak_mb() -> float:
    """Peak resident memory, MB; getrusage would include that of the parent before exec."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
