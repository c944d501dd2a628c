"""The plots of an evaluation, as data URIs for a page that needs no other file."""

from __future__ import annotations

import base64
import io
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from convert.figures import Report, pooled
from convert.metrics import roc

COLOURS = {"knocking": "#c0392b", "engine": "#1f6f8b", "engine_other_fault": "#d68910"}
OTHER = "#7f8c8d"
mpl.rcParams.update({"font.size": 9, "svg.hashsalt": "knockknock"})  # the same input, the same file


def _uri(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def _axes(width: float = 5.0, height: float = 3.6) -> tuple[Figure, Any]:
    figure = Figure((width, height), layout="constrained")
    axes = figure.subplots()
    axes.grid(visible=True, alpha=0.3)
    return figure, axes


def _plain(text: str) -> str:
    """As it is, though matplotlib takes $ for mathematics and no bytes that are no UTF-8."""
    return text.encode(errors="backslashreplace").decode().replace("$", r"\$")


def _kinds(report: Report) -> list[str]:
    return sorted({j.clip.kind for j in report.judged if not j.clip.knocks})


def roc_plot(report: Report) -> str:
    """Share of knocking windows found over share of others called knocking, for every kind."""
    figure, axes = _axes()
    positive = pooled(report.p_of(knocks=True))
    for kind in _kinds(report):
        others = report.p_of(knocks=False, kind=kind)
        if others:
            false, found = roc(positive, pooled(others))
            axes.plot(100 * false, 100 * found, label=_plain(kind), c=_colour(kind))
    axes.plot([0, 100], [0, 100], ":", c=OTHER, label="guessing")
    axes.set(xlabel="others called knocking, %", ylabel="knocking windows found, %")
    axes.legend(loc="lower right")
    return _uri(figure)


def histogram(report: Report) -> str:
    """How the answers of every kind are spread."""
    figure, axes = _axes()
    groups = [("knocking", report.p_of(knocks=True))]
    groups += [(kind, report.p_of(knocks=False, kind=kind)) for kind in _kinds(report)]
    for name, sources in groups:
        if sources:
            p = pooled(sources)
            weights = np.full(p.size, 100 / p.size)
            axes.hist(
                p,
                np.linspace(0, 1, 41),
                weights=weights,
                histtype="step",
                lw=1.5,
                label=_plain(name),
                color=_colour(name),
            )
    axes.axvline(report.threshold, c="black", ls="--", lw=1, label="threshold")
    axes.set(xlabel="probability of knocking", ylabel="windows of the kind, %", xlim=(0, 1))
    axes.legend(loc="upper center")
    return _uri(figure)


def calibration_plot(report: Report) -> str:
    """Said against true, for engines, other faults included, both classes weighing alike.

    A calibrated network lies on the diagonal; temperature is chosen for that without other faults.
    """
    figure, axes = _axes()
    bins = report.calibration()
    axes.plot([0, 1], [0, 1], ":", c=OTHER, label="calibrated")
    said, true = [b["mean_p"] for b in bins], [b["true_share"] for b in bins]
    axes.plot(said, true, "o-", c=COLOURS["engine"], label="windows of engines")
    for b in bins:
        axes.annotate(
            f"{b['windows']:.0f}",
            (b["mean_p"], b["true_share"]),
            (4, 4),
            textcoords="offset points",
            fontsize=7,
        )
    axes.set(
        xlabel="probability of knocking, mean of a tenth",
        ylabel="share that really knocks, classes alike",
    )
    axes.set(xlim=(0, 1), ylim=(-0.02, 1.05))
    axes.legend(loc="upper left")
    return _uri(figure)


def sources_plot(report: Report) -> str:
    """Every engine's windows called knocking."""
    rows = [
        (name, row)
        for name, row in report.rows("source").items()
        if row["mean_p"] is not None and not name.startswith("not_engine/")
    ]
    figure, axes = _axes(7.0, 1.1 + 0.17 * len(rows))
    names = [name for name, _ in rows]
    shares = [100 * row["called_knocking"] for _, row in rows]
    means = [100 * row["mean_p"] for _, row in rows]
    colours = [COLOURS["knocking" if n.startswith("knocking/") else "engine"] for n in names]
    places = range(len(names))
    axes.barh(places, shares, color=colours, label="called knocking")
    axes.plot(means, places, "k|", label="mean probability")
    axes.set_yticks(places, [_plain(name) for name in names])
    axes.invert_yaxis()
    axes.set(xlabel="windows called knocking, mean probability, %", xlim=(0, 100))
    axes.tick_params(axis="y", labelsize=7)
    figure.legend(loc="outside upper right", ncols=2)
    return _uri(figure)


def _colour(kind: str) -> str:
    return COLOURS.get(kind, OTHER)
