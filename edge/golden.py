"""Does this runtime compute what the export computed? Asked with a sound any device can make."""

from __future__ import annotations

import math

from edge.classifier import Classifier
from edge.frontend import FrontEnd
from edge.model import golden_sound

TOLERANCE = 0.05  # runtimes round differently, more than one step of 1/256


def golden_answer(front_end: FrontEnd, classifier: Classifier) -> tuple[float, float] | None:
    """What the network says of the golden sound, and how far that is from what its manifest says.

    Both are probabilities of knocking; NaN and infinity where the answer is no number. None where
    the manifest holds none to compare with.
    """
    known = classifier.manifest.golden
    if not {"seed", "p_knocking"} <= known.keys():
        return None
    y = golden_sound(int(known["seed"]), front_end.config.n_samples)
    p = classifier.predict(front_end.picture(y))
    return p, math.inf if math.isnan(p) else abs(p - known["p_knocking"])
