"""An evaluation as one HTML page: figures, plots, and the worst answers to look at and hear.

The page is self-contained: opening it loads nothing from anywhere else.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from convert.alarms import FalseAlarms, in_words
from convert.figures import NO_KNOCK, Judged, Report, counted, interval, share
from convert.plots import calibration_plot, histogram, roc_plot, sources_plot
from edge.files import write_atomically
from edge.frontend import FrontEnd
from edge.gate import Fault
from edge.png import encode_png
from edge.recording import Recording
from edge.wav import encode_wav

N_LOSSES = 12  # windows shown with picture and sound
N_NAMED = 12  # recordings named as left out; further ones are only counted
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
td,th{padding:.15rem .7rem;text-align:right;border-bottom:1px solid #ddd}
td:first-child,th:first-child{text-align:left}
.row{display:flex;flex-wrap:wrap;gap:1rem}figure{margin:0;max-width:32rem}
figcaption{font-size:.85rem;color:#555}img{max-width:100%}
figure.wide{max-width:none}audio{width:224px;display:block}
"""


def write_report(report: Report, path: Path) -> None:
    """Write the page to ``path``, atomically."""
    front_end = FrontEnd(report.front_end)  # the model's own, so the pictures are what it saw
    figures = report.to_dict()
    window_s = front_end.config.n_samples / front_end.config.sr
    body = [
        f"<h1>{escape(Path(report.model).name)}</h1>",
        f"<p>Threshold {report.threshold:g}, temperature {report.temperature:g}, a window of "
        f"{window_s:g} s every {report.hop_s:g} s, {len(report.judged)} recordings.</p>",
        *_left_out(report),
        "<h2>By kind</h2>",
        _kinds_table(figures["by_kind"]),
        *_separation(report, figures),
        "<h2>False alarms: alerts of the device's detector</h2>",
        _alarms_table(figures["false_alarms"]),
        *_plots(report),
        *_sources(report, figures),
        *_losses(report, front_end),
    ]
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><link rel="icon" href="data:,">'
        f"<title>{escape(Path(report.model).name)}</title><style>{STYLE}</style></head>"
        f"<body>{''.join(body)}</body></html>\n"
    )
    write_atomically(path, page.encode(errors="backslashreplace"))  # file names may not be UTF-8


def _left_out(report: Report) -> list[str]:
    """Recordings that are in no figure: unreadable ones, and those shorter than a window."""
    short = [
        str(j.clip.path)
        for j in report.judged
        if set(j.reasons) == {Fault.TOO_SHORT} and not j.p.size
    ]
    return [
        f"<p>{len(names)} recording{'s' if len(names) > 1 else ''} {why}: "
        f"{escape('; '.join(names[:N_NAMED]))}"
        f"{f'; and {len(names) - N_NAMED} more' if len(names) > N_NAMED else ''}.</p>"
        for why, names in (
            ("skipped as unreadable", list(report.unreadable)),
            ("too short to be judged, all unknown", short),
        )
        if names
    ]


def _separation(report: Report, figures: dict[str, Any]) -> list[str]:
    if not report.p_of_knocks():
        return [f"<p>{NO_KNOCK[0].upper()}{NO_KNOCK[1:]}.</p>"]
    return [
        "<h2>Separation of knocking from other kinds</h2>",
        _separation_table(figures["separation"]),
        "<p>ROC AUC: how often a knocking window scores above another; 1 is perfect, 0.5 chance. "
        "Recall is left out (-) where the other kind has too few windows to measure the "
        "false-positive rate: 1 % takes 100, 0.1 % takes 1000.</p>",
    ]


def _plots(report: Report) -> list[str]:
    if not any(judged.p.size for judged in report.judged):
        return []
    plots = [("Distribution of the probability of knocking, by kind", histogram(report))]
    if report.p_of_knocks():
        plots += [
            (
                "ROC curves: knocking against each other kind, over all thresholds",
                roc_plot(report),
            ),
            (
                "Reliability diagram of engines' windows; numbers are windows per bin",
                calibration_plot(report),
            ),
        ]
    figures = (_figure(title, uri) for title, uri in plots)
    return ["<h2>Plots</h2><div class=row>", *figures, "</div>"]


def _sources(report: Report, figures: dict[str, Any]) -> list[str]:
    engines = any(j.clip.label != "not_engine" and j.p.size for j in report.judged)
    return [
        "<h2>By source</h2>",
        _figure(
            "Engines by source; splits and intervals are by source", sources_plot(report), "wide"
        )
        if engines
        else "<p>No engine was judged.</p>",
        f"<details><summary>All {len(figures['by_source'])} sources as a table</summary>",
        _kinds_table(figures["by_source"]),
        "</details>",
    ]


def _losses(report: Report, front_end: FrontEnd) -> list[str]:
    config = front_end.config
    losses = worst(report, N_LOSSES)
    if not losses:
        return []
    many = "s" * (len(losses) > 1)
    wrong = sum((j.p_all[i] >= report.threshold) != j.clip.knocks for j, i in losses)
    return [
        f"<h2>Largest errors: the worst window of each of {len(losses)} recording{many}, {wrong} "
        "of them misclassified</h2>"
        f"<p>The input of the network: time runs to the right, {config.n_samples / config.sr:g} s, "
        f"frequency upwards from {config.fmin:.0f} to {config.fmax:.0f} Hz.</p><div class=row>",
        *(_loss(front_end, judged, index) for judged, index in losses),
        "</div>",
    ]


def worst(report: Report, count: int) -> list[tuple[Judged, int]]:
    """The ``count`` windows furthest from their label, as recording and index; worst first.

    At most one window per recording, so that a single bad recording does not fill the list.
    """
    found = []
    for judged in report.judged:
        if not judged.p.size:
            continue
        wrong = 1 - judged.p_all if judged.clip.knocks else judged.p_all
        index = int(np.nanargmax(wrong))
        found.append((float(wrong[index]), judged, index))
    found.sort(key=lambda item: -item[0])
    return [(judged, index) for _, judged, index in found[:count]]


def _loss(front_end: FrontEnd, judged: Judged, index: int) -> str:
    n, sr = front_end.config.n_samples, front_end.config.sr
    start = float(judged.starts[index])
    # Only this part, as recordings may be long, and 0.1 s more, as resampling rounds lengths.
    part = Recording(judged.clip.path, start_s=start, end_s=start + n / sr + 0.1, sr=sr)
    cut = part.read()[:n]
    y = np.pad(cut, (0, n - cut.size))
    picture = base64.b64encode(encode_png(front_end.picture(y))).decode()
    peak = max(float(np.abs(y).max()), 1e-9)
    sound = base64.b64encode(encode_wav(y / peak, sr)).decode()
    clip = judged.clip
    return (
        f'<figure><img src="data:image/png;base64,{picture}" alt="spectrogram" width=224>'
        f'<audio controls preload="none" src="data:audio/wav;base64,{sound}"></audio>'
        f"<figcaption>{escape(clip.path.name)}, {judged.starts[index]:g} s<br>"
        f"label {escape(clip.label)}/{escape(clip.kind)}, p of knocking {judged.p_all[index]:.3f}"
        "</figcaption></figure>"
    )


def _figure(title: str, uri: str, style: str = "plot") -> str:
    name = escape(title)
    return (
        f'<figure class="{style}"><img src="{uri}" alt="{name}">'
        f"<figcaption>{name}</figcaption></figure>"
    )


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = ["<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>" for row in rows]
    return f"<table>{''.join(lines)}</table>"


def _unknown(row: dict[str, Any]) -> str:
    """Number of unknown windows and why: ``3 (hiss 2, too_short 1)``."""
    reasons = row["unknown_reasons"]
    return f"{row['unknown']} ({counted(reasons)})" if reasons else str(row["unknown"])


def _kinds_table(rows: dict[str, dict[str, Any]]) -> str:
    head = ("", "sources", "windows", "unknown", "mean p", "called knocking")
    return _table(
        head,
        (
            (
                name,
                str(row["sources"]),
                str(row["windows"]),
                _unknown(row),
                "" if row["mean_p"] is None else f"{row['mean_p']:.3f}",
                "" if row["mean_p"] is None else f"{row['called_knocking']:.1%}",
            )
            for name, row in rows.items()
        ),
    )


def _separation_table(rows: dict[str, dict[str, Any]]) -> str:
    head = (
        "knocking against",
        "ROC AUC",
        "95 % interval over sources",
        "recall at 1 % false positives",
        "at 0.1 %",
    )
    return _table(
        head,
        (
            (
                kind,
                f"{row['auc']:.3f}",
                interval(row),
                share(row["recall_at_0.01"]),
                share(row["recall_at_0.001"]),
            )
            for kind, row in rows.items()
        ),
    )


def _alarms_table(rows: dict[str, FalseAlarms]) -> str:
    return _table(("", "alerts"), ((kind, in_words(figures)) for kind, figures in rows.items()))
