"""The page about an evaluation."""

import base64
import dataclasses
import os
import re
import warnings
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.colors import to_hex

from convert import plots
from convert.dataset import LABELS
from convert.figures import Report
from convert.plots import (
    GUIDE,
    KNOCKING,
    KNOWN,
    calibration_plot,
    histogram,
    roc_plot,
    sources_plot,
    strokes,
)
from convert.report import worst, write_report
from edge.frontend import FrontEnd, FrontEndConfig
from edge.png import encode_png
from edge.recording import Recording
from edge.wav import encode_wav, write_wav
from tests.audio import noise, wav_file
from tests.graded import judged, report


class Page(HTMLParser):
    """Tags that are open, and every address the page asks for."""

    VOID = frozenset({"meta", "link", "img", "br"})

    def __init__(self):
        super().__init__()
        self.open, self.addresses = [], []

    def handle_starttag(self, tag, attributes):
        self.addresses += [v for k, v in attributes if k in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def graded(tmp_path):
    for name in ("ford_1", "golf_1", "rain_1"):
        write_wav(tmp_path / f"{name}.wav", noise(3), 22_050)
    return report(
        judged(tmp_path / "ford_1.wav", "knocking", [0.9, 0.2]),
        judged(tmp_path / "golf_1.wav", "normal", [0.1, 0.7]),
        judged(tmp_path / "rain_1.wav", "not_engine", [np.nan, 0.3], kind="not_engine"),
    )


def test_the_report_holds_everything_itself(graded, tmp_path):
    write_report(graded, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    page = Page()
    page.feed(text)
    assert page.open == []
    assert all(address.startswith("data:") for address in page.addresses)
    assert not re.search(r"https?://", re.sub(r'"data:[^"]*"', "", text))
    assert text.count("<audio") == 3
    for words in ("ford_1", "too short for an alert", "ROC AUC", "Threshold", "called knocking"):
        assert words in text
    # ford_1's second window is missed, golf_1's is a false alarm.
    assert "unknown: one source" in text
    assert "<td>-</td><td>-</td>" in text  # two windows show no rate of 1 in 100
    assert "the worst window of each of 3 recordings, 2 of them misclassified" in text


def test_a_report_about_odd_names(tmp_path):
    """Mathematics to matplotlib, bytes that are no text, characters that no XML may hold."""
    name = os.fsdecode(b"caf\xe9 $5_$x\1\x1b.wav")
    wav_file(tmp_path / name, noise(3).astype("f8"), 22_050)
    rows = [judged(tmp_path / name, label, [0.9, 0.2], kind=name) for label in LABELS]
    write_report(report(*rows), tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "caf" in text
    plots = re.findall(r"data:image/svg\+xml;base64,([^\"]*)", text)
    assert len(plots) == 4
    for plot in plots:
        ElementTree.fromstring(base64.b64decode(plot))  # noqa: S314 - our own


def test_a_report_without_an_engine(tmp_path):
    wav_file(tmp_path / "rain_1.wav", noise(3).astype("f8"), 22_050)
    rain = judged(tmp_path / "rain_1.wav", "not_engine", [0.2], kind="not_engine")
    write_report(report(rain), tmp_path / "report.html")
    assert "No engine was judged" in (tmp_path / "report.html").read_text()


def test_pictures_are_those_of_the_model_s_own_front_end(graded, tmp_path):
    config = FrontEndConfig(sr=16_000, n_samples=24_000, top_db=60.0, fmin=40.0, network_px=128)
    other = dataclasses.replace(graded, judged=graded.judged[:1], front_end=config)
    write_report(other, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    # ford_1's second window, which the network missed, starts at 1 s.
    y = Recording(graded.judged[0].clip.path, start_s=1.0, end_s=2.6, sr=16_000).read()[:24_000]
    picture = encode_png(FrontEnd(config).picture(y))
    assert f"data:image/png;base64,{base64.b64encode(picture).decode()}" in text
    sound = encode_wav(y / np.abs(y).max(), 16_000)  # as loud as can be: errors are to be heard
    assert f"data:audio/wav;base64,{base64.b64encode(sound).decode()}" in text
    assert "a window of 1.5 s every" in text
    assert "from 40 to 4833 Hz" in text  # 40 Hz * 2 ** (83 / 12)


def test_few_sources_are_said_to_be_too_few(graded, tmp_path):
    more = [
        dataclasses.replace(j, clip=dataclasses.replace(j.clip, source=f"{j.clip.source}2"))
        for j in graded.judged
    ]
    write_report(report(*graded.judged, *more), tmp_path / "report.html")
    assert "too narrow, with only 2 sources" in (tmp_path / "report.html").read_text()


def test_the_worst_come_first(graded):
    names = [(j.clip.path.stem, index) for j, index in worst(graded, 2)]
    assert names == [("ford_1", 1), ("golf_1", 1)]


def test_a_report_without_a_knock_says_so(graded, tmp_path):
    healthy = Report("n", 0.5, graded.judged[1:], 1, 0.5, 1.0)
    write_report(healthy, tmp_path / "report.html")
    assert "AUC and recall cannot be given" in (tmp_path / "report.html").read_text()
    assert "AUC and recall cannot be given" in healthy.table()
    assert "AUC and recall cannot be given" not in graded.table()


def test_knocks_of_which_nothing_could_be_judged_are_not_denied(graded, tmp_path):
    knock = dataclasses.replace(graded.judged[0], p_all=np.full(2, np.nan, np.float32))
    write_report(report(knock, *graded.judged[1:]), tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "No knocking window could be judged, so AUC and recall cannot be given." in text


def test_recordings_without_figures_are_counted_and_named(graded, tmp_path):
    click = dataclasses.replace(
        judged(tmp_path / "click & co.wav", "normal", [np.nan]), reasons=("too_short",)
    )
    torn = tuple(f"torn_{i}.wav holds no <sound>" for i in range(14))
    left = dataclasses.replace(graded, judged=[*graded.judged, click], unreadable=torn)
    write_report(left, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "14 recordings skipped as unreadable: torn_0.wav holds no &lt;sound&gt;; " in text
    assert "torn_11.wav holds no &lt;sound&gt;; and 2 more." in text
    assert "torn_12" not in text
    assert "1 recording too short to be judged, all unknown: " in text
    assert "click &amp; co.wav.</p>" in text
    write_report(graded, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "skipped as unreadable" not in text
    assert "cannot be read" not in text
    assert "too short to be judged" not in text


def test_kinds_are_told_apart_in_every_plot():
    """Also where colours are seen as grey: by another line."""
    named = ["belt", "engine", "engine_other_fault", "misfire", "not_engine", "starter"]
    drawn = strokes([*named, *(f"kind {i}" for i in range(26))])
    assert set(named) < set(drawn)
    lines = [(s.colour, s.line) for s in (KNOCKING, *drawn.values())]
    bars = [(s.colour, s.hatch) for s in (KNOCKING, *drawn.values())]
    assert len(set(lines)) == len(set(bars)) == len(drawn) + 1
    others = [drawn[kind] for kind in named if kind not in KNOWN]
    assert len({s.line for s in others}) == len(others)
    assert len({s.colour for s in drawn.values()} | {KNOCKING.colour, GUIDE}) == 10


@pytest.fixture
def axes(monkeypatch):
    """What was drawn, figure by figure."""
    drawn = []
    monkeypatch.setattr(plots, "_uri", lambda figure: drawn.append(figure.axes[0]))
    return drawn


def test_plots_draw_each_kind_with_its_own_stroke(axes):
    kinds = ["belt", "misfire", "not_engine"]
    rows = [judged(f"{kind}_1", "normal", [0.1, 0.6], kind=kind) for kind in kinds]
    graded = report(judged("golf_1", "knocking", [0.9, 0.7]), *rows)
    roc_plot(graded)
    histogram(graded)
    wanted = [strokes(kinds)[kind] for kind in kinds]
    lines = {line.get_label(): line for line in axes[0].get_lines()}
    assert [lines[kind].get_color() for kind in kinds] == [s.colour for s in wanted]
    assert [lines[kind].get_linestyle() for kind in kinds[:2]] == [s.line for s in wanted[:2]]
    steps = {p.get_label(): p for p in axes[1].patches}
    edges = [to_hex(steps[kind].get_edgecolor()) for kind in ["knocking", *kinds]]
    assert edges == [s.colour for s in (KNOCKING, *wanted)]


def test_the_bars_of_every_kind_are_in_the_legend(axes):
    """One engine before and after its belt went: two bars."""
    graded = report(
        judged("golf_1", "knocking", [0.9, 0.7], source="golf"),
        judged("polo_1", "normal", [0.1, 0.6], source="polo"),
        judged("polo_2", "normal", [0.9, 0.6], kind="belt", source="polo"),
        judged("rain_1", "not_engine", [0.9], kind="not_engine"),
    )
    sources_plot(graded)
    colours = {bars.get_label(): to_hex(bars[0].get_facecolor()) for bars in axes[0].containers}
    assert colours == {
        "knocking": KNOCKING.colour,
        "normal/engine": KNOWN["engine"].colour,
        "normal/belt": strokes(["belt"])["belt"].colour,
    }
    shown = [text.get_text() for text in axes[0].figure.legends[0].get_texts()]
    assert set(shown) == {*colours, "mean probability"}
    widths = {b.get_label(): [bar.get_width() for bar in b] for b in axes[0].containers}
    assert widths == {"knocking": [100], "normal/engine": [50], "normal/belt": [100]}
    assert [t.get_text() for t in axes[0].get_yticklabels()] == [
        *("knocking/golf", "normal/polo", "normal/polo"),
    ]


def test_a_kind_may_have_any_name(axes):
    graded = report(
        judged("k", "knocking", [0.9, 0.8]),
        judged("a", "normal", [0.1, 0.2], kind="shop"),
        judged("b", "not_engine", [0.1, 0.2], kind="shop"),
        judged("c", "normal", [0.3], kind="normal/shop"),
        judged("d", "normal", [0.3], kind="_cold"),
    )
    names = ["_cold", "normal/normal/shop", "normal/shop", "not_engine/shop"]
    assert list(graded.others) == names
    for plot in (roc_plot, histogram, sources_plot):
        plot(graded)
    for figure, missing in zip(axes, (set(), set(), {"not_engine/shop"}), strict=True):
        legend = figure.get_legend() or figure.figure.legends[0]
        said = {text.get_text().strip().removeprefix("normal/") for text in legend.get_texts()}
        assert {name.removeprefix("normal/") for name in {*names} - missing} <= said


def cells(*values):
    return "".join(f"<td>{value}</td>" for value in values)


def test_the_tables_have_each_figure_in_its_column(graded, tmp_path):
    many = judged(graded.judged[1].clip.path, "normal", [0.1] * 150)
    two = dataclasses.replace(graded, judged=[graded.judged[0], many])
    for shown, rows in (
        (
            graded,
            [
                ("normal/engine", 1, 2, 0, "0.400", "50.0%"),
                ("not_engine/not_engine", 1, 1, 1, "0.300", "0.0%"),
                ("engine", "0.750", "unknown: one source", "-", "-"),
            ],
        ),
        # 150 windows show a rate of 1 in 100 and none of 1 in 1000.
        (two, [("engine", "1.000", "unknown: one source", "100.0%", "-")]),
    ):
        write_report(shown, tmp_path / "report.html")
        text = (tmp_path / "report.html").read_text()
        assert all(cells(*row) in text for row in rows)


def test_a_healthy_window_at_the_threshold_is_misclassified(graded, tmp_path):
    half = judged(graded.judged[1].clip.path, "normal", [0.5])
    write_report(report(half), tmp_path / "report.html")
    assert "of each of 1 recording, 1 of them mis" in (tmp_path / "report.html").read_text()


def test_a_window_that_reaches_beyond_the_end_is_shown_with_silence_behind_it(graded, tmp_path):
    """Resampling rounds lengths."""
    last = dataclasses.replace(graded.judged[1], starts=np.array([0.0, 1.01]))
    write_report(report(last), tmp_path / "report.html")
    n = 2 * 22_050
    y = Recording(last.clip.path, start_s=1.01, sr=22_050).read()
    picture = encode_png(FrontEnd().picture(np.pad(y, (0, n - y.size))))
    assert base64.b64encode(picture).decode() in (tmp_path / "report.html").read_text()


def points(axes, name):
    """Of the line called so: x and y."""
    (line,) = (line for line in axes.get_lines() if line.get_label() == name)
    return np.array(line.get_data(), dtype=np.float64).tolist()


def test_plots_show_the_figures_that_their_axes_name(axes):
    graded = report(
        judged("ford_1", "knocking", [0.9, 0.65]),
        judged("golf_1", "normal", [0.75, 0.1]),
        threshold=0.3,
    )
    roc_plot(graded)
    assert points(axes[0], "engine") == [[0, 0, 50, 50, 100], [0, 50, 50, 100, 100]]
    histogram(graded)
    assert points(axes[1], "threshold")[0] == [0.3, 0.3]
    for steps in axes[1].patches:  # two windows in two bins of each kind, in per cent
        assert steps.get_xy()[:, 1].max() == 50
    calibration_plot(graded)
    said, true = points(axes[2], "engines")
    assert said == pytest.approx([0.1, 0.65, 0.75, 0.9], abs=1e-4)
    assert true == [0, 1, 0, 1]
    assert [text.get_text() for text in axes[2].texts] == ["1"] * 4
    sources_plot(graded)
    means, places = points(axes[3], "mean probability")
    assert means == pytest.approx([77.5, 42.5], abs=0.01)
    assert places == [0, 1]
    bottom, top = axes[3].get_ylim()  # from the top, as the names are sorted, and hardly a margin
    assert -1 < top < bottom < 2


def test_a_plot_of_the_same_figures_is_the_same_file_on_any_day(graded):
    first, again = histogram(graded), histogram(graded)
    assert first == again
    assert b"<dc:date>" not in base64.b64decode(first.partition(",")[2])


def test_names_in_any_script_are_in_the_plots_as_text(tmp_path, graded):
    """matplotlib's font need not have them: the browser's do."""
    named = [
        dataclasses.replace(j, clip=dataclasses.replace(j.clip, kind="日本", source="東京"))
        for j in graded.judged
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_report(dataclasses.replace(graded, judged=named), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    plots = re.findall(r"data:image/svg\+xml;base64,([^\"]*)", page)
    shown = [base64.b64decode(plot).decode() for plot in plots]
    assert any("日本" in plot for plot in shown)
    assert any("東京" in plot for plot in shown)


def test_why_windows_are_unknown_is_said_and_a_page_about_nothing_has_no_empty_plot(tmp_path):
    silent = judged(tmp_path / "a_1.wav", "normal", [np.nan, np.nan, np.nan])
    silent = dataclasses.replace(silent, reasons=("hiss", "silence", "hiss"))
    write_report(report(silent), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "<td>3 (hiss 2, silence 1)</td>" in page
    assert "unknown: hiss 2, silence 1" in report(silent).table()
    for words in ("Plots", "Largest errors", "<img"):
        assert words not in page
