"""Grading: what the figures mean."""

import dataclasses
import json

import numpy as np
import pytest

from convert.alarms import alerts_in, false_alarms, in_words
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
    # Six windows, each half a second of the detector's clock, however long their sound.
    assert same.false_alarms()["engine"]["hours"] == pytest.approx(6 * 0.5 / 3600, abs=5e-5)
    assert same.false_alarms()["engine"]["per_hour"] == pytest.approx(1200)
    # Neither could have given an alert: neither is counted as time without one.
    none = {"alerts": 0, "hours": 0.0, "per_hour": None, "per_hour_at_most": None}
    assert apart.false_alarms()["engine"] == {**none, "sources_too_short": 2}
    assert "engine: -; 2 sources are too short for an alert" in apart.table()
    assert json.loads(json.dumps(apart.to_dict()))["false_alarms"]["engine"]["per_hour"] is None


def test_a_window_that_only_covers_the_end_raises_no_alarm():
    p = judged("a_1", "normal", [1, 1, 1, 1, 1])
    assert report(p).false_alarms()["engine"]["alerts"] == 1
    ended = dataclasses.replace(p, extra=np.arange(5) == 4)
    assert report(ended).false_alarms()["engine"]["alerts"] == 0
    assert report(ended).false_alarms()["engine"]["sources_too_short"] == 1
    assert report(ended).row([ended])["windows"] == 5


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
        (["--for-false-rate", "0.01"], "go together"),
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
    turned = evaluate(start, [tmp_path], labels=("normal", "knocking")).judged[0].p
    np.testing.assert_allclose(plain + turned, 1, atol=1e-6)
    arguments = ["evaluate", str(start), str(tmp_path), "--labels"]
    assert main([*arguments, "a,b"]) == 2
    assert "--labels a,b: two are needed" in capsys.readouterr().err


def test_calibration_weighs_both_classes_alike():
    """As the temperature is chosen: one knock in eighty windows does not make all answers wrong."""
    z = RNG.normal(0, 2, 2_000_000)
    p = (1 / (1 + np.exp(-z))).astype(np.float32)
    knocks = RNG.random(z.size) < p
    rare = ~knocks | (RNG.random(z.size) < 1 / 80)
    for b in calibration_bins(p[rare], knocks[rare]):
        assert b["true_share"] == pytest.approx(b["mean_p"], abs=0.05)  # five deviations


def test_time_that_could_not_be_judged_is_no_quiet_time():
    p = np.full(40, 0.1, dtype=np.float32)
    p[10:30] = np.nan  # half a second apart: 5 s, 10 s of silence, 5 s
    assert false_alarms([p], 0.5, 0.5)["hours"] == pytest.approx(2 * 5 / 3600, abs=5e-5)
    figures = false_alarms([p[10:30]], 0.5, 0.5)
    none = {"alerts": 0, "hours": 0.0, "per_hour": None, "per_hour_at_most": None}
    assert figures == {**none, "sources_too_short": 1}
    assert in_words(figures) == "-; 1 source is too short for an alert"
    p = np.full(401, np.nan, dtype=np.float32)
    p[::80] = 0.9  # six windows, 40 s apart: the detector has forgotten each when the next comes
    assert false_alarms([p], 0.5, 0.5) == {**none, "sources_too_short": 1}


def test_a_short_time_without_an_alert_promises_little():
    """Of 3.0 an hour none comes in 5 of 100 hours (exp -3), of 6.3 an hour two or fewer."""
    hour = np.zeros(7200, dtype=np.float32)
    assert false_alarms([hour], 0.5, 0.5)["per_hour_at_most"] == pytest.approx(-np.log(0.05), 2e-3)
    minute = false_alarms([hour[:120]], 0.5, 0.5)
    assert in_words(minute) == "0 in 1.0 min: 0.0 per hour, 95 % upper limit 179.7"
    hour[100:110] = hour[5000:5010] = 1
    twice = false_alarms([hour], 0.5, 0.5)
    most = twice["per_hour_at_most"]
    assert most is not None
    assert np.exp(-most) * (1 + most + most**2 / 2) == pytest.approx(0.05, abs=2e-4)


def test_an_hour_of_short_recordings_has_the_windows_of_an_hour():
    """A drive, and the same windows cut into recordings of three, give the same rate."""
    p = np.zeros(7200, dtype=np.float32)
    p[100:110] = p[5000:5010] = 1
    drive = report(judged("a_1", "normal", p, source="a"))
    cut = report(
        *(judged(f"a_{i}", "normal", p[i : i + 3], source="a") for i in range(0, p.size, 3))
    )
    assert drive.false_alarms()["engine"] == cut.false_alarms()["engine"]
    assert drive.false_alarms()["engine"]["per_hour"] == 2


def test_alarms_are_those_of_the_device():
    """A window knocks from the threshold on; one not judged is no normal one; times are seconds."""
    knocks = np.full(8, 0.5, dtype=np.float32)
    assert alerts_in(knocks, 0.5, 0.5) == 1
    p = np.full(9, np.nan, dtype=np.float32)
    p[[0, 1, 2, 3, 8]] = 1
    assert alerts_in(p, 0.5, 0.5) == 1
    # It lasts 5 s, then rests 2 s: with the next five knocks there is another, if it has ended.
    p = np.zeros(40, dtype=np.float32)
    p[:5] = p[12:17] = 1
    assert alerts_in(p, 0.5, 0.5) == 1
    assert alerts_in(p, 0.5, 1.0) == 2


def test_windows_too_far_apart_can_raise_no_alarm():
    p = np.full(100, 0.1, dtype=np.float32)
    assert false_alarms([p], 0.5, 10.0)["sources_too_short"] == 1
    assert false_alarms([p], 0.5, 9.0)["sources_too_short"] == 0
