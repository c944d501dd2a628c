"""Progress reports of long jobs: bars, and stages with their time and result."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

LOG_SECONDS = 30.0  # between two updates of a bar in a log


def bar(things: Iterable[Any], what: str, **options: Any) -> Any:
    """Iterate over ``things`` with a progress bar of tqdm, updated every half minute in a log.

    Without tqdm nothing is shown, because convert synth must work with numpy and scipy alone.
    """
    try:
        from tqdm import tqdm  # noqa: PLC0415 - it may not be installed
    except ModuleNotFoundError:
        return (thing for thing in things)  # a generator, which has close() as a bar does
    if not sys.stderr.isatty():
        options |= {"mininterval": LOG_SECONDS, "maxinterval": 2 * LOG_SECONDS}
        options |= {"delay": LOG_SECONDS, "ascii": True}
    return tqdm(things, desc=what, leave=False, **options)


class Stage:
    """Reports one stage: ``with Stage("[6/6] write") as stage: ...; stage.result = "22 MB"``.

    On a terminal it counts the seconds while the stage runs. Elsewhere it prints a line at the
    beginning, so that a log shows what is being done. At the end both show result and duration.
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
