"""Entry point of ``edge`` and of ``python -m edge``."""

import os
import sys
from importlib import import_module

# Variables from which a BLAS takes its number of threads when numpy is imported.
BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")


def run(package: str) -> int:
    """Run the command line of ``package``; Ctrl-C exits with 130 even during its import."""
    try:
        return int(import_module(f"{package}.cli").main())
    except KeyboardInterrupt:
        return 130


def main() -> int:
    """Run ``edge``, with one thread for numpy unless the environment says otherwise.

    For matrices as small as the front end's, more threads of OpenBLAS save no time, but wait for
    work by spinning, which takes a second core almost for itself.
    """
    if not any(name in os.environ for name in BLAS_THREADS):
        os.environ |= dict.fromkeys(BLAS_THREADS, "1")
    return run("edge")


if __name__ == "__main__":
    sys.exit(main())
