"""Threshold and temperature of a model file, chosen from how it did on labelled recordings.

The temperature (:mod:`edge.temperature`) is chosen so that a p of 0.8 is right about eight times in
ten where half of the windows knock.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from convert.errors import DatasetError
from convert.figures import Report, pooled
from convert.metrics import allowed, least_negatives
from edge.model import Manifest, ModelFile, write_model
from edge.temperature import LEAST_P, highest_p, log_odds, tempered_alone, untempered

SEARCHED_TEMPERATURES = (0.5, 8.0)  # below, float32 cannot tell answers from certain: untempered
THRESHOLDS = (0.02, 0.98)  # beyond, the answers' own steps of 1/256 decide


def best_temperature(
    knocks: NDArray[np.float32], others: NDArray[np.float32], precision: str
) -> float:
    """What to divide the log-odds by for the least cross entropy, both classes weighing alike.

    ``knocks`` and ``others`` are p_knocking of windows that knock and that do not, by a network of
    that ``precision``.
    """
    # Those of right answers are positive.
    z = np.concatenate([log_odds(knocks, precision), -log_odds(others, precision)])
    weight = np.concatenate(
        [np.full(knocks.size, 1 / knocks.size), np.full(others.size, 1 / others.size)]
    )

    def loss(log_t: float) -> float:
        return float(np.sum(weight * np.logaddexp(0, -z / np.exp(log_t))))

    low, high = np.log(SEARCHED_TEMPERATURES)
    return float(np.exp(minimize_scalar(loss, bounds=(low, high), method="bounded").x))


def threshold_for(others: NDArray[np.float32], fpr: float) -> float:
    """The least p_knocking that no more than ``fpr`` of ``others`` reach.

    Of a network's own answers, without temperature: half a step above the highest that must not
    reach it, where no answer of int8 lies. It may be above all answers there are.
    """
    may_reach = min(allowed(fpr, others.size), others.size - 1)
    return float(np.sort(others)[::-1][may_reach]) + LEAST_P


def need_both(*, knocks: bool, healthy: bool) -> None:
    """DatasetError unless there are recordings of knocks and of healthy engines to choose by."""
    if not knocks or not healthy:
        missing = "healthy engine" if knocks else "knock"
        raise DatasetError(f"no recording of a {missing}: nothing to choose a threshold by")


def tune(model: Path, report: Report, fpr: float, out: Path) -> Manifest:
    """Write ``model`` to ``out`` with the temperature and threshold that ``report`` asks for.

    At most ``fpr`` of the windows of healthy engines will be called knocking on recordings
    like those of ``report``, which must hold knocking and healthy engines; DatasetError otherwise,
    and if no threshold there is keeps that rate.
    """
    knocks = report.p_of(knocks=True)
    others = report.p_of_healthy()
    need_both(knocks=bool(knocks), healthy=bool(others))  # by now, that could be judged
    healthy_windows = pooled(others).size
    if healthy_windows < (least := least_negatives(fpr)):
        raise DatasetError(
            f"{healthy_windows} windows of healthy engines are too few: a false rate of "
            f"{fpr:.2%} shows on {least} at least"
        )
    knocking, healthy = (untempered(pooled(p), report.temperature) for p in (knocks, others))
    file = ModelFile.read(model)
    precision = file.manifest.precision
    temperature = round(best_temperature(knocking, healthy, precision), 3)
    limit = threshold_for(healthy, fpr)
    if limit > (surest := highest_p(precision, 1)):
        share = float((healthy >= surest - LEAST_P).mean())
        raise DatasetError(
            f"{share:.1%} of healthy windows have the surest answer there is, and no threshold is "
            f"above it: ask for more than {fpr:.1%}, or train on these engines"
        )
    # Where it is not clipped, half a step is 0.0002 or more: at 8, the highest temperature.
    threshold = round(float(np.clip(_tempered_one(limit, temperature, precision), *THRESHOLDS)), 4)
    reached = float((tempered_alone(healthy, temperature, precision) >= threshold).mean())
    if reached > fpr:
        raise DatasetError(
            f"even at a threshold of {threshold:g}, {reached:.1%} of healthy windows are called "
            f"knocking: ask for more than {fpr:.1%}, or train on these engines"
        )
    golden = dict(file.manifest.golden)
    if "p_knocking" in golden:
        said = untempered(np.array([golden["p_knocking"]], np.float32), report.temperature)
        golden["p_knocking"] = round(_tempered_one(float(said[0]), temperature, precision), 5)
    manifest = dataclasses.replace(
        file.manifest,
        temperature=temperature,
        threshold=threshold,
        golden=golden,
        parity=_without_verdicts(file.manifest.parity),
    )
    write_model(out, file.network, manifest)
    return manifest


def _tempered_one(p: float, temperature: float, precision: str) -> float:
    return float(tempered_alone(np.array([p], dtype=np.float32), temperature, precision)[0])


def _without_verdicts(parity: Mapping[str, Any]) -> dict[str, Any]:
    """What the export proved that still holds: differences, which are of the network's own answers.

    Not how many verdicts agreed, which was at another threshold.
    """
    kept = dict(parity)
    compared = kept.pop("comparisons", None)
    if isinstance(compared, list) and all(isinstance(one, dict) for one in compared):
        kept["comparisons"] = [
            {name: value for name, value in one.items() if name != "agreement"} for one in compared
        ]
    return kept
