"""The whole way from checkpoint to verdict, with the real converters; a minute or three each."""

import dataclasses
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from convert.calibration import made_pictures
from convert.export import GOLDEN_SEED, _warn_if_reversed, _without_temperature, golden_pictures
from convert.parity import MAX_DIFFERENCE, MIN_AGREEMENT, MIN_PICTURES, torch_probabilities
from edge.classifier import RUNTIMES, Classifier
from edge.frontend import FrontEnd, FrontEndConfig
from edge.golden import golden_knocks, golden_sound
from edge.model import Manifest, ModelFile
from tests.networks import checkpoint, random_network
from tests.program import run

ROOT = Path(__file__).resolve().parents[1]


convert = partial(run, "convert")


@pytest.fixture(scope="module")
def recordings_made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    convert("synth", folder, "--count", 60, "--seconds", 5)
    return folder


@pytest.fixture(scope="module")
def pictures():
    return np.stack(list(made_pictures(40, FrontEnd(), seed=99)))


@pytest.fixture(scope="module")
def trained():
    from convert.checkpoint import load_checkpoint

    return load_checkpoint(ROOT / "models" / "knock.pth").network


@pytest.mark.parametrize("precision", ["float16", pytest.param("int8", marks=pytest.mark.slow)])
def test_an_export_says_the_same_in_both_runtimes(
    tmp_path, recordings_made, pictures, trained, precision
):
    """With trained weights: those of a random network cancel, and what is left is rounding."""
    path = checkpoint(tmp_path / "a.pth", trained, "optimiser")
    out = tmp_path / "a.tflite"
    # One verdict in 200 may differ: fewer answers are near 0.5 than near the network's own 0.8.
    options = ["--precision", precision, "--threshold", 0.5]
    done = convert("export", path, "--calibration", recordings_made, "--out", out, *options)
    assert "[6/6]" in done.stderr
    model = ModelFile.read(out)
    assert out.stat().st_size < {"int8": 23e6, "float16": 45e6}[precision]
    assert model.manifest.parity["pictures"] >= MIN_PICTURES
    said = {c["what"]: c for c in model.manifest.parity["comparisons"]}
    assert len(said) == 3  # ONNX and both runtimes
    for what, figures in said.items():
        assert figures["max_dp"] <= MAX_DIFFERENCE["onnx" if what == "ONNX" else precision]
        assert figures["agreement"] >= MIN_AGREEMENT
    original = torch_probabilities(trained, pictures)[:, 0]
    assert original.std() > 0.1  # or agreement would mean nothing
    for runtime in RUNTIMES:
        classifier = Classifier(model, runtime=runtime)
        again = np.array([classifier.predict(picture) for picture in pictures])
        assert np.abs(again - original).max() <= MAX_DIFFERENCE[precision]
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_the_golden_sound_is_seen_through_the_models_own_front_end():
    """As the device will see it."""
    other = FrontEnd(dataclasses.replace(FrontEndConfig(), top_db=60.0))
    n = other.config.n_samples
    sounds = golden_sound(GOLDEN_SEED, n), golden_knocks(GOLDEN_SEED, n, other.config.sr)
    for y, picture, usual in zip(
        sounds, golden_pictures(other), golden_pictures(FrontEnd()), strict=True
    ):
        np.testing.assert_array_equal(picture, other.picture(y))
        assert (picture != usual).any()


@pytest.mark.parametrize(("threshold", "temperature"), [(0.998, 0.5), (0.3, 2.0)])
def test_the_network_is_compared_whatever_its_threshold(threshold, temperature):
    """An int8 network's own answers end at 0.996: a threshold beyond is for scaled ones."""
    manifest = Manifest(
        "net", ("knocking", "normal"), threshold, "int8", FrontEndConfig(), temperature
    )
    assert _without_temperature(manifest).temperature == 1


BAD = {
    "missing keys": (11, "missing"),
    "three classes": (11, "3 classes"),
    "NaN": (11, "not finite"),
    "bomb": (11, "could run code"),
    "no checkpoint": (11, "does not exist"),
    "no recordings": (12, "no recordings"),
    "labels": (2, "labels"),
    "threshold": (2, "threshold"),
    "no folder": (2, "no folder"),
}


class Bomb:
    def __reduce__(self):
        return print, ("boom",)


def bad_checkpoint(case, path):
    network = random_network()
    state = network.state_dict()
    if case == "missing keys":
        del state["1.8.weight"]
    elif case == "three classes":
        state["1.8.weight"], state["1.8.bias"] = torch.zeros(3, 512), torch.zeros(3)
    elif case == "NaN":
        state["0.0.weight"][0] = float("nan")
    content = {"model": state, "opt": Bomb()} if case == "bomb" else state
    torch.save(content, path)
    return path


@pytest.mark.parametrize("case", BAD)
def test_bad_input_leaves_nothing_behind(case, tmp_path, recordings_made):
    code, words = BAD[case]
    (tmp_path / "out").mkdir()
    path = tmp_path / "none.pth"
    if case != "no checkpoint":
        path = bad_checkpoint(case, tmp_path / "a.pth")
    empty = tmp_path / "empty"
    empty.mkdir()
    calibration = empty if case == "no recordings" else recordings_made
    out = tmp_path / ("nowhere" if case == "no folder" else "out") / "m.tflite"
    extra = {"labels": ["--labels", "a,b"], "threshold": ["--threshold", "2"]}.get(case, [])
    done = convert("export", path, "--calibration", calibration, "--out", out, *extra, code=code)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("convert: ")
    assert words in last
    assert list((tmp_path / "out").iterdir()) == []


def without_bias(network):
    """The same network with fastai v2's head: linear layers lose their biases."""
    from convert.network import KnockNet

    bare = KnockNet(head="v2")
    state = network.state_dict()
    bare.load_state_dict({name: state[name] for name in bare.state_dict()})
    return bare.eval()


@pytest.mark.parametrize("labels", [("knocking", "normal"), ("normal", "knocking")])
@pytest.mark.parametrize("wrong", [False, True])
def test_outputs_the_wrong_way_round_are_suspected(capsys, labels, wrong):
    """Parity does not see it: the original is wrong in the same way."""
    real, golden = [[0.9, 0.1]] * 7, [[0.5, 0.5]] * 2
    made = [[0.2, 0.8], [0.7, 0.3]] * 3  # the first of each pair is healthy
    p = np.array([*real, *made, *golden], dtype=np.float32)  # knocking, normal
    if (labels[0] == "normal") != wrong:
        p = p[:, ::-1]
    _warn_if_reversed(p, labels, 6)
    other = ",".join(reversed(labels))
    assert (f"(AUC 0.00): are its outputs {other}?" in capsys.readouterr().err) == wrong


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["int8", "float16", "float32"])
@pytest.mark.parametrize("layout", ["v1 bare", "v1 optimiser", "v2 bare"])
def test_every_layout_in_every_precision(tmp_path, recordings_dir, layout, precision, trained):
    """On real recordings, with a trained network; ``make test-export``."""
    style, form = layout.split()
    network = trained if style == "v1" else without_bias(trained)
    path = checkpoint(tmp_path / "a.pth", network, form)
    out = tmp_path / "a.tflite"
    done = convert(
        "export", path, "--calibration", recordings_dir, "--out", out, "--precision", precision
    )
    print(done.stderr)
    model = ModelFile.read(out)
    assert len(model.manifest.parity["comparisons"]) == 1 + len(RUNTIMES)
    for figures in model.manifest.parity["comparisons"]:
        limit = MAX_DIFFERENCE["onnx" if figures["what"] == "ONNX" else precision]
        assert figures["agreement"] >= MIN_AGREEMENT
        assert figures["max_dp"] <= limit
