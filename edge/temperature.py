"""How sure an answer is, and how sure it may be taken to be: temperature scaling.

It divides the log-odds of an answer by one number, the temperature (Guo et al., "On Calibration of
Modern Neural Networks", ICML 2017); the order of answers stays. Device and workstation reckon alike
because both reckon here.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

STEP = 1 / 256  # of an int8 network's answers, which go from 0 to 1 - STEP
LEAST_P = STEP / 2  # what 0 is taken for, so that log-odds are finite
TEMPERATURES = (0.05, 100.0)  # beyond, answers are all but certain, or all the same


def tempered(p: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """``p`` (n,), adding up to 1, with its log-odds divided by ``temperature``: the device's way.

    Nothing is taken for less than LEAST_P. At 1 it is ``p`` itself.
    """
    if temperature == 1:
        return p
    log_p = np.log(np.clip(p, LEAST_P, 1)) / np.float32(temperature)
    shares = np.exp(log_p - log_p.max())
    return np.asarray(shares / shares.sum(), dtype=np.float32)


def highest_p(precision: str, temperature: float) -> float:
    """The surest that answers can be: int8 ends at 1 - STEP, and a temperature changes that."""
    surest = 1 - STEP if precision == "int8" else 1.0
    if temperature == 1:
        return surest
    # As tempered() reckons with an answer of 0 beside it.
    odds = (surest / LEAST_P) ** (1 / temperature)
    return odds / (1 + odds)


def log_odds(p: NDArray[np.float32], precision: str) -> NDArray[np.float64]:
    """The log-odds that :func:`tempered` reckons with, of one label's answers (n,) in [0, 1].

    The highest answer of a network whose ``precision`` is int8, 1 - STEP, may stand beside an
    answer of STEP or of 0, which is not known here: it is taken for the surer.
    """
    said = p.astype(np.float64)
    other = np.maximum(1 - said, LEAST_P)
    if precision == "int8":
        other = np.where(said >= 1 - STEP, LEAST_P, other)
    return np.asarray(np.log(np.maximum(said, LEAST_P) / other))


def tempered_alone(
    p: NDArray[np.float32], temperature: float, precision: str
) -> NDArray[np.float32]:
    """What :func:`tempered` makes of one label's answers ``p`` (n,) in [0, 1], the other unseen."""
    return np.asarray(1 / (1 + np.exp(-log_odds(p, precision) / temperature)), dtype=np.float32)


def untempered(p: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """What the network itself said, (n,) in [0, 1], where ``temperature`` made ``p`` of it."""
    kept = np.clip(p.astype(np.float64), 1e-7, 1 - 1e-7)  # as near to certain as float32 can tell
    z = np.log(kept / (1 - kept)) * temperature
    return np.asarray(1 / (1 + np.exp(-z)), dtype=np.float32)


def untempered_threshold(threshold: float, temperature: float) -> float:
    """The answer of the network itself, in [0, 1], that ``temperature`` makes ``threshold`` of.

    ``threshold`` lies in (0, 1); reckoned with as it is, without the floor of LEAST_P.
    """
    z = temperature * math.log(threshold / (1 - threshold))
    return 1 / (1 + math.exp(min(-z, 700)))  # e^709 is the last that can be written
