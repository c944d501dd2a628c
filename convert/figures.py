"""The figures of an evaluation, by kind, by source and overall, as text and as a dictionary.

Windows of one source are not independent. So every figure is also given by source, and confidence
intervals resample sources, not windows (cluster bootstrap; Field and Welsh, JRSS B 2007).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.alarms import FalseAlarms, false_alarms, in_words
from convert.dataset import Clip
from convert.metrics import (
    FEW_SOURCES,
    auc,
    calibration_bins,
    cluster_bootstrap_interval,
    recall_at,
)
from edge.frontend import FrontEndConfig

FALSE_RATES = (0.01, 0.001)
NO_KNOCK = "no knocking window could be judged, so AUC and recall cannot be given"


@dataclass(frozen=True)
class Judged:
    """One recording and the network's answers for its windows."""

    clip: Clip
    p_all: NDArray[np.float32]  # (windows,) p_knocking in order of time, NaN where unknown
    starts: NDArray[np.float64]  # (windows,) start of each window, s
    extra: NDArray[np.bool_]  # (windows,) whether the device would have no such window
    reasons: tuple[str, ...] = ()  # of the unknown windows, in order of time

    @property
    def p(self) -> NDArray[np.float32]:
        """p_knocking of the windows that were judged."""
        return self.p_all[np.isfinite(self.p_all)]

    @property
    def p_on_device(self) -> NDArray[np.float32]:
        """``p_all`` of the windows that the device's detector would have."""
        return self.p_all[~self.extra]

    @property
    def unknown(self) -> int:
        """Number of windows that could not be judged."""
        return int(np.isnan(self.p_all).sum())


def _by_car(recordings: Iterable[Judged]) -> dict[str, NDArray[np.float32]]:
    joined: dict[str, list[NDArray[np.float32]]] = {}
    for judged in recordings:
        if judged.p.size:
            joined.setdefault(judged.clip.group, []).append(judged.p)
    return {name: np.concatenate(parts) for name, parts in joined.items()}


@dataclass(frozen=True)
class Report:
    """All figures of one evaluation."""

    model: str
    threshold: float
    judged: list[Judged]
    seed: int
    hop_s: float
    temperature: float
    unreadable: tuple[str, ...] = ()  # one error message for each recording that was skipped
    front_end: FrontEndConfig = field(default_factory=FrontEndConfig)  # that of the model

    @cached_property
    def kind_names(self) -> dict[tuple[str, str], str]:
        """For each label and kind that do not knock, what the kind is called here.

        Where two labels share a kind, its name includes the label: ``normal/workshop``. So does the
        name of a kind with a slash, which might be mistaken for such a name.
        """
        kinds = sorted({(j.clip.label, j.clip.kind) for j in self.judged if not j.clip.knocks})
        labels = Counter(kind for _, kind in kinds)
        return {
            (label, kind): kind if labels[kind] == 1 and "/" not in kind else f"{label}/{kind}"
            for label, kind in kinds
        }

    @cached_property
    def others(self) -> dict[str, list[Judged]]:
        """The recordings that do not knock, by kind, as :attr:`kind_names` calls it."""
        found: dict[str, list[Judged]] = {name: [] for name in sorted(self.kind_names.values())}
        for judged in self.judged:
            if not judged.clip.knocks:
                found[self.kind_names[judged.clip.label, judged.clip.kind]].append(judged)
        return found

    def p_of_knocks(self) -> dict[str, NDArray[np.float32]]:
        """p_knocking of the judged windows that knock, by source.

        Sources of one car count as one, under its name. Those without judged windows are left out.
        """
        return _by_car(j for j in self.judged if j.clip.knocks)

    def p_of_kind(self, kind: str) -> dict[str, NDArray[np.float32]]:
        """As :meth:`p_of_knocks`, for one of the kinds in :attr:`others`."""
        return _by_car(self.others[kind])

    def p_of_healthy(self) -> dict[str, NDArray[np.float32]]:
        """As :meth:`p_of_knocks`, for all healthy engines, whatever their kind is called."""
        return _by_car(j for j in self.judged if j.clip.is_healthy)

    def row(self, judged: Sequence[Judged]) -> dict[str, Any]:
        """Figures of some recordings taken together.

        ``windows`` counts those that were judged, ``unknown`` the others, ``unknown_reasons`` those
        by reason. ``mean_p`` and the share ``called_knocking`` are over judged windows.
        ``sources`` are as in labels.csv, several of which may be one car; intervals resample cars.
        """
        p = np.concatenate([j.p for j in judged])
        return {
            "recordings": len(judged),
            "sources": len({j.clip.source for j in judged}),
            "windows": int(p.size),
            "unknown": sum(j.unknown for j in judged),
            "unknown_reasons": dict(sorted(Counter(r for j in judged for r in j.reasons).items())),
            "mean_p": round(float(p.mean()), 4) if p.size else None,
            "called_knocking": round(float((p >= self.threshold).mean()), 4) if p.size else None,
        }

    def to_dict(self) -> dict[str, Any]:
        """All figures, and the settings that reproduce them, for a JSON file."""
        return {
            "model": self.model,
            "threshold": self.threshold,
            "temperature": self.temperature,
            "hop_s": self.hop_s,
            "seed": self.seed,
            "unreadable": list(self.unreadable),
            "by_kind": self.rows("kind"),
            "by_source": self.rows("source"),
            "separation": self.separation,
            "false_alarms": self.false_alarms(),
            "calibration": self.calibration(),
        }

    def false_alarms(self) -> dict[str, FalseAlarms]:
        """Alerts per hour of the device's detector, for every kind that does not knock.

        The detector sees the recordings of one source in sequence, and starts afresh for each
        source. Windows that only cover the end of a recording do not count.
        """
        found: dict[str, FalseAlarms] = {}
        for kind, recordings in self.others.items():
            sources: dict[str, list[NDArray[np.float32]]] = {}
            for judged in recordings:
                sources.setdefault(judged.clip.source, []).append(judged.p_on_device)
            joined = [np.concatenate(parts) for parts in sources.values()]
            found[kind] = false_alarms(joined, self.threshold, self.hop_s)
        return found

    def calibration(self) -> list[dict[str, float]]:
        """Reliability of engines' windows, by tenths of p_knocking (:func:`calibration_bins`)."""
        engines = [j for j in self.judged if j.clip.label != "not_engine"]
        p = np.concatenate([j.p for j in engines]) if engines else np.empty(0, np.float32)
        truth = [np.full(j.p.size, j.clip.knocks) for j in engines]
        knocks = np.concatenate(truth) if truth else np.empty(0, dtype=bool)
        return calibration_bins(p, knocks)

    @cached_property  # a thousand bootstrap draws for each kind
    def separation(self) -> dict[str, dict[str, Any]]:
        """Knocking against every other kind: ROC AUC with its 95 % interval, recall at FALSE_RATES.

        A recall is None where there are too few windows to measure its false-positive rate. The
        interval is too narrow where one side has few sources (``fewest_sources``; a car is one).
        """
        knocks = self.p_of_knocks()
        found: dict[str, dict[str, Any]] = {}
        for kind in self.others if knocks else ():
            others = self.p_of_kind(kind)
            if not others:
                continue
            positive, negative = pooled(knocks), pooled(others)
            found[kind] = {
                "auc": round(auc(positive, negative), 4),
                "auc_95": self._interval(knocks, others),
                "fewest_sources": min(len(knocks), len(others)),
                "auc_95_too_narrow": min(len(knocks), len(others)) < FEW_SOURCES,
                **{
                    f"recall_at_{rate:g}": _rounded(recall_at(rate, positive, negative))
                    for rate in FALSE_RATES
                },
            }
        return found

    def _interval(
        self, knocks: Mapping[str, NDArray[np.float32]], others: Mapping[str, NDArray[np.float32]]
    ) -> list[float] | None:
        """95 % interval over sources; None if a side has one source, which shows no spread."""
        if min(len(knocks), len(others)) < 2:
            return None
        return [
            round(v, 4) for v in cluster_bootstrap_interval(auc, knocks, others, seed=self.seed)
        ]

    def rows(self, by: str) -> dict[str, dict[str, Any]]:
        """Figures by label and kind (``normal/engine``) or label and source (``normal/golf``)."""
        return {name: self.row(part) for name, part in self._grouped(by).items()}

    def _grouped(self, by: str) -> dict[str, list[Judged]]:
        groups: dict[str, list[Judged]] = {}
        for judged in self.judged:
            name = f"{judged.clip.label}/{getattr(judged.clip, by)}"
            groups.setdefault(name, []).append(judged)
        return dict(sorted(groups.items()))

    def table(self) -> str:
        """A text table: every kind, every engine, separation and false alarms."""
        head = f"{'':<36}{'windows':>8}{'unknown':>8}{'mean p':>8}{'knocking':>10}"
        lines = [f"{self.model}, threshold {self.threshold:g}", head]
        lines += [_line(name, row) for name, row in self.rows("kind").items()]
        if reasons := self.row(self.judged)["unknown_reasons"]:
            lines.append(f"unknown: {counted(reasons)}")
        lines.append("engines by source")
        for name, part in self._grouped("source").items():
            if part[0].clip.label != "not_engine":
                lines.append(_line(f"  {name}", self.row(part)))
        if not self.p_of_knocks():
            lines.append(NO_KNOCK)
        for kind, figures in self.separation.items():
            found = {rate: figures[f"recall_at_{rate:g}"] for rate in FALSE_RATES}
            recalls = ", ".join(
                f"recall {share(value)} at {rate:.1%} false positives"
                + (" (too few windows)" if value is None else "")
                for rate, value in found.items()
            )
            lines.append(
                f"knocking against {kind}: AUC {figures['auc']:.3f} "
                f"(95 % interval over sources {interval(figures)}), {recalls}"
            )
        for kind, alarms in self.false_alarms().items():
            lines.append(f"false alarms of {kind}: {in_words(alarms)}")
        return "\n".join(lines)


def pooled(scores: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """The scores of all sources, concatenated in the order of the mapping."""
    return np.concatenate(list(scores.values()))


def interval(figures: Mapping[str, Any]) -> str:
    """The 95 % interval of the AUC in one entry of ``Report.separation``, as text."""
    if figures["auc_95"] is None:
        return "unknown: one source"
    low, high = figures["auc_95"]
    phrase = f"{low:.3f} to {high:.3f}"
    if figures["auc_95_too_narrow"]:
        phrase += f"; too narrow, with only {figures['fewest_sources']} sources"
    return phrase


def counted(reasons: Mapping[str, int]) -> str:
    """``hiss 2, too_short 1``: the values of ``unknown_reasons`` as text."""
    return ", ".join(f"{name} {count}" for name, count in reasons.items())


def share(value: float | None) -> str:
    """``value`` as a percentage, ``-`` for None."""
    return "-" if value is None else f"{value:.1%}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _line(name: str, row: dict[str, Any]) -> str:
    if row["mean_p"] is None:
        return f"{name:<36}{0:>8}{row['unknown']:>8}"
    return (
        f"{name:<36}{row['windows']:>8}{row['unknown']:>8}{row['mean_p']:>8.3f}"
        f"{row['called_knocking']:>10.1%}"
    )
