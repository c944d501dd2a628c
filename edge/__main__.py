"""``python -m edge`` is ``edge``: both start here."""

import sys
from importlib import import_module


def run(package: str) -> int:
    """The command line of ``package``; Ctrl-C while it is being loaded ends it like any other."""
    try:
        return int(import_module(f"{package}.cli").main())
    except KeyboardInterrupt:
        return 130


def main() -> int:
    """Run ``edge``."""
    return run("edge")


if __name__ == "__main__":
    sys.exit(main())
