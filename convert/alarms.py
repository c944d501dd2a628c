"""False alarms per hour: the alerts of the device's detector on windows that do not knock."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

from edge.detector import Detector, DetectorConfig


def alerts_in(p: NDArray[np.float32], threshold: float, hop_s: float) -> int:
    """Number of alerts that the device's detector starts on windows ``p`` (NaN: not judged).

    The detector votes over a fixed number of windows, on the device half a second apart; with
    another ``hop_s`` that vote spans another time.
    """
    detector = Detector(DetectorConfig())
    return sum(
        detector.update(None if np.isnan(value) else value >= threshold, number * hop_s).started
        for number, value in enumerate(p)
    )


class FalseAlarms(TypedDict):
    """Number and rate of alerts where nothing knocks."""

    alerts: int
    hours: float  # of the detector's time, on which the alerts were counted
    per_hour: float | None  # None where no time was judged
    per_hour_at_most: float | None  # upper 95 % confidence limit
    sources_too_short: int  # for an alert; left out of the other figures


def false_alarms(
    sources: Iterable[NDArray[np.float32]], threshold: float, hop_s: float
) -> FalseAlarms:
    """Alerts and hours of ``sources``: p_knocking of all windows of each, NaN where not judged.

    Time is the detector's own: ``hop_s`` for each judged window. The sound of short recordings
    lasts longer, so an hour of it holds fewer windows than the device judges in an hour.

    Sources with fewer judged windows than an alert needs, or with these too far apart, cannot raise
    one, whatever the network says. They are counted separately, and their time does not count as
    time without an alert.
    """
    alerts, windows, short = 0, 0, 0
    for p in sources:
        if not alerts_in(np.where(np.isnan(p), p, 1), 0.5, hop_s):  # not even if all knock
            short += 1
            continue
        alerts += alerts_in(p, threshold, hop_s)
        windows += int(np.isfinite(p).sum())
    hours = windows * hop_s / 3600
    # One-sided Poisson limit: at this rate, so few alerts or fewer come in 5 of 100 such times.
    most = float(gammaincinv(alerts + 1, 0.95))
    return {
        "alerts": alerts,
        "hours": round(hours, 4),
        "per_hour": round(alerts / hours, 2) if windows else None,
        "per_hour_at_most": round(most / hours, 2) if windows else None,
        "sources_too_short": short,
    }


def in_words(figures: FalseAlarms) -> str:
    """``figures`` as a phrase, with ``-`` in the place of a rate where no time was judged.

    ``0 in 15.6 min: 0.0 per hour, 95 % upper limit 11.5; 3 sources are too short for an alert``
    """
    phrase, short = "-", figures["sources_too_short"]
    if figures["per_hour"] is not None:
        minutes, rate = 60 * figures["hours"], figures["per_hour"]
        phrase = f"{figures['alerts']} in {minutes:.1f} min: {rate:.1f} per hour"
        phrase += f", 95 % upper limit {figures['per_hour_at_most']:.1f}"
    if short:
        phrase += f"; {short} {'source is' if short == 1 else 'sources are'} too short for an alert"
    return phrase
