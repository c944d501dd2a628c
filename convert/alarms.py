"""False alarms an hour: what the device's detector would have made of the windows judged."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from edge.detector import Detector, DetectorConfig


def alerts_in(p: NDArray[np.float32], threshold: float, hop_s: float) -> int:
    """How often the device's detector starts an alert over windows ``p`` (NaN: not judged).

    The device looks every half second; with another ``hop_s`` its windows span another time.
    """
    detector = Detector(DetectorConfig())
    return sum(
        detector.update(None if np.isnan(value) else value >= threshold, number * hop_s).started
        for number, value in enumerate(p)
    )


def false_alarms(
    sources: Iterable[tuple[NDArray[np.float32], float]], threshold: float, hop_s: float
) -> dict[str, float]:
    """Alerts and hours of ``sources``: windows of each, end to end, and how many s could be judged.

    Sources of fewer judged windows than an alert needs can give none, whatever the network says;
    they are counted apart, and their time is none in which it was silent.
    """
    alerts, seconds, short = 0, 0.0, 0
    for p, heard_s in sources:
        if np.isfinite(p).sum() < DetectorConfig().needed:
            short += 1
            continue
        alerts += alerts_in(p, threshold, hop_s)
        seconds += heard_s
    return {
        "alerts": alerts,
        "hours": round(seconds / 3600, 4),
        "per_hour": round(alerts / (seconds / 3600), 2) if seconds else 0.0,
        "sources_too_short": short,
    }


def in_words(figures: dict[str, float]) -> str:
    """``0 in 15.6 min, 0.0 an hour; 3 sources are too short for an alert``."""
    said = f"{figures['alerts']:.0f} in {60 * figures['hours']:.1f} min"
    if figures["hours"]:
        said += f", {figures['per_hour']:.1f} an hour"
    if figures["sources_too_short"]:
        said += f"; {figures['sources_too_short']:.0f} sources are too short for an alert"
    return said
