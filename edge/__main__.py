"""``python -m edge`` is ``edge``: both start here."""

import sys


def main() -> int:
    """Run the command line; Ctrl-C while it is still being loaded ends it like any other."""
    try:
        from edge.cli import main as run  # noqa: PLC0415 - loading it takes a while

        return run()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
