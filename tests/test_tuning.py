"""The choice of threshold and temperature."""

import dataclasses

import numpy as np
import pytest

from convert.cli import main
from convert.errors import DatasetError
from convert.tuning import best_temperature, threshold_for, tune
from edge.frontend import FrontEndConfig
from edge.model import Manifest, ModelFile, write_model
from edge.temperature import apply_temperature
from tests.graded import judged, report
from tests.labelled import sound

RNG = np.random.default_rng(0)


def test_a_temperature_undoes_overconfidence():
    # Labels are drawn from the true odds z; a network that says 2.5 z is 2.5 times too sure.
    z = RNG.normal(0, 2, 20_000)
    knocks = RNG.random(z.size) < 1 / (1 + np.exp(-z))
    p = (1 / (1 + np.exp(-2.5 * z))).astype(np.float32)
    found = best_temperature(p[knocks], p[~knocks], "int8")
    # Answers beyond the floor of 1/512 are cut off, which makes them look a little less sure.
    assert found == pytest.approx(2.5, rel=0.15)
    true = (1 / (1 + np.exp(-z))).astype(np.float32)
    assert best_temperature(true[knocks], true[~knocks], "int8") == pytest.approx(1.0, rel=0.1)


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.1])
def test_the_threshold_keeps_the_false_rate(rate):
    others = RNG.random(1000).astype(np.float32) * 0.9
    threshold = threshold_for(others, rate)
    assert (others >= threshold).mean() <= rate
    assert (others >= threshold - 0.02).mean() >= rate  # and is no higher than it must be


@pytest.fixture
def model(tmp_path):
    manifest = Manifest(
        "net",
        ("knocking", "normal"),
        0.5,
        "int8",
        FrontEndConfig(),
        golden={"p_knocking": 0.9, "p_of_knocks": 0.5},
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
    scaled = 1 / (1 + np.exp(-z[~knocks] / made.temperature))
    assert (scaled >= made.threshold).mean() <= 0.06
    assert made.golden["p_knocking"] < 0.9  # the answer a device must give now
    with pytest.raises(DatasetError, match="knock"):
        tune(model, report(judged("b", "normal", p)), 0.05, tmp_path / "x.tflite")


def test_what_was_proved_at_another_threshold_is_not_claimed_of_this_one(model, tmp_path):
    figures = {"what": "ONNX", "max_dp": 0.01, "mean_dp": 0.001}
    file = ModelFile.read(model)
    proof = {"pictures": 401, "comparisons": [{**figures, "agreement": 1.0}]}
    write_model(model, file.network, dataclasses.replace(file.manifest, parity=proof))
    rows = judged("k", "knocking", [0.9] * 20), judged("n", "normal", RNG.uniform(0, 0.5, 200))
    made = tune(model, report(*rows), 0.05, tmp_path / "tuned.tflite")
    assert made.parity == {"pictures": 401, "comparisons": [figures]}
    assert ModelFile.read(tmp_path / "tuned.tflite").manifest == made


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


def test_what_no_threshold_can_be_chosen_by_is_not_judged_first(
    model, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("convert.evaluate._judge", lambda *_: pytest.fail("judged"))
    sound(tmp_path / "no knock" / "normal" / "1.wav", 1)
    for number, label in enumerate(("knocking", "not_engine")):
        sound(tmp_path / "no healthy engine" / label / "1.wav", number)
    for name in ("no knock", "no healthy engine"):
        arguments = ["--for-false-rate", "0.1", "--out", str(tmp_path / "tuned.tflite")]
        assert main(["evaluate", str(model), str(tmp_path / name), *arguments]) == 12
        missing = name.removeprefix("no ")
        said = capsys.readouterr().err
        assert f"no recording of a {missing}: choosing a threshold" in said
        assert ("leave out --for-false-rate" in said) == (missing == "knock")


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
    with pytest.raises(DatasetError, match=r"99 windows .* 0\.01 takes at least 100 to"):
        tune(model, few, 0.01, tmp_path / "tuned.tflite")


def test_a_threshold_lets_through_all_that_the_rate_allows():
    others = np.arange(100, dtype=np.float32) / 128
    assert (others >= threshold_for(others, 0.57)).sum() == 57  # int(0.57 * 100) is 56


@pytest.mark.parametrize("temperature", [0.5, 0.73, 1.0, 2.2, 8.0])
@pytest.mark.parametrize("allowed", [3, 8, 100])
def test_a_threshold_lies_between_two_answers_at_any_temperature(
    model, tmp_path, monkeypatch, temperature, allowed
):
    """Half a step of the network's own answers may be two of the scaled ones, or a quarter."""
    monkeypatch.setattr("convert.tuning.best_temperature", lambda *_: temperature)
    answers = np.arange(16, 221) / 256  # as int8 answers
    healthy = [float(apply_temperature(np.array([p, 1 - p], np.float32), 1.4)[0]) for p in answers]
    graded = report(judged("k", "knocking", [0.9] * 20), judged("n", "normal", healthy))
    graded = dataclasses.replace(graded, temperature=1.4)
    made = tune(model, graded, allowed / answers.size, tmp_path / "tuned.tflite")
    device = [
        float(apply_temperature(np.array([p, 1 - p], np.float32), temperature)[0]) for p in answers
    ]
    called = [p >= made.threshold for p in device]
    assert sum(called) == allowed


def test_the_precision_is_that_of_the_manifest(model, tmp_path):
    """Between 1 - 1/256 and 1 - 1/512 the two are reckoned with differently."""
    p = np.r_[np.full(90, 0.9965), np.full(10, 0.3)]
    graded = report(judged("a", "knocking", p), judged("b", "normal", 1 - p))
    file = ModelFile.read(model)
    whole = tune(model, graded, 0.2, tmp_path / "tuned.tflite")
    write_model(model, file.network, dataclasses.replace(file.manifest, precision="float32"))
    exact = tune(model, graded, 0.2, tmp_path / "tuned.tflite")
    knocks, others = (np.array(v, np.float32) for v in (p, 1 - p))
    assert exact.temperature == round(best_temperature(knocks, others, "float32"), 3)
    assert whole.temperature == round(best_temperature(knocks, others, "int8"), 3)
    assert exact.temperature != whole.temperature


def test_a_false_rate_that_cannot_be_kept_is_refused(model, tmp_path, monkeypatch):
    # Fitted to these, the temperature would have no answer beyond 0.98.
    monkeypatch.setattr("convert.tuning.best_temperature", lambda *_: 1.0)
    sure = report(judged("a", "knocking", [0.99] * 50), judged("b", "normal", [0.99] * 100))
    words = r"even at a threshold of .* a share of 1 of the healthy windows is called knocking"
    with pytest.raises(DatasetError, match=words):
        tune(model, sure, 0.01, tmp_path / "tuned.tflite")
    assert not (tmp_path / "tuned.tflite").exists()


def test_healthy_windows_as_sure_as_can_be_are_refused_at_any_temperature(model, tmp_path):
    """No answer reaches a threshold above theirs: that is no fault of the model."""
    rng = np.random.default_rng(0)
    knocks = [255 / 256] * 160 + [float(p) for p in rng.uniform(0.05, 0.9, 40)]
    healthy = [255 / 256] * 6 + [float(p) for p in rng.uniform(0.0, 0.4, 194)]
    sure = report(judged("a", "knocking", knocks), judged("b", "normal", healthy))
    words = r"a share of 0\.03 of the healthy .* ask for more than 0\.01,"
    with pytest.raises(DatasetError, match=words):
        tune(model, sure, 0.01, tmp_path / "tuned.tflite")
    assert not (tmp_path / "tuned.tflite").exists()


@pytest.mark.parametrize("name", ["NET.TFLITE", "net.bin"])
def test_a_model_is_known_by_what_is_in_it(model, tmp_path, name, capsys):
    """Taken for a checkpoint, it would be called a damaged one."""
    named = model.rename(tmp_path / name)
    sound(tmp_path / "r" / "normal" / "1.wav", 1)
    arguments = ["evaluate", str(named), str(tmp_path / "r")]
    assert main([*arguments, "--hold-out-only"]) == 2
    assert "--hold-out-only needs a .pth" in capsys.readouterr().err
    out = ["--out", str(tmp_path / "tuned.tflite")]
    assert main([*arguments, "--for-false-rate", "0.1", *out]) == 12
    assert "no recording of a knock" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["net.tflite", "net.TFLITE"])
def test_what_is_called_a_model_and_is_none_is_no_checkpoint_either(tmp_path, name, capsys):
    sound(tmp_path / "r" / "normal" / "1.wav", 1)
    (tmp_path / "r" / name).write_bytes(bytes(100))
    for said, model in (("is not a TFLite model", "r/" + name), ("cannot be read", "none.tflite")):
        assert main(["evaluate", str(tmp_path / model), str(tmp_path / "r")]) == 4
        assert said in capsys.readouterr().err


def test_a_temperature_does_not_depend_on_how_many_windows_each_class_has():
    z = RNG.normal(0, 2, 5000)
    knocks = RNG.random(z.size) < 1 / (1 + np.exp(-z))
    p = (1 / (1 + np.exp(-2 * z))).astype(np.float32)
    # A side that is less sure than the other: with another weight the best is another.
    one, other = p[knocks], np.sqrt(p[~knocks])
    even = best_temperature(one, other, "int8")
    for n_knocks, n_others in (20, 1), (1, 20):
        found = best_temperature(np.tile(one, n_knocks), np.tile(other, n_others), "int8")
        assert found == pytest.approx(even, rel=1e-3)


def test_a_network_that_is_not_sure_enough_is_made_surer():
    z = RNG.normal(0, 2, 20_000)
    knocks = RNG.random(z.size) < 1 / (1 + np.exp(-z))
    p = (1 / (1 + np.exp(-0.7 * z))).astype(np.float32)
    assert best_temperature(p[knocks], p[~knocks], "float32") == pytest.approx(0.7, rel=0.05)


def test_a_low_threshold_is_kept(model, tmp_path, monkeypatch):
    """Where healthy engines get low answers, a higher one would only miss knocks."""
    monkeypatch.setattr("convert.tuning.best_temperature", lambda *_: 1.0)
    healthy = np.linspace(0.004, 0.05, 100)
    graded = report(judged("k", "knocking", [0.1] * 20), judged("n", "normal", healthy))
    made = tune(model, graded, 0.01, tmp_path / "tuned.tflite")
    assert 0.04 < made.threshold < 0.06


def test_the_golden_answer_is_scaled_from_the_temperature_that_it_was_given_at(
    model, tmp_path, monkeypatch
):
    """Else the device finds that its runtime computes wrongly, and does not start."""
    monkeypatch.setattr("convert.tuning.best_temperature", lambda *_: 1.0)
    rows = judged("k", "knocking", [0.9] * 20), judged("n", "normal", RNG.uniform(0, 0.5, 200))
    graded = dataclasses.replace(report(*rows), temperature=2.0)
    made = tune(model, graded, 0.05, tmp_path / "tuned.tflite")
    # 0.9 at a temperature of 2 are odds of 9, which are 81 at 1.
    assert made.golden["p_knocking"] == pytest.approx(81 / 82, abs=1e-4)
    assert made.golden["p_of_knocks"] == 0.5


def test_a_threshold_is_never_below_0_02(model, tmp_path, monkeypatch):
    monkeypatch.setattr("convert.tuning.best_temperature", lambda *_: 1.0)
    graded = report(judged("k", "knocking", [0.9] * 20), judged("n", "normal", [0.004] * 100))
    assert tune(model, graded, 0.01, tmp_path / "tuned.tflite").threshold == 0.02


def test_a_network_that_is_six_times_too_sure_is_scaled_by_six():
    z = RNG.normal(0, 0.4, 20_000)  # so that 6 z is nowhere near where p is rounded to 1
    knocks = RNG.random(z.size) < 1 / (1 + np.exp(-z))
    p = (1 / (1 + np.exp(-6 * z))).astype(np.float32)
    # By chance off by 1 / sqrt(20 000 * 0.4^2 / 4), 3.5 %.
    assert best_temperature(p[knocks], p[~knocks], "float32") == pytest.approx(6, rel=0.15)
