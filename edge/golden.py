"""Check a runtime against the export's answer to a sound that any device can generate."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.classifier import Classifier
from edge.frontend import FrontEnd

TOLERANCE = 0.05  # in p; runtimes round differently, by more than one step of 1/256
MISMATCH = "this runtime computes wrongly: choose another by listen.runtime"


@dataclass(frozen=True)
class GoldenAnswer:
    """A network's answer to the golden sound, compared with the one in its manifest."""

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
    """White noise that any device can generate, (n_samples,) float32; standard deviation 0.1.

    The export stores the network's answer to it in the manifest.
    """
    noise = np.random.default_rng(seed).standard_normal(n_samples)
    return (0.1 * noise).astype(np.float32)


def golden_answer(front_end: FrontEnd, classifier: Classifier) -> GoldenAnswer | None:
    """The network's answer to the golden sound; None if its manifest has none to compare with."""
    expected = classifier.manifest.golden
    if not {"seed", "p_knocking"} <= expected.keys():
        return None
    y = golden_sound(int(expected["seed"]), front_end.config.n_samples)
    p = classifier.predict(front_end.picture(y))
    return GoldenAnswer(p, math.inf if math.isnan(p) else abs(p - expected["p_knocking"]))
