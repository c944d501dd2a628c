"""Grading: what the figures mean, the report, the choice of threshold and temperature."""

import dataclasses
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from convert.alarms import alerts_in, false_alarms
from convert.cli import main
from convert.dataset import LABELS, Clip
from convert.errors import CheckpointError, DatasetError
from convert.evaluate import evaluate
from convert.figures import Judged, Report
from convert.metrics import calibration_bins
from convert.report import worst, write_report
from convert.tuning import best_temperature, log_odds, threshold_for, tune
from edge.classifier import tempered
from edge.frontend import FrontEndConfig
from edge.model import Manifest, ModelFile, write_model
from edge.wav import write_wav
from tests.audio import noise, wav_file
from tests.networks import checkpoint, random_network

RNG = np.random.default_rng(0)


def judged(path, label, p, kind="engine", source=None):
    clip = Clip(Path(path), label, kind, source or Path(path).stem)
    return Judged(clip, np.array(p, dtype=np.float32), 1.0 * np.arange(len(p)))


def report(*recordings, threshold=0.5, hop_s=0.5):
    return Report("net.tflite", threshold, list(recordings), 1, hop_s, 1.0)


def test_alarms_are_counted_after_confirmation():
    one = np.zeros(40, dtype=np.float32)
    one[10:14] = 1  # four of eight: not enough
    assert alerts_in(one, 0.5, 0.5) == 0
    one[14] = 1
    assert alerts_in(one, 0.5, 0.5) == 1
    hour = np.zeros(7200, dtype=np.float32)
    hour[::3600] = 1  # single windows never are
    assert alerts_in(hour, 0.5, 0.5) == 0
    one[:] = np.nan
    assert alerts_in(one, 0.5, 0.5) == 0


def test_false_alarms_join_recordings_of_one_source_and_no_others():
    half = [1, 1, 1]
    same = report(
        judged("a_1", "normal", half, source="a"), judged("a_2", "normal", half, source="a")
    )
    apart = report(judged("a_1", "normal", half), judged("b_1", "normal", half))
    assert same.false_alarms()["engine"]["alerts"] == 1
    assert same.false_alarms()["engine"]["sources_too_short"] == 0
    # Two recordings of three windows of 2 s, a second apart as judged() has them.
    assert same.false_alarms()["engine"]["hours"] == pytest.approx(2 * 4 / 3600, abs=5e-5)
    # Neither could have given an alert: neither is counted as time without one.
    none = {"alerts": 0, "hours": 0.0, "per_hour": 0.0, "sources_too_short": 2}
    assert apart.false_alarms()["engine"] == none
    assert "2 sources are too short for an alert" in apart.table()


def test_sources_of_one_car_count_as_one():
    p = [0.1, 0.2]
    apart = [judged(name, "normal", p) for name in ("a_1", "b_1")]
    one = [dataclasses.replace(j, clip=dataclasses.replace(j.clip, car="golf")) for j in apart]
    knocks = [judged("k_1", "knocking", p), judged("l_1", "knocking", p)]
    assert len(report(*apart).p_of(knocks=False)) == 2
    assert len(report(*one).p_of(knocks=False)) == 1
    assert report(*apart, *knocks).separation()["engine"]["auc_95"] is not None
    assert report(*one, *knocks).separation()["engine"]["auc_95"] is None


def test_calibration_is_of_all_engines_whatever_their_kind_is_called():
    bins = report(
        judged("k_1", "knocking", [0.95], kind="rod"),
        judged("n_1", "normal", [0.92], kind="belt"),
        judged("x_1", "not_engine", [0.97], kind="rain"),
    ).calibration()
    assert [(b["windows"], b["true_share"]) for b in bins] == [(2, 0.5)]


def test_unknown_windows_are_neither_right_nor_wrong():
    figures = report(judged("a", "normal", [0.1, np.nan, 0.9])).to_dict()["by_kind"]
    row = figures["normal/engine"]
    assert (row["windows"], row["unknown"], row["called_knocking"]) == (2, 1, 0.5)


def test_a_temperature_undoes_overconfidence():
    # Labels are drawn from the true odds z; a network that says 2.5 z is 2.5 times too sure.
    z = RNG.normal(0, 2, 20_000)
    knocks = RNG.random(z.size) < 1 / (1 + np.exp(-z))
    said = (1 / (1 + np.exp(-2.5 * z))).astype(np.float32)
    found = best_temperature(said[knocks], said[~knocks])
    # Answers beyond the floor of 1/512 are cut off, which makes them look a little less sure.
    assert found == pytest.approx(2.5, rel=0.15)
    true = (1 / (1 + np.exp(-z))).astype(np.float32)
    assert best_temperature(true[knocks], true[~knocks]) == pytest.approx(1.0, rel=0.1)


def test_log_odds_of_certainty_are_finite():
    assert np.isfinite(log_odds(np.array([0, 0.5, 1], dtype=np.float32))).all()


def test_one_source_has_no_interval():
    one = report(judged("a", "knocking", [0.9]), judged("b", "normal", [0.1]))
    assert one.separation()["engine"]["auc_95"] is None
    assert "unknown: one source" in one.table()
    two = report(
        judged("a", "knocking", [0.9]),
        judged("c", "knocking", [0.3]),
        judged("b", "normal", [0.1]),
        judged("d", "normal", [0.5]),
    )
    low, high = two.separation()["engine"]["auc_95"]
    assert low < 0.75 < high


def test_a_network_that_does_not_say_its_sources_has_none_held_out(tmp_path):
    wav_file(tmp_path / "a_1.wav", noise(2).astype("f8"), 22_050)
    (tmp_path / "labels.csv").write_text("file,label\na_1.wav,normal\n")
    start = checkpoint(tmp_path / "start.pth", random_network())
    with pytest.raises(CheckpointError, match="does not say all that it was trained on"):
        evaluate(start, [tmp_path], hold_out_only=True)


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.1])
def test_the_threshold_keeps_the_false_rate(rate):
    others = RNG.random(1000).astype(np.float32) * 0.9
    threshold = threshold_for(others, rate)
    assert (others >= threshold).mean() <= rate
    assert (others >= threshold - 0.02).mean() >= rate  # and is no higher than it must be


@pytest.fixture
def model(tmp_path):
    manifest = Manifest(
        "net", ("knocking", "normal"), 0.5, "int8", FrontEndConfig(), golden={"p_knocking": 0.9}
    )
    write_model(tmp_path / "net.tflite", b"\0\0\0\0TFL3" + bytes(100), manifest)
    return tmp_path / "net.tflite"


def test_tuning_changes_the_manifest_and_nothing_else(model, tmp_path):
    z = RNG.normal(0, 4, 4000)
    p = 1 / (1 + np.exp(-z))
    knocks = RNG.random(z.size) < 1 / (1 + np.exp(-z / 2))
    made = tune(
        model,
        report(judged("a", "knocking", p[knocks]), judged("b", "normal", p[~knocks])),
        0.05,
        tmp_path / "tuned.tflite",
    )
    before, after = ModelFile.read(model), ModelFile.read(tmp_path / "tuned.tflite")
    assert before.network == after.network
    assert after.manifest == made
    assert made.temperature == pytest.approx(2, rel=0.15)
    tempered = 1 / (1 + np.exp(-z[~knocks] / made.temperature))
    assert (tempered >= made.threshold).mean() <= 0.06
    assert made.golden["p_knocking"] < 0.9  # the answer a device must give now
    with pytest.raises(DatasetError, match="knock"):
        tune(model, report(judged("b", "normal", p)), 0.05, tmp_path / "x.tflite")


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


def test_a_threshold_is_chosen_by_healthy_engines_of_any_kind(model, tmp_path):
    p = RNG.uniform(0, 0.5, 200)
    rows = [judged("k", "knocking", [0.9] * 20), judged("d", "normal", p, kind="diesel")]
    belt = judged("b", "normal", [0.95] * 200, kind="belt")  # says nothing of healthy ones
    made = [
        tune(model, report(*rows, *more), 0.05, tmp_path / "tuned.tflite") for more in ((), (belt,))
    ]
    assert made[0].threshold == made[1].threshold
    with pytest.raises(DatasetError, match="no recording of a healthy engine"):
        tune(model, report(rows[0], belt), 0.05, tmp_path / "tuned.tflite")


def test_tuning_again_starts_from_what_the_network_said(model, tmp_path):
    z = RNG.normal(0, 2, 4000)
    knocks = RNG.random(z.size) < 1 / (1 + np.exp(-z / 2))
    found = []
    for temperature in (1.0, 0.4):
        p = 1 / (1 + np.exp(-z / temperature))
        graded = report(judged("a", "knocking", p[knocks]), judged("b", "normal", p[~knocks]))
        graded = dataclasses.replace(graded, temperature=temperature)
        found.append(tune(model, graded, 0.05, tmp_path / "tuned.tflite"))
    assert found[1].temperature == pytest.approx(found[0].temperature, rel=0.01)
    assert found[1].threshold == pytest.approx(found[0].threshold, abs=0.01)


def test_a_false_rate_that_cannot_be_seen_is_refused(model, tmp_path):
    few = report(judged("a", "knocking", [0.9] * 50), judged("b", "normal", [0.1] * 99))
    with pytest.raises(DatasetError, match=r"99 windows .* 1\.00% shows on 100 at least"):
        tune(model, few, 0.01, tmp_path / "tuned.tflite")


def test_the_surest_answers_are_taken_for_the_surer():
    """An int8 network's 255/256 stands beside 0 or 1/256, and a report has the one alone."""
    p = np.array([255 / 256, 0], dtype=np.float32)
    for temperature in (0.5, 2.0):
        device = tempered(p, temperature)[0]
        ours = 1 / (1 + np.exp(-log_odds(p[:1])[0] / temperature))
        assert ours == pytest.approx(device, abs=1e-6)
    assert (np.diff(log_odds(np.linspace(0, 1, 10_001).astype(np.float32))) >= 0).all()


def test_a_false_rate_that_cannot_be_kept_is_refused(model, tmp_path, monkeypatch):
    # Fitted to these, the temperature would have no answer beyond 0.98.
    monkeypatch.setattr("convert.tuning.best_temperature", lambda *_: 1.0)
    sure = report(judged("a", "knocking", [0.99] * 50), judged("b", "normal", [0.999] * 100))
    with pytest.raises(DatasetError, match=r"even at a threshold of .*100\.0%"):
        tune(model, sure, 0.01, tmp_path / "tuned.tflite")
    assert not (tmp_path / "tuned.tflite").exists()


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
    assert "The 3 windows it was least right about, 2 of them wrong" in text


def test_a_report_about_odd_names(tmp_path):
    """Mathematics to matplotlib, and bytes that are no text."""
    name = os.fsdecode(b"caf\xe9 $5_$x.wav")
    wav_file(tmp_path / name, noise(3).astype("f8"), 22_050)
    rows = [judged(tmp_path / name, label, [0.9, 0.2], kind=name) for label in LABELS]
    write_report(report(*rows), tmp_path / "report.html")
    assert "caf" in (tmp_path / "report.html").read_text()


def test_a_report_without_an_engine(tmp_path):
    wav_file(tmp_path / "rain_1.wav", noise(3).astype("f8"), 22_050)
    rain = judged(tmp_path / "rain_1.wav", "not_engine", [0.2], kind="not_engine")
    write_report(report(rain), tmp_path / "report.html")
    assert "No engine was judged" in (tmp_path / "report.html").read_text()


def test_the_worst_come_first(graded):
    names = [(j.clip.path.stem, index) for j, index in worst(graded, 2)]
    assert names == [("ford_1", 1), ("golf_1", 1)]


def test_a_report_without_a_knock_says_so(graded, tmp_path):
    healthy = Report("n", 0.5, graded.judged[1:], 1, 0.5, 1.0)
    write_report(healthy, tmp_path / "report.html")
    assert "nothing to be told apart" in (tmp_path / "report.html").read_text()
    assert "nothing to be told apart" in healthy.table()
    assert "nothing to be told apart" not in graded.table()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--for-false-rate", "0.01"], "go together"),
        (["--for-false-rate", "1", "--out", "m.tflite"], "between 0 and 1"),
        (["--for-false-rate", "0.01", "--out", "m.tflite"], "needs a .tflite"),
        (["--html", "nowhere/report.html"], "no folder nowhere"),
    ],
)
def test_options_that_do_not_fit(arguments, words, tmp_path, capsys):
    assert main(["evaluate", "net.pth", str(tmp_path), *arguments]) == 2
    assert words in capsys.readouterr().err


def test_the_order_of_the_answers_may_be_said(tmp_path, capsys):
    """Without a word about it in the file it is the original's; turned round, p is the other's."""
    wav_file(tmp_path / "a_1.wav", noise(2).astype("f8"), 22_050)
    (tmp_path / "labels.csv").write_text("file,label\na_1.wav,normal\n")
    start = checkpoint(tmp_path / "start.pth", random_network())
    plain = evaluate(start, [tmp_path]).judged[0].p
    turned = evaluate(start, [tmp_path], labels=("normal", "knocking")).judged[0].p
    np.testing.assert_allclose(plain + turned, 1, atol=1e-6)
    arguments = ["evaluate", str(start), str(tmp_path), "--labels"]
    assert main([*arguments, "a,b"]) == 2
    assert "--labels a,b: two are needed" in capsys.readouterr().err


def test_calibration_weighs_both_classes_alike():
    """As the temperature is chosen: one knock in eighty windows does not make all answers wrong."""
    z = RNG.normal(0, 2, 200_000)
    p = (1 / (1 + np.exp(-z))).astype(np.float32)
    knocks = RNG.random(z.size) < p
    rare = ~knocks | (RNG.random(z.size) < 1 / 80)
    for b in calibration_bins(p[rare], knocks[rare]):
        assert b["true_share"] == pytest.approx(b["mean_p"], abs=0.05)  # 80 times fewer windows


def test_time_that_could_not_be_judged_is_no_quiet_time():
    p = np.full(40, 0.1, dtype=np.float32)
    p[10:30] = np.nan  # half a second apart: 5 s, 10 s of silence, 5 s
    clip = Clip(Path("a"), "normal", "engine", "a")
    assert Judged(clip, p, np.arange(40) / 2).heard_s == pytest.approx(2 * (4.5 + 2))
    nothing = Judged(clip, p[10:30], np.arange(20) / 2)
    assert nothing.heard_s == 0
    figures = false_alarms([(nothing.every, nothing.heard_s)], 0.5, 0.5)
    assert figures == {"alerts": 0, "hours": 0.0, "per_hour": 0.0, "sources_too_short": 1}
