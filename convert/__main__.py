"""Entry point of both ``convert`` and ``python -m convert``."""

import sys

from edge.__main__ import run


def main() -> int:
    """Run ``convert``."""
    return run("convert")


if __name__ == "__main__":
    sys.exit(main())
