"""How a long job is getting on: what is being done, for how long, and what came of it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

LOG_SECONDS = 30.0  # between two signs of life in a log


def bar(things: Iterable[Any], what: str, **options: Any) -> Any:
    """A bar with the time left, of tqdm; in a log it speaks up every half minute.

    Without that package, ``things`` and not a word: convert synth needs numpy and scipy alone.
    """
    try:
        from tqdm import tqdm  # noqa: PLC0415 - it may not be there
    except ModuleNotFoundError:
        return (thing for thing in things)  # it can be closed, as the bar can
    if not sys.stderr.isatty():
        options |= {"mininterval": LOG_SECONDS, "maxinterval": 2 * LOG_SECONDS}
        options |= {"delay": LOG_SECONDS, "ascii": True}
    return tqdm(things, desc=what, leave=False, **options)


class Stage:
    """``with Stage("[3/7] quantise") as stage: ...; stage.result = "22 MB"``.

    On a terminal the seconds are counted while it lasts; elsewhere one line is printed at the
    beginning, so that a log shows what is going on, and one at the end.
    """

    def __init__(self, name: str, expect: str = "") -> None:
        self._name = name
        self._expect = expect
        self.result = ""
        self._ended = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        if sys.stderr.isatty():
            self._ticker.start()
        else:
            print(f"{self._name} ... {self._expect}".rstrip(), file=sys.stderr, flush=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._ticker.is_alive():
            self._ticker.join()
            print("\r\033[K", end="", file=sys.stderr)
        seconds = time.monotonic() - self._began
        outcome = self.result if error is None else "failed"
        print(f"{self._name:<28} {outcome}  ({seconds:.1f} s)", file=sys.stderr, flush=True)

    def _tick(self) -> None:
        while not self._ended.wait(0.5):
            seconds = time.monotonic() - self._began
            line = f"\r\033[K{self._name} ... {seconds:.0f} s {self._expect}"
            print(line.rstrip(), end="", file=sys.stderr, flush=True)
