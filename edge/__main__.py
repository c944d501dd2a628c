"""Entry point of ``edge`` and of ``python -m edge``."""

import sys
from importlib import import_module


def run(package: str) -> int:
    """Run the command line of ``package``; Ctrl-C exits with 130 even during its import."""
    try:
        return int(import_module(f"{package}.cli").main())
    except KeyboardInterrupt:
        return 130


def main() -> int:
    """Run ``edge``."""
    return run("edge")


if __name__ == "__main__":
    sys.exit(main())
