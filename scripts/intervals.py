"""95 % intervals of figures over windows that are not independent: several are of one car."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from convert.metrics import N_BOOTSTRAP, cluster_bootstrap_interval

Called = Mapping[str, NDArray[np.bool_]]  # by source, or car: whether each window is called


class PairwiseAuc(NamedTuple):
    """AUCs of one network on sources it never heard: each that knocks against each healthy one."""

    auc: NDArray[np.float64]  # (knocking sources, healthy ones)
    knocking: list[str]  # Clip.group of each row of ``auc``
    healthy: list[str]  # of each column


def interval_of_share(called: Called, *, seed: int = 1) -> tuple[float, float] | None:
    """95 % interval of the share of windows that are ``called``; None without any window.

    Sources are bootstrapped. On neither side is the interval narrower than Wilson's (JASA 1927),
    which treats the windows as independent: with a single source, or where none or all windows are
    called, the bootstrap says nothing.
    """
    windows = {name: is_called.astype(np.float32) for name, is_called in called.items()}
    count = sum(each.size for each in windows.values())
    if not count:
        return None
    low, high = cluster_bootstrap_interval(
        lambda p, _: float(p.mean()), windows, windows, seed=seed
    )
    hits = int(sum(each.sum() for each in windows.values()))
    least, most = binomtest(hits, count).proportion_ci(method="wilson")
    return min(low, float(least)), max(high, float(most))


def interval_of_auc(parts: Sequence[PairwiseAuc]) -> tuple[float, float]:
    """95 % interval of the mean of the parts' mean AUCs, by a bootstrap over all sources.

    A source that is both knocking and healthy is drawn once for both. A part without any pair in a
    draw is left out of that draw. With few knocking or few healthy sources the interval is too
    narrow (convert.metrics.FEW_SOURCES).
    """
    rng = np.random.default_rng(1)
    knocking = sorted({name for part in parts for name in part.knocking})
    others = sorted({name for part in parts for name in part.healthy}.difference(knocking))
    figures: list[float] = []
    while len(figures) < N_BOOTSTRAP:
        times = _resample(rng, knocking) | _resample(rng, others)
        means = []
        for auc, rows, columns in parts:
            weights = np.outer([times[name] for name in rows], [times[name] for name in columns])
            if weights.any():
                means.append(float(np.average(auc, weights=weights)))
        if means:
            figures.append(float(np.mean(means)))
    low, high = np.percentile(figures, [2.5, 97.5])
    return float(low), float(high)


def _resample(rng: np.random.Generator, names: Sequence[str]) -> dict[str, int]:
    """How often each name comes up in a bootstrap sample of ``names``."""
    if not names:
        return {}
    times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)))
    return dict(zip(names, times.tolist(), strict=True))


def in_percent(interval: tuple[float, float] | None) -> str:
    """``1.9 to 5.4 %``; ``-`` where there is none."""
    return "-" if interval is None else f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f} %"
