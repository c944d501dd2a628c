"""Choosing a model file's threshold and temperature from its evaluation on labelled recordings.

The temperature (:mod:`edge.temperature`) is fitted so that a p of 0.8 is right about eight times in
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
from convert.metrics import max_false_positives, min_negatives
from edge.model import Manifest, ModelFile, write_model
from edge.temperature import (
    MIN_P,
    apply_temperature_single,
    highest_p,
    log_odds,
    remove_temperature,
)

SEARCHED_TEMPERATURES = (0.5, 8.0)  # below, float32 rounds p to 0 or 1, which nothing can undo
THRESHOLDS = (0.02, 0.98)  # beyond, the quantisation step of the answers, 1/256, is too coarse


def best_temperature(
    knocks: NDArray[np.float32], others: NDArray[np.float32], precision: str
) -> float:
    """The temperature of least cross-entropy, both classes having the same total weight.

    ``knocks`` and ``others`` are p_knocking of windows that knock and that do not, without
    temperature, from a network of that ``precision``.
    """
    # Log-odds with the sign such that right answers are positive.
    z = np.concatenate([log_odds(knocks, precision), -log_odds(others, precision)])
    weight = np.concatenate(
        [np.full(knocks.size, 1 / knocks.size), np.full(others.size, 1 / others.size)]
    )

    def loss(log_t: float) -> float:
        return float(np.sum(weight * np.logaddexp(0, -z / np.exp(log_t))))

    low, high = np.log(SEARCHED_TEMPERATURES)
    return float(np.exp(minimize_scalar(loss, bounds=(low, high), method="bounded").x))


def threshold_for(others: NDArray[np.float32], fpr: float) -> float:
    """The lowest threshold that at most a share ``fpr`` of the answers ``others`` reach.

    Answers and threshold are without temperature. The threshold is half a quantisation step above
    the highest answer that must not reach it, where no int8 answer lies. It may be above all
    possible answers.
    """
    may_reach = min(max_false_positives(fpr, others.size), others.size - 1)
    return float(np.sort(others)[::-1][may_reach]) + MIN_P


def need_both(*, knocks: bool, healthy: bool) -> None:
    """DatasetError unless there are both knocks and healthy engines to choose a threshold on."""
    if not knocks or not healthy:
        missing = "healthy engine" if knocks else "knock"
        alone = "; for false alarms alone, leave out --for-false-rate" if healthy else ""
        raise DatasetError(
            f"no recording of a {missing}: choosing a threshold needs knocks and healthy engines"
            f"{alone}"
        )


def tune(model: Path, report: Report, fpr: float, out: Path) -> Manifest:
    """Write ``model`` to ``out`` with temperature and threshold chosen on ``report``.

    On recordings like those of ``report``, at most a share ``fpr`` of the windows of healthy
    engines will be called knocking. DatasetError if no knocking window or too few windows of
    healthy engines were judged, or if no possible threshold keeps that rate.
    """
    knocks = report.p_of_knocks()
    others = report.p_of_healthy()
    need_both(knocks=bool(knocks), healthy=bool(others))  # some windows of both were judged
    healthy_windows = pooled(others).size
    if healthy_windows < (least := min_negatives(fpr)):
        raise DatasetError(
            f"{healthy_windows} windows of healthy engines are too few: a false-positive rate of "
            f"{fpr:g} takes at least {least} to measure"
        )
    knocking, healthy = (
        remove_temperature(pooled(p), report.temperature) for p in (knocks, others)
    )
    file = ModelFile.read(model)
    precision = file.manifest.precision
    temperature = round(best_temperature(knocking, healthy, precision), 3)
    limit = threshold_for(healthy, fpr)
    if limit > (surest := highest_p(precision, 1)):
        share = float((healthy >= surest - MIN_P).mean())
        raise DatasetError(
            f"a share of {share:.3g} of the healthy windows gets the highest possible answer, "
            f"which no threshold exceeds: ask for more than {fpr:g}, or train on these engines"
        )
    # Four decimals will do: unless it is clipped, the threshold is half a quantisation step from
    # the answers, and that is 0.0002 or more even at 8, the highest temperature.
    scaled = _with_temperature(limit, temperature, precision)
    threshold = round(float(np.clip(scaled, *THRESHOLDS)), 4)
    reached = float((apply_temperature_single(healthy, temperature, precision) >= threshold).mean())
    if reached > fpr:
        raise DatasetError(
            f"even at a threshold of {threshold:g}, a share of {reached:.3g} of the healthy "
            f"windows is called knocking: ask for more than {fpr:g}, or train on these engines"
        )
    golden = dict(file.manifest.golden)
    for name in {"p_knocking", "p_of_knocks"} & golden.keys():
        raw = remove_temperature(np.array([golden[name]], np.float32), report.temperature)
        golden[name] = round(_with_temperature(float(raw[0]), temperature, precision), 5)
    manifest = dataclasses.replace(
        file.manifest,
        temperature=temperature,
        threshold=threshold,
        golden=golden,
        parity=_without_verdicts(file.manifest.parity),
    )
    write_model(out, file.network, manifest)
    return manifest


def _with_temperature(p: float, temperature: float, precision: str) -> float:
    alone = np.array([p], dtype=np.float32)
    return float(apply_temperature_single(alone, temperature, precision)[0])


def _without_verdicts(parity: Mapping[str, Any]) -> dict[str, Any]:
    """The export's parity report without the agreement of verdicts, found at another threshold.

    The differences still hold: they are between answers without temperature or threshold.
    """
    kept = dict(parity)
    compared = kept.pop("comparisons", None)
    if isinstance(compared, list) and all(isinstance(one, dict) for one in compared):
        kept["comparisons"] = [
            {name: value for name, value in one.items() if name != "agreement"} for one in compared
        ]
    return kept
