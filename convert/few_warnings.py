"""Warnings about recordings: there may be thousands, all with the same flaw."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from edge.errors import printable

SHOWN = 3  # warnings of each kind


class FewOfEach(logging.Handler):
    """Prints the first warnings of each kind to standard error and counts the others."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._seen: dict[str, dict[str, None]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Print ``record``, unless it was printed before or is one too many of its kind."""
        text = record.getMessage()
        seen = self._seen.setdefault(str(record.msg), {})
        if text not in seen and len(seen) < SHOWN:
            print(printable(text), file=sys.stderr)
        seen[text] = None

    def print_counts(self) -> None:
        """For each kind that was not printed whole, say how many more there were."""
        with suppress(OSError):  # nobody reads any more, which the command has dealt with
            for seen in self._seen.values():
                if len(seen) > SHOWN:
                    more = f"{len(seen) - SHOWN} more like this: {next(iter(seen))}"
                    print(printable(more), file=sys.stderr)


@contextmanager
def few_warnings() -> Iterator[None]:
    """Print only a few of each kind of warning that :mod:`edge` gives, and the others' number."""
    handler, logger = FewOfEach(), logging.getLogger("edge")
    logger.addHandler(handler)
    before, logger.propagate = logger.propagate, False
    try:
        yield
    finally:
        logger.propagate = before
        logger.removeHandler(handler)
        handler.print_counts()
