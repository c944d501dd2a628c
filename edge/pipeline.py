"""The path from sound to verdict, the same for microphone and file, service and tests."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edge.frontend import FrontEnd
from edge.gate import Fault, Gate
from edge.gate_config import GateConfig
from edge.window import Block, Window, Windower, mean_flaws

Answer = Literal["knocking", "normal", "unknown"]
MAX_PAD_S = 0.024  # a window too short by no more than this (one STFT hop) is zero-padded
MIN_TAIL_S = 0.1  # if at least this much is uncovered at the end, it gets a last window


class PictureClassifier(Protocol):
    """What the pipeline asks of a classifier."""

    def predict(self, picture: NDArray[np.uint8]) -> float:
        """Probability of knocking for a picture (224, 224, 3) uint8."""
        ...


@dataclass(frozen=True)
class Verdict:
    """The verdict on one window."""

    start_s: float
    end_s: float
    verdict: Answer
    p_knocking: float | None  # None when unknown
    reason: str  # why unknown, else ""
    picture: NDArray[np.uint8] | None  # (224, 224, 3) uint8, what the network saw
    extra: bool = False  # of what is left where the sound ends: the service has no such window

    @property
    def knocks(self) -> bool | None:
        """Whether the window knocks, for the detector; None if it could not be judged."""
        return None if self.verdict == "unknown" else self.verdict == "knocking"

    def with_fault(self, fault: Fault | None) -> Verdict:
        """Itself, or ``unknown`` if the caller knows of a ``fault`` that the gate cannot see."""
        if fault is None or self.verdict == "unknown":
            return self
        return replace(self, verdict="unknown", p_knocking=None, reason=str(fault))

    def in_words(self) -> str:
        """For the log: ``normal, p = 0.035``; ``unknown, hiss``."""
        p = self.reason if self.p_knocking is None else f"p = {self.p_knocking:.3f}"
        return f"{self.verdict}, {p}"


class Pipeline:
    """Judges windows: gate, picture, network, threshold."""

    def __init__(
        self, front_end: FrontEnd, classifier: PictureClassifier, threshold: float
    ) -> None:
        self.front_end = front_end
        self.classifier = classifier
        self.set_limits(threshold)

    def set_limits(self, threshold: float, gate: GateConfig | None = None) -> None:
        """Set the threshold of p_knocking and the limits of the gate, from the next window on."""
        self.threshold = threshold
        self.gate = Gate(gate, sr=self.front_end.config.sr)

    def verdicts(self, blocks: Iterable[Block], *, hop_s: float) -> Iterator[Verdict]:
        """One verdict per window, every ``hop_s`` seconds, until the blocks end.

        If MIN_TAIL_S or more are uncovered at the end of the signal, an extra window ends there;
        likewise before each gap. A piece shorter than a window gets one verdict: too_short, or if
        it lacks no more than MAX_PAD_S, that on the piece padded with silence.
        """
        config = self.front_end.config
        windower = Windower(config.n_samples, round(hop_s * config.sr), config.sr)
        first_blocks: list[Block] = []  # filled only until there is enough sound for one window
        for block in blocks:
            if block.gap and first_blocks:
                yield from self._judge_end(first_blocks, windower)
                first_blocks = []
            if sum(b.y.size for b in first_blocks) < config.n_samples:
                first_blocks.append(block)
            for window in windower.push(block):
                yield self.judge_window(window)
        if first_blocks:
            yield from self._judge_end(first_blocks, windower)

    def _judge_end(self, first_blocks: list[Block], windower: Windower) -> Iterator[Verdict]:
        """The verdict on what is left when the sound ends; ``first_blocks`` is its beginning."""
        config = self.front_end.config
        if sum(b.y.size for b in first_blocks) < config.n_samples:
            yield replace(self._judge_short(first_blocks), extra=True)
        elif rest := windower.tail(min_new=round(MIN_TAIL_S * config.sr)):
            yield replace(self.judge_window(rest), extra=True)

    def judge_window(self, window: Window) -> Verdict:
        """The verdict on one window; ``unknown`` with the reason when it cannot be trusted."""
        fault = self.gate.check(window.y, window.flaws)
        if fault is not None:
            return self._unknown(window, fault)
        picture = self.front_end.picture(window.y)
        p = self.classifier.predict(picture)
        if not (math.isfinite(p) and 0 <= p <= 1):
            return Verdict(window.start_s, window.end_s, "unknown", None, Fault.BAD_ANSWER, picture)
        name: Answer = "knocking" if p >= self.threshold else "normal"
        return Verdict(window.start_s, window.end_s, name, p, "", picture)

    def _judge_short(self, blocks: list[Block]) -> Verdict:
        config = self.front_end.config
        y = np.concatenate([block.y for block in blocks])
        start_s = blocks[0].start_s
        window = Window(y, start_s, start_s + y.size / config.sr, mean_flaws(blocks))
        missing = config.n_samples - y.size
        if missing > MAX_PAD_S * config.sr:
            return self._unknown(window, Fault.TOO_SHORT)
        padded = np.concatenate([y, np.zeros(missing, dtype=np.float32)])
        return self.judge_window(Window(padded, start_s, window.end_s, window.flaws))

    def _unknown(self, window: Window, fault: Fault) -> Verdict:
        return Verdict(window.start_s, window.end_s, "unknown", None, str(fault), None)
