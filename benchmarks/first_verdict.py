"""Run as a process of its own: from nothing to the first verdict, and what memory that took."""

import json
import resource
import sys
import time


def main() -> None:
    """``python -m benchmarks.first_verdict {edge|training}`` prints seconds and MB as JSON."""
    began = time.perf_counter()
    from benchmarks.ways import edge_way, training_way, window

    y = window()
    way = edge_way(y) if sys.argv[1] == "edge" else training_way(y)
    way.verdict()
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mb": peak}))


if __name__ == "__main__":
    main()
