"""Grading: what the figures mean."""

import dataclasses
import json

import numpy as np
import pytest

from convert.cli import main
from convert.dataset import LABELS
from convert.errors import CheckpointError
from convert.evaluate import evaluate
from convert.metrics import calibration_bins
from convert.plots import histogram, roc_plot, sources_plot
from edge.model import ModelFile, default_model, write_model
from tests.audio import noise, wav_file
from tests.graded import judged, report
from tests.networks import checkpoint, random_network

RNG = np.random.default_rng(0)


def test_the_window_that_only_covers_the_end_is_known(tmp_path):
    wav_file(tmp_path / "a_1.wav", noise(2.8).astype("f8"), 22_050)
    (tmp_path / "labels.csv").write_text("file,label\na_1.wav,normal\n")
    (found,) = evaluate(checkpoint(tmp_path / "a.pth", random_network()), [tmp_path]).judged
    assert found.starts.tolist() == pytest.approx([0, 0.5, 0.8], abs=1e-4)
    assert found.extra.tolist() == [False, False, True]


def test_a_kind_under_two_labels_is_two():
    shop = [judged("a_1", "normal", [0.1, 0.2]), judged("b_1", "not_engine", [0.9, 0.9, 0.9])]
    named = [dataclasses.replace(j, clip=dataclasses.replace(j.clip, kind="shop")) for j in shop]
    both = report(*named, judged("k_1", "knocking", [0.5]))
    assert {kind: rows["auc"] for kind, rows in both.separation.items()} == {
        "normal/shop": 1.0,
        "not_engine/shop": 0.0,
    }
    assert both.false_alarms()["normal/shop"]["alerts"] == 0
    assert list(report(named[0]).others) == ["shop"]
    for plot in (roc_plot, histogram, sources_plot):
        assert plot(both).startswith("data:image/svg+xml")


def test_sources_of_one_car_count_as_one():
    p = [0.1, 0.2]
    apart = [judged(name, "normal", p) for name in ("a_1", "b_1")]
    one = [dataclasses.replace(j, clip=dataclasses.replace(j.clip, car="golf")) for j in apart]
    knocks = [judged("k_1", "knocking", p), judged("l_1", "knocking", p)]
    assert len(report(*apart).p_of_kind("engine")) == 2
    assert len(report(*one).p_of_kind("engine")) == 1
    assert report(*apart, *knocks).separation["engine"]["auc_95"] is not None
    assert report(*one, *knocks).separation["engine"]["auc_95"] is None


def test_calibration_is_of_all_engines_whatever_their_kind_is_called():
    bins = report(
        judged("k_1", "knocking", [0.95], kind="rod"),
        judged("n_1", "normal", [0.92], kind="belt"),
        judged("x_1", "not_engine", [0.97], kind="rain"),
    ).calibration()
    assert [(b["windows"], b["true_share"]) for b in bins] == [(2, 0.5)]


def test_no_recall_is_given_at_a_rate_that_so_few_windows_cannot_show():
    some = report(judged("k", "knocking", [0.9] * 9), judged("n", "normal", [0.1] * 999))
    found = some.separation["engine"]
    assert (found["recall_at_0.01"], found["recall_at_0.001"]) == (1.0, None)
    assert (
        "recall 100.0% at 1.0% false positives, recall - at 0.1% false positives (too few windows)"
    ) in some.table()
    more = report(judged("k", "knocking", [0.9] * 9), judged("n", "normal", [0.1] * 1000))
    assert more.separation["engine"]["recall_at_0.001"] == 1.0


def test_unknown_windows_are_neither_right_nor_wrong():
    figures = report(judged("a", "normal", [0.1, np.nan, 0.9])).to_dict()["by_kind"]
    row = figures["normal/engine"]
    assert (row["windows"], row["unknown"], row["called_knocking"]) == (2, 1, 0.5)


def test_one_source_has_no_interval():
    one = report(judged("a", "knocking", [0.9]), judged("b", "normal", [0.1]))
    assert one.separation["engine"]["auc_95"] is None
    assert "unknown: one source" in one.table()
    two = report(
        judged("a", "knocking", [0.9]),
        judged("c", "knocking", [0.3]),
        judged("b", "normal", [0.1]),
        judged("d", "normal", [0.5]),
    )
    low, high = two.separation["engine"]["auc_95"]
    assert low < 0.75 < high


def test_an_interval_over_few_sources_is_called_too_narrow():
    def both(knocking, normal):
        knocks = [judged(f"k{i}", "knocking", [0.9 - i / 100]) for i in range(knocking)]
        return report(*knocks, *(judged(f"n{i}", "normal", [i / 10]) for i in range(normal)))

    few = both(4, 8)
    found = few.separation["engine"]
    assert (found["fewest_sources"], found["auc_95_too_narrow"]) == (4, True)
    assert "; too narrow, with only 4 sources), recall" in few.table()
    assert both(8, 7).separation["engine"]["auc_95_too_narrow"]
    assert not both(8, 8).separation["engine"]["auc_95_too_narrow"]
    assert "too narrow" not in both(8, 8).table()


def test_a_network_that_does_not_say_its_sources_has_none_held_out(tmp_path, capsys):
    wav_file(tmp_path / "a_1.wav", noise(2).astype("f8"), 22_050)
    (tmp_path / "labels.csv").write_text("file,label\na_1.wav,normal\n")
    start = checkpoint(tmp_path / "start.pth", random_network())
    with pytest.raises(CheckpointError, match="does not list everything it was trained on, which"):
        evaluate(start, [tmp_path], hold_out_only=True)
    evaluate(start, [tmp_path])
    assert "does not say what it was trained on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--for-false-rate", "0.01"], "--for-false-rate needs --out"),
        (["--for-false-rate", "1", "--out", "m.tflite"], "between 0 and 1"),
        (["--for-false-rate", "0.01", "--out", "m.tflite"], "needs a .tflite"),
        (["--for-false-rate", "1e-320", "--out", "m.tflite"], "give 1e-06 or more, or 0"),
        (["--for-false-rate", "9e-7", "--out", "m.tflite"], "give 1e-06 or more, or 0"),
        (["--for-false-rate", "1e-6", "--out", "m.tflite"], "needs a .tflite"),
        (["--for-false-rate", "0", "--out", "m.tflite"], "needs a .tflite"),
        (["--html", "nowhere/report.html"], "no folder nowhere"),
    ],
)
def test_options_that_do_not_fit(arguments, words, tmp_path, capsys):
    assert main(["evaluate", "net.pth", str(tmp_path), *arguments]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--json", "net.tflite"], "--json net.tflite is also the model to grade: name another"),
        (["--html", "link.tflite"], "--html link.tflite is also the model to grade: name another"),
        (["--json", "r/labels.csv"], "--json r/labels.csv is also the table of r: name another"),
        (["--json", "a", "--html", "r/../a"], "--html r/../a is also where --json goes: name"),
        (["--json", "a.tflite", "--for-false-rate", "0.1", "--out", "a.tflite"], "--json goes"),
    ],
)
def test_figures_replace_nothing_that_is_needed(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r").mkdir()
    (tmp_path / "net.tflite").write_bytes(b"a model")
    (tmp_path / "link.tflite").symlink_to("net.tflite")
    monkeypatch.setattr("convert.evaluate.evaluate", lambda *_, **__: pytest.fail("judged"))
    assert main(["evaluate", "net.tflite", "r", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_the_chosen_threshold_may_go_into_the_model_itself(tmp_path, capsys):
    model = tmp_path / "net.tflite"
    model.write_bytes(b"no model")
    arguments = ["--for-false-rate", "0.1", "--out", str(model)]
    assert main(["evaluate", str(model), str(tmp_path), *arguments]) == 12  # as no recordings
    assert "no recordings in" in capsys.readouterr().err


def test_the_figures_say_how_to_find_them_again(tmp_path, capsys):
    wav_file(tmp_path / "a_1.wav", noise(3).astype("f8"), 22_050)
    wav_file(tmp_path / "b_1.wav", np.zeros(3 * 22_050), 22_050)
    wav_file(tmp_path / "c_1.wav", noise(1).astype("f8"), 22_050)
    (tmp_path / "torn_1.wav").write_bytes(b"no sound")
    rows = "".join(f"{name}_1.wav,normal\n" for name in ("a", "b", "c", "torn"))
    (tmp_path / "labels.csv").write_text(f"file,label\n{rows}")
    start = checkpoint(tmp_path / "start.pth", random_network())
    arguments = ["--hop", "1", "--seed", "7", "--json", str(tmp_path / "figures.json")]
    assert main(["evaluate", str(start), str(tmp_path), *arguments]) == 0
    found = json.loads((tmp_path / "figures.json").read_text())
    assert (found["threshold"], found["temperature"]) == (0.5, 1.0)
    assert (found["hop_s"], found["seed"]) == (1.0, 7)
    assert len(found["unreadable"]) == 1
    assert "torn_1.wav" in found["unreadable"][0]
    row = found["by_kind"]["normal/engine"]
    assert (row["windows"], row["unknown"]) == (2, 3)
    assert row["unknown_reasons"] == {"flat_line": 2, "too_short": 1}
    assert found["by_source"]["normal/a"]["unknown_reasons"] == {}


def test_a_model_file_s_own_front_end_is_kept_and_what_it_learnt_is_not_known(tmp_path, capsys):
    shipped = ModelFile.read(default_model())
    front_end = dataclasses.replace(shipped.manifest.front_end, top_db=60.0)
    model = tmp_path / "net.tflite"
    write_model(model, shipped.network, dataclasses.replace(shipped.manifest, front_end=front_end))
    wav_file(tmp_path / "a_1.wav", noise(2).astype("f8"), 22_050)
    (tmp_path / "labels.csv").write_text("file,label\na_1.wav,normal\n")
    assert evaluate(model, [tmp_path]).front_end == front_end
    assert capsys.readouterr().err == (
        f"{model} does not say what it was trained on: "
        "figures on its training recordings are too optimistic\n"
    )


def test_the_draws_are_made_once_for_text_page_and_file(monkeypatch):
    rows = [judged(name, label, [0.5]) for label in LABELS for name in (f"{label}1", f"{label}2")]
    once = report(*rows)
    first = once.table()
    monkeypatch.setattr(
        "convert.figures.cluster_bootstrap_interval", lambda *_, **__: pytest.fail()
    )
    assert once.table() == first
    assert once.to_dict()["separation"]["engine"]["auc_95"] == [0.5, 0.5]


def test_the_order_of_the_answers_may_be_said(tmp_path, capsys):
    """Without a word about it in the file it is the original's; turned round, p is the other's."""
    wav_file(tmp_path / "a_1.wav", noise(2).astype("f8"), 22_050)
    (tmp_path / "labels.csv").write_text("file,label\na_1.wav,normal\n")
    start = checkpoint(tmp_path / "start.pth", random_network())
    plain = evaluate(start, [tmp_path]).judged[0].p
    note = f"note: {start} states no labels, taken for knocking, normal; if not so, give --labels"
    assert note in capsys.readouterr().err
    turned = evaluate(start, [tmp_path], labels=("normal", "knocking")).judged[0].p
    np.testing.assert_allclose(plain + turned, 1, atol=1e-6)
    assert "no labels" not in capsys.readouterr().err
    arguments = ["evaluate", str(start), str(tmp_path), "--labels"]
    assert main([*arguments, "a,b"]) == 2
    assert "--labels a,b: two names are needed" in capsys.readouterr().err


def test_calibration_weighs_both_classes_alike():
    """As the temperature is chosen: one knock in eighty windows does not make all answers wrong."""
    z = RNG.normal(0, 2, 2_000_000)
    p = (1 / (1 + np.exp(-z))).astype(np.float32)
    knocks = RNG.random(z.size) < p
    rare = ~knocks | (RNG.random(z.size) < 1 / 80)
    for b in calibration_bins(p[rare], knocks[rare]):
        assert b["true_share"] == pytest.approx(b["mean_p"], abs=0.05)  # five deviations


def test_the_text_has_each_figure_in_its_column_and_engines_alone_by_source():
    graded = report(
        judged("k_1", "knocking", [0.9]),
        judged("a_1", "normal", [0.1, 0.5, np.nan], source="a"),
        judged("a_2", "normal", [np.nan, np.nan], source="a"),
        judged("r_1", "not_engine", [np.nan], kind="rain"),
    )
    lines = [line.split() for line in graded.table().splitlines()]
    for name in ("normal/engine", "normal/a"):
        assert [name, "2", "3", "0.300", "50.0%"] in lines  # at the threshold it is called
    assert ["not_engine/rain", "0", "1"] in lines
    assert "not_engine/r_1" not in graded.table()
    row = graded.rows("kind")["normal/engine"]
    assert (row["recordings"], row["sources"]) == (2, 1)
