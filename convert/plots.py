"""The plots of an evaluation, as SVG data URIs for a self-contained page."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from convert.figures import Judged, Report, pooled
from convert.metrics import roc
from edge.errors import printable

Line = str | tuple[float, tuple[float, ...]]  # matplotlib's line styles


class Stroke(NamedTuple):
    """How the lines and bars of a kind are drawn."""

    colour: str
    line: Line = "-"
    hatch: str = ""  # of bars


KNOCKING = Stroke("#c0392b")
KNOWN = {"engine": Stroke("#1f6f8b"), "engine_other_fault": Stroke("#d68910")}
# Cycled through for all other kinds. The first three are from Okabe and Ito's palette for the
# colour-blind ("Color Universal Design", 2008), whose other colours resemble those above or are
# faint on white; the rest are from Tol's "muted" palette.
COLOURS = ("#009e73", "#cc79a7", "#56b4e9", "#332288", "#999933", "#882255")
# Five, coprime to the six colours, so that cycling through both gives 30 different pairs.
LINES: tuple[Line, ...] = ("--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)), "-")
HATCHES = ("", "///", "...", "xxx", "---")  # the next one each time the colours are used up
GUIDE = "#7f8c8d"  # reference lines
# Text stays text, so that a browser's fonts show names in any script; reproducible SVG files.
mpl.rcParams.update({"font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "knockknock"})


def _uri(figure: Figure) -> str:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the browser's may have it
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def _axes(width: float = 5.0, height: float = 3.6) -> tuple[Figure, Any]:
    figure = Figure((width, height), layout="constrained")
    axes = figure.subplots()
    axes.grid(visible=True, alpha=0.3)
    return figure, axes


def _plain(text: str) -> str:
    """Change what matplotlib or SVG cannot hold: mathematics ($), controls, _ at the start."""
    plain = printable(text).replace("$", r"\$")
    return f" {plain}" if plain.startswith("_") else plain


def strokes(kinds: Sequence[str]) -> dict[str, Stroke]:
    """A stroke for each of ``kinds``, which do not knock: up to 30 differ, also from KNOCKING."""
    others = [kind for kind in kinds if kind not in KNOWN]
    count = len(COLOURS)
    return KNOWN | {
        kind: Stroke(COLOURS[i % count], LINES[i % len(LINES)], HATCHES[i // count % len(HATCHES)])
        for i, kind in enumerate(others)
    }


def roc_plot(report: Report) -> str:
    """ROC curve of knocking against every other kind."""
    figure, axes = _axes()
    positive = pooled(report.p_of_knocks())
    drawn = strokes(list(report.others))
    for kind in report.others:
        others = report.p_of_kind(kind)
        if others:
            fpr, tpr = roc(positive, pooled(others))
            stroke = drawn[kind]
            style = {"c": stroke.colour, "ls": stroke.line, "lw": 1.5}
            axes.plot(100 * fpr, 100 * tpr, label=_plain(kind), **style)
    axes.plot([0, 100], [0, 100], ":", c=GUIDE, lw=1, label="chance")
    axes.set(xlabel="false-positive rate, %", ylabel="true-positive rate (recall), %")
    axes.legend(loc="lower right")
    return _uri(figure)


def histogram(report: Report) -> str:
    """Histogram of the probability of knocking, for every kind."""
    figure, axes = _axes()
    drawn = strokes(list(report.others))
    groups = [("knocking", report.p_of_knocks(), KNOCKING)]
    groups += [(kind, report.p_of_kind(kind), drawn[kind]) for kind in report.others]
    for name, sources, stroke in groups:
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
                color=stroke.colour,
                ls=stroke.line,
            )
    axes.axvline(report.threshold, c="black", ls="--", lw=1, label="threshold")
    axes.set(xlabel="probability of knocking", ylabel="share of the kind's windows, %", xlim=(0, 1))
    axes.legend(loc="upper center")
    return _uri(figure)


def calibration_plot(report: Report) -> str:
    """Reliability diagram of engines' windows, other faults included, classes weighted equally.

    A calibrated network lies on the diagonal. :mod:`convert.tuning` fits the temperature to that,
    but without other faults.
    """
    figure, axes = _axes()
    bins = report.calibration()
    axes.plot([0, 1], [0, 1], ":", c=GUIDE, label="perfectly calibrated")
    mean_p, true_share = [b["mean_p"] for b in bins], [b["true_share"] for b in bins]
    axes.plot(mean_p, true_share, "o-", c=KNOWN["engine"].colour, label="engines")
    for b in bins:
        axes.annotate(
            f"{b['windows']:.0f}",
            (b["mean_p"], b["true_share"]),
            (4, 4),
            textcoords="offset points",
            fontsize=7,
        )
    axes.set(
        xlabel="mean predicted probability of knocking",
        ylabel="share that knocks, classes weighted equally",
    )
    axes.set(xlim=(0, 1), ylim=(-0.02, 1.05))
    axes.legend(loc="upper left")
    return _uri(figure)


def sources_plot(report: Report) -> str:
    """Share of windows called knocking: a bar for each source of engines and each of its kinds."""
    parts: dict[tuple[str, str], list[Judged]] = {}
    for judged in report.judged:
        clip = judged.clip
        if clip.label != "not_engine" and judged.p.size:
            kind = "knocking" if clip.knocks else f"{clip.label}/{clip.kind}"
            parts.setdefault((f"{clip.label}/{clip.source}", kind), []).append(judged)
    rows = sorted((name, kind, report.row(part)) for (name, kind), part in parts.items())
    groups = list(dict.fromkeys(kind for _, kind, _ in rows))
    figure, axes = _axes(7.0, 1.0 + 0.17 * len(rows) + 0.1 * len(groups))
    by_name = strokes(list(report.others))
    drawn = {"/".join(kind): by_name[name] for kind, name in report.kind_names.items()}
    for group in groups:
        stroke = KNOCKING if group == "knocking" else drawn[group]
        axes.barh(
            [place for place, (_, kind, _) in enumerate(rows) if kind == group],
            [100 * row["called_knocking"] for _, kind, row in rows if kind == group],
            color=stroke.colour,
            hatch=stroke.hatch,
            edgecolor="white",
            lw=0,
            label=_plain(group),
        )
    means = [100 * row["mean_p"] for *_, row in rows]
    places = range(len(rows))
    axes.plot(means, places, "k|", label="mean probability")
    axes.set_yticks(places, [_plain(name) for name, *_ in rows])
    axes.set(xlabel="windows called knocking (bars), mean probability (ticks), %", xlim=(0, 100))
    axes.set_ylim(len(rows) - 0.4, -0.6)  # from the top, without a margin that grows with the rows
    axes.tick_params(axis="y", labelsize=7)
    figure.legend(loc="outside upper right", ncols=3)
    return _uri(figure)
