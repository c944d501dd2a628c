"""Does this runtime compute what the export computed? Asked with a sound any device can make."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.classifier import Classifier
from edge.frontend import FrontEnd

TOLERANCE = 0.05  # runtimes round differently, more than one step of 1/256
WRONG = "this runtime computes wrongly: set listen.runtime"  # where an answer does not hold


@dataclass(frozen=True)
class GoldenAnswer:
    """What a network says of the golden sound, beside what its manifest says it must."""

    p: float  # of knocking, in [0, 1]; NaN where the answer is no number
    off: float  # how far that is from the manifest's, 0 or more; infinity for NaN

    @property
    def holds(self) -> bool:
        """Whether this runtime computes what the export computed."""
        return self.off <= TOLERANCE

    def __str__(self) -> str:
        """In words, for a log or a report."""
        return f"golden answer {self.p:.3f}, off by {self.off:.3f}"


def golden_sound(seed: int, n_samples: int) -> NDArray[np.float32]:
    """Noise any device can make by itself, (n_samples,) float32.

    The export writes into the manifest what the network says of it.
    """
    noise = np.random.default_rng(seed).standard_normal(n_samples)
    return (0.1 * noise).astype(np.float32)


def golden_answer(front_end: FrontEnd, classifier: Classifier) -> GoldenAnswer | None:
    """What the network says of the golden sound; None if its manifest has nothing to compare."""
    known = classifier.manifest.golden
    if not {"seed", "p_knocking"} <= known.keys():
        return None
    y = golden_sound(int(known["seed"]), front_end.config.n_samples)
    p = classifier.predict(front_end.picture(y))
    return GoldenAnswer(p, math.inf if math.isnan(p) else abs(p - known["p_knocking"]))
