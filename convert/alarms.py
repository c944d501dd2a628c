"""False alarms an hour: what the device's detector would have made of the windows judged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

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


class FalseAlarms(TypedDict):
    """Alerts where nothing knocks, and the time in which they came."""

    alerts: int
    hours: float
    per_hour: float | None  # None where no time was judged
    per_hour_at_most: float | None  # with 95 % certainty
    sources_too_short: int


def false_alarms(
    sources: Iterable[NDArray[np.float32]], threshold: float, hop_s: float
) -> FalseAlarms:
    """Alerts and hours of ``sources``: the windows of each end to end, NaN where not judged.

    Time is the detector's own: ``hop_s`` for each window judged. The sound of short recordings
    lasts longer than that, so an hour of it would hold more windows than the device has in one.

    Sources of fewer judged windows than an alert needs can give none, whatever the network says;
    they are counted apart, and their time is none in which it was silent.
    """
    alerts, windows, short = 0, 0, 0
    for p in sources:
        count = int(np.isfinite(p).sum())
        if count < DetectorConfig().needed:
            short += 1
            continue
        alerts += alerts_in(p, threshold, hop_s)
        windows += count
    hours = windows * hop_s / 3600
    # Of so many alerts by chance (Poisson) at least as few still come in 5 of 100 such times.
    most = float(gammaincinv(alerts + 1, 0.95))
    return {
        "alerts": alerts,
        "hours": round(hours, 4),
        "per_hour": round(alerts / hours, 2) if windows else None,
        "per_hour_at_most": round(most / hours, 2) if windows else None,
        "sources_too_short": short,
    }


def in_words(figures: FalseAlarms) -> str:
    """``0 in 15.6 min: 0.0 an hour, 95 % below 11.5; 3 sources are too short for an alert``.

    ``-`` without time.
    """
    said, short = "-", figures["sources_too_short"]
    if figures["per_hour"] is not None:
        minutes, rate = 60 * figures["hours"], figures["per_hour"]
        said = f"{figures['alerts']} in {minutes:.1f} min: {rate:.1f} an hour"
        said += f", 95 % below {figures['per_hour_at_most']:.1f}"
    if short:
        said += f"; {short} {'source is' if short == 1 else 'sources are'} too short for an alert"
    return said
