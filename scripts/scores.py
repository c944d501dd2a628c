"""What networks said of windows they never heard, and the figures of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from convert.dataset import Clip
from convert.metrics import auc

KINDS = ("engine", "engine_other_fault", "not_engine")  # of windows that do not knock


def counts_as(clip: Clip) -> str:
    """Of KINDS: what ``clip`` is taken for, whatever its owner calls it; a knock is an engine's."""
    if clip.label == "not_engine":
        return "not_engine"
    return "engine" if clip.knocks or clip.is_healthy else "engine_other_fault"


@dataclass
class Scores:
    """Log-odds of left-out windows after each epoch, with what they are."""

    source: list[str] = field(default_factory=list)
    kind: list[str] = field(default_factory=list)  # as counts_as() says
    knocks: list[bool] = field(default_factory=list)
    z: list[NDArray[np.float32]] = field(default_factory=list)  # an array of all epochs a window
    strange: list[NDArray[np.float32]] = field(default_factory=list)  # the same, of strange knocks

    def figures(self, epoch: int) -> dict[str, float]:
        """AUC with all sources weighing alike, and windows called knocking by kind."""
        z = np.array([value[epoch] for value in self.z], dtype=np.float32)
        knocks, kind = np.array(self.knocks), np.array(self.kind)
        found = {
            "auc": auc_by_source(z, np.array(self.source), knocks, ~knocks & (kind == "engine")),
            "recall": float((z[knocks] > 0).mean()),
        }
        for name in KINDS:
            others = z[~knocks & (kind == name)]
            found[f"false_{name}"] = float((others > 0).mean()) if others.size else float("nan")
        strange = np.array([value[epoch] for value in self.strange], dtype=np.float32)
        healthy = z[~knocks & (kind == "engine")]
        found["strange_auc"] = auc(strange, healthy)
        found["strange_recall"] = float((strange > np.quantile(healthy, 0.99)).mean())
        return found

    def called(self, limit: float) -> list[str]:
        """For people: real knocks, strange ones and KINDS with log-odds of ``limit`` or more."""
        z, strange = (np.array([v[0] for v in values]) for values in (self.z, self.strange))
        knocks, kind = np.array(self.knocks), np.array(self.kind)
        others = [z[~knocks & (kind == name)] for name in KINDS]
        return [f"{(z[knocks] >= limit).sum()} of {knocks.sum()}"] + [
            f"{100 * (group >= limit).mean():.1f} %" if group.size else "-"
            for group in (strange, *others)
        ]


def auc_by_source(
    z: NDArray[np.float32],
    source: NDArray[np.str_],
    knocks: NDArray[np.bool_],
    engine: NDArray[np.bool_],
) -> float:
    """How well windows that are ``knocks`` stand above those of an ``engine``; all (N,).

    The mean of all pairs of a source and a source, however many windows either has.
    """
    found = [z[knocks & (source == name)] for name in np.unique(source[knocks])]
    others = [z[engine & (source == name)] for name in np.unique(source[engine])]
    return float(np.mean([auc(a, b) for a in found for b in others]))
