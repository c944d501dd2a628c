"""Figures of merit, from scores alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def auc(positive: NDArray[np.float32], negative: NDArray[np.float32]) -> float:
    """Area under the ROC curve: how often a positive scores above a negative, ties half.

    The Mann-Whitney statistic, by ranks; NaN if either is empty.
    """
    if not positive.size or not negative.size:
        return float("nan")
    below = np.searchsorted(np.sort(negative), positive, side="left")
    not_above = np.searchsorted(np.sort(negative), positive, side="right")
    return float((below + not_above).mean() / 2 / negative.size)
