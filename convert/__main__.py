"""``python -m convert`` is ``convert``: both start here."""

import sys

from edge.__main__ import run


def main() -> int:
    """Run ``convert``."""
    return run("convert")


if __name__ == "__main__":
    sys.exit(main())
