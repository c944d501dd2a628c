"""Temperature scaling: calibrate how confident the network's probabilities are.

The log-odds are divided by one number, the temperature (Guo et al., "On Calibration of Modern
Neural Networks", ICML 2017); the order of the answers does not change. Device and workstation get
the same results because both use this module.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

INT8_STEP = 1 / 256  # resolution of an int8 network's probabilities, which end at 1 - INT8_STEP
MIN_P = INT8_STEP / 2  # probabilities below count as this, so that log-odds are finite
TEMPERATURE_RANGE = (0.05, 100.0)  # beyond, all answers are all but certain, or all alike


def apply_temperature(p: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Divide the log-odds of ``p`` (n,), which adds up to 1, by ``temperature``; same shape.

    The device does this. Values below MIN_P count as MIN_P; at temperature 1 ``p`` is returned
    as it is.
    """
    if temperature == 1:
        return p
    log_p = np.log(np.clip(p, MIN_P, 1)) / np.float32(temperature)
    weights = np.exp(log_p - log_p.max())
    return np.asarray(weights / weights.sum(), dtype=np.float32)


def highest_p(precision: str, temperature: float) -> float:
    """Highest probability an answer can have: 1, or 1 - INT8_STEP for int8, temperature applied."""
    highest = 1 - INT8_STEP if precision == "int8" else 1.0
    if temperature == 1:
        return highest
    # As in apply_temperature(), the other label's probability of 0 counts as MIN_P.
    odds = (highest / MIN_P) ** (1 / temperature)
    return odds / (1 + odds)


def log_odds(p: NDArray[np.float32], precision: str) -> NDArray[np.float64]:
    """The log-odds that :func:`apply_temperature` uses, from one label's ``p`` (n,) in [0, 1].

    With ``precision`` int8, the other label's probability beside the highest one, 1 - INT8_STEP,
    may be INT8_STEP or 0. Which one is not known here, so the more confident answer, 0, is assumed.
    """
    p64 = p.astype(np.float64)
    other = np.maximum(1 - p64, MIN_P)
    if precision == "int8":
        other = np.where(p64 >= 1 - INT8_STEP, MIN_P, other)
    return np.asarray(np.log(np.maximum(p64, MIN_P) / other))


def apply_temperature_single(
    p: NDArray[np.float32], temperature: float, precision: str
) -> NDArray[np.float32]:
    """:func:`apply_temperature` for one label's ``p`` (n,) in [0, 1], without the other's."""
    return np.asarray(1 / (1 + np.exp(-log_odds(p, precision) / temperature)), dtype=np.float32)


def remove_temperature(p: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """The network's own probabilities, (n,) in [0, 1], that ``temperature`` turned into ``p``."""
    clipped = np.clip(p.astype(np.float64), 1e-7, 1 - 1e-7)  # float32 resolves nothing nearer to 1
    z = np.log(clipped / (1 - clipped)) * temperature
    return np.asarray(1 / (1 + np.exp(-z)), dtype=np.float32)


def raw_threshold(threshold: float, temperature: float) -> float:
    """The network's own probability, in [0, 1], that ``temperature`` turns into ``threshold``.

    ``threshold`` lies in (0, 1). The floor of MIN_P is not applied.
    """
    z = temperature * math.log(threshold / (1 - threshold))
    return 1 / (1 + math.exp(min(-z, 700)))  # e^709 is the last in float64's range
