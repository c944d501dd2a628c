"""Networks' answers on held-out windows, and the figures that follow from them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from convert.dataset import Clip
from convert.metrics import auc
from scripts.intervals import Called, PairwiseAuc

Windows = list[tuple[Clip, NDArray[np.uint8]]]  # colour indices (84, 87) of a window
Held = tuple[Windows, Windows]  # real ones, and engines with a strange knock mixed in
Figures = dict[str, float | None]  # None for a kind without windows
KINDS = ("engine", "engine_other_fault", "not_engine")  # of windows that do not knock


def kind_of(clip: Clip) -> str:
    """One of KINDS for ``clip``, whatever its own kind is called; a knock counts as engine."""
    if clip.label == "not_engine":
        return "not_engine"
    return "engine" if clip.knocks or clip.is_healthy else "engine_other_fault"


@dataclass
class Scores:
    """Log-odds of held-out windows after each epoch, and what these windows are."""

    source: list[str] = field(default_factory=list)
    group: list[str] = field(default_factory=list)  # Clip.group, the car if it is named
    kind: list[str] = field(default_factory=list)  # as kind_of() says
    knocks: list[bool] = field(default_factory=list)
    z: list[NDArray[np.float32]] = field(default_factory=list)  # (epochs,) for each window
    strange_group: list[str] = field(default_factory=list)  # of the engine with a strange knock
    strange: list[NDArray[np.float32]] = field(default_factory=list)  # as z, for strange knocks

    def add(self, held: Held, z: NDArray[np.float32]) -> None:
        """Add the log-odds ``z`` (windows, epochs) of ``held``, strange knocks last."""
        windows, strange = held
        self.source += [clip.source for clip, _ in windows]
        self.group += [clip.group for clip, _ in windows]
        self.kind += [kind_of(clip) for clip, _ in windows]
        self.knocks += [clip.knocks for clip, _ in windows]
        self.z += list(z[: len(windows)])
        self.strange_group += [clip.group for clip, _ in strange]
        self.strange += list(z[len(windows) :])

    def figures(self, epoch: int) -> Figures:
        """AUCs, and the share of each kind called knocking at p = 0.5, after ``epoch``.

        ``auc`` gives all sources the same weight. ``strange_recall`` is at the threshold that 1 %
        of healthy windows exceed. None for a kind without windows.
        """
        z = np.array([value[epoch] for value in self.z], dtype=np.float32)
        knocks, kind = np.array(self.knocks), np.array(self.kind)
        found: Figures = {
            "auc": auc_by_source(z, np.array(self.source), knocks, ~knocks & (kind == "engine")),
            "recall": float((z[knocks] > 0).mean()),
        }
        for name in KINDS:
            others = z[~knocks & (kind == name)]
            found[f"false_{name}"] = float((others > 0).mean()) if others.size else None
        strange = np.array([value[epoch] for value in self.strange], dtype=np.float32)
        healthy = z[~knocks & (kind == "engine")]
        found["strange_auc"] = auc(strange, healthy)
        found["strange_recall"] = float((strange > np.quantile(healthy, 0.99)).mean())
        return found

    def called(self, limit: float) -> dict[str, Called]:
        """For knock, strange and KINDS, by group: which windows have log-odds >= ``limit``.

        The log-odds are those after the first epoch.
        """
        found: dict[str, dict[str, list[bool]]] = {
            name: {} for name in ("knock", "strange", *KINDS)
        }
        kinds = ["knock" if k else kind for k, kind in zip(self.knocks, self.kind, strict=True)]
        every = [
            *zip(kinds, self.group, self.z, strict=True),
            *(("strange", *one) for one in zip(self.strange_group, self.strange, strict=True)),
        ]
        for kind, group, z in every:
            found[kind].setdefault(group, []).append(bool(z[0] >= limit))
        return {
            kind: {name: np.array(windows) for name, windows in groups.items()}
            for kind, groups in found.items()
        }

    def pairs(self) -> PairwiseAuc:
        """AUCs of all pairs of sources after the first epoch; one network must have judged them."""
        z = np.array([value[0] for value in self.z], dtype=np.float32)
        source, knocks = np.array(self.source), np.array(self.knocks)
        group = dict(zip(self.source, self.group, strict=True))
        engine = ~knocks & (np.array(self.kind) == "engine")
        names = [[str(name) for name in np.unique(source[which])] for which in (knocks, engine)]
        found = auc_of_pairs(z, source, knocks, engine)
        return PairwiseAuc(found, *([group[name] for name in part] for part in names))


def auc_by_source(
    z: NDArray[np.float32],
    source: NDArray[np.str_],
    knocks: NDArray[np.bool_],
    engine: NDArray[np.bool_],
) -> float:
    """AUC of the windows ``knocks`` against the windows ``engine``, by source; arguments are (N,).

    The mean over all pairs of a source and a source, however many windows either has.
    """
    return float(auc_of_pairs(z, source, knocks, engine).mean())


def auc_of_pairs(
    z: NDArray[np.float32],
    source: NDArray[np.str_],
    knocks: NDArray[np.bool_],
    engine: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """AUC of each pair: (knocking sources, sources of engines), both sorted by name."""
    found = [z[knocks & (source == name)] for name in np.unique(source[knocks])]
    others = [z[engine & (source == name)] for name in np.unique(source[engine])]
    return np.array([[auc(a, b) for b in others] for a in found])
