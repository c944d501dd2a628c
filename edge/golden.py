"""Check a runtime against the export's answers to two sounds that any device can generate.

One answer would not do: a runtime that takes everything for a healthy engine, the most dangerous
kind, answers noise as it should. Of 55 networks, each with the weights of one layer damaged so that
some answer was off by more than 0.2, noise gave 2 away, the knocks 40, among them all 15 that
changed one of twenty verdicts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.classifier import Classifier
from edge.frontend import FrontEnd

TOLERANCE = 0.05  # in p; runtimes round differently, by more than one step of 1/256
BLOWS_HZ = 8.0  # of golden_knocks(), a second
MODES_HZ = (350.0, 620.0, 1100.0, 1900.0, 2800.0)  # their resonances
DECAY_S = 0.004
LEVEL = 4.0  # amplitude of each mode, relative to the standard deviation of the noise
MISMATCH = "this runtime computes wrongly: choose another by listen.runtime"


@dataclass(frozen=True)
class GoldenAnswer:
    """A network's answer to a golden sound, compared with the one in its manifest."""

    p: float  # p_knocking, in [0, 1]; NaN if the answer is not a number
    error: float  # absolute difference from the manifest's, 0 or more; infinity for NaN

    @property
    def within_tolerance(self) -> bool:
        """Whether this runtime computes what the export computed."""
        return self.error <= TOLERANCE

    def __str__(self) -> str:
        """The answer in words, for a log or a report."""
        return f"golden answer {self.p:.3f}, off by {self.error:.3f}"


def golden_sound(seed: int, n_samples: int) -> NDArray[np.float32]:
    """White noise, (n_samples,) float32, standard deviation 0.1: no knock to any network."""
    noise = np.random.default_rng(seed).standard_normal(n_samples)
    return (0.1 * noise).astype(np.float32)


def golden_knocks(seed: int, n_samples: int, sr: int) -> NDArray[np.float32]:
    """Blows of decaying sines over white noise, (n_samples,) float32, peak below 1; ``sr`` in Hz.

    A clear knock, but not a network's surest one, whose answer would hide small errors.
    """
    noise = np.random.default_rng(seed).standard_normal(n_samples)
    t = np.arange(n_samples) / sr % (1 / BLOWS_HZ)
    blows = np.sin(2 * np.pi * np.multiply.outer(MODES_HZ, t)).sum(axis=0) * np.exp(-t / DECAY_S)
    return (0.02 * (noise + LEVEL * blows)).astype(np.float32)


def golden_answer(front_end: FrontEnd, classifier: Classifier) -> GoldenAnswer | None:
    """The network's answer that is further off; None if its manifest has none to compare with.

    Models from before there were knocks among the golden sounds have only the answer to noise.
    """
    expected, config = classifier.manifest.golden, front_end.config
    if not {"seed", "p_knocking"} <= expected.keys():
        return None
    seed = int(expected["seed"])
    answers = [_compared(front_end, classifier, golden_sound(seed, config.n_samples), "p_knocking")]
    if "p_of_knocks" in expected:
        y = golden_knocks(seed, config.n_samples, config.sr)
        answers.append(_compared(front_end, classifier, y, "p_of_knocks"))
    return max(answers, key=lambda answer: answer.error)


def _compared(
    front_end: FrontEnd, classifier: Classifier, y: NDArray[np.float32], name: str
) -> GoldenAnswer:
    p = classifier.predict(front_end.picture(y))
    expected = classifier.manifest.golden[name]
    return GoldenAnswer(p, math.inf if math.isnan(p) else abs(p - expected))
