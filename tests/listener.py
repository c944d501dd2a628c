"""A scripted classifier, source and clock, to run the whole listener in tests."""

import json
from typing import Any

import numpy as np

from edge.frontend import FrontEnd
from edge.microphone import NOT_OPENED
from edge.service import Service
from edge.status import signal_of
from edge.window import Block
from tests.audio import noise

SR = 22_050


class Judge:
    """A classifier that answers with its script, then 0.1 for ever."""

    def __init__(self):
        self.script = []

    def predict(self, picture):
        return self.script.pop(0) if self.script else 0.1


class Blank(FrontEnd):
    """A front end whose pictures are black and cost nothing: for a judge that ignores them."""

    def picture(self, y):
        self._check(y)
        return np.zeros((self.config.network_px, self.config.network_px, 3), dtype=np.uint8)


class Clock:
    """Stands in for the module ``time``: sleeping returns at once and advances the clock."""

    def __init__(self):
        self.now_s = 1000.0

    def monotonic(self):
        return self.now_s

    def sleep(self, seconds):
        self.now_s += seconds


class Scripted:
    """A source that follows ``steps``.

    A step is an array to play, a Block, a string (a problem to report) or a function to call.
    """

    def __init__(self, steps):
        self.steps = list(steps)
        self.name = "USB Audio (hw:1,0)"
        self.problem = ""
        self.at = 0.0
        self.closed = False
        self.gaps = self.restarts = self.overflows = 0  # as Microphone counts them
        self.rate_error = 0.0

    @property
    def opening(self):
        return self.problem == NOT_OPENED

    def read(self, timeout_s):
        if not self.steps:
            return None
        step = self.steps.pop(0)
        if isinstance(step, str):
            self.problem = step
            return []
        if callable(step):
            step()
            return []
        if isinstance(step, Block):  # with its own start time
            self.problem = ""
            self.gaps += step.gap
            return [step]
        block = Block(step, self.at, gap=bool(self.problem))
        self.problem = ""
        self.at += step.size / SR
        return [block]

    def close(self):
        self.closed = True


class Watch:
    """A step of a source that notes the signal of a service, which is set later."""

    def __init__(self, ask=lambda service: signal_of(service.state())):
        self.service: Service | None = None
        self.shown: list[Any] = []
        self._ask = ask

    def __call__(self):
        self.shown.append(self._ask(self.service))


def status(tmp_path):
    return json.loads((tmp_path / "status.json").read_text())


def seconds(n, seed=0):
    """``n`` blocks of half a second of noise."""
    y = noise(n / 2, seed=seed)
    return [y[i * SR // 2 : (i + 1) * SR // 2] for i in range(n)]
