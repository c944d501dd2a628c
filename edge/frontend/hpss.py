"""Harmonic-percussive separation by median filtering (Fitzgerald, DAFx 2010).

A steady tone is a horizontal line in the spectrogram, a knock a vertical one. A median filter along
time keeps the first and removes the second; one along frequency does the opposite. From the two
filtered spectrograms a Wiener-like mask divides every cell between the two parts. The margin is
from Driedger et al. (ISMIR 2014).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.frontend.median import running_median


def medians(
    S: NDArray[np.float32], kernel_size: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Median-filtered spectrograms: the harmonic one, then the percussive one.

    ``S`` is the magnitude spectrogram (T, F), time first, float32, >= 0. Returns ``(h, p)``, the
    medians over ``kernel_size`` frames and over ``kernel_size`` bins, in the shape of ``S``.
    """
    over_time = running_median(S, kernel_size)
    over_frequency = running_median(np.ascontiguousarray(S.T), kernel_size).T
    return over_time, over_frequency


def percussive_mask(
    S: NDArray[np.float32], *, kernel_size: int, power: float, margin: float
) -> NDArray[np.float32]:
    """Share of each cell that is percussive, in [0, 1], in the shape of ``S``.

    ``S`` is as for :func:`medians`, which returns ``h`` and ``p``::

        mask = p^power / (p^power + (margin h)^power)

    The harmonic mask is that of the transposed spectrogram; at ``margin`` 1 the two add up to 1.
    """
    h, p = medians(S, kernel_size)
    return soft_mask(p, h * np.float32(margin), power, split_zeros=margin == 1)


def soft_mask(
    X: NDArray[np.float32], X_ref: NDArray[np.float32], power: float, *, split_zeros: bool
) -> NDArray[np.float32]:
    """``X^power / (X^power + X_ref^power)``; where both are 0: 0.5 if ``split_zeros``, else 0.

    Both are first divided by the larger one, so that powers of quiet cells do not underflow.
    """
    Z = np.maximum(X, X_ref)
    empty = Z < np.finfo(np.float32).tiny
    Z[empty] = 1
    mask = (X / Z) ** power
    mask /= np.maximum(mask + (X_ref / Z) ** power, np.finfo(np.float32).tiny)
    mask[empty] = 0.5 if split_zeros else 0.0
    return np.asarray(mask, dtype=np.float32)
