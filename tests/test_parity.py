import signal
import subprocess
from collections import Counter
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from convert.errors import ExportError, ParityError
from convert.network import fold
from convert.parity import (
    MIN_AGREEMENT,
    Comparison,
    Parity,
    compare,
    layer_errors,
    torch_probabilities,
)
from convert.probe import Answers, _check_scales, _value, probe
from edge.classifier import RUNTIMES
from edge.model import default_model
from tests.networks import random_network


def rows(*p):
    return np.array([[v, 1 - v] for v in p], dtype=np.float32)


def test_compare_counts_verdicts_and_differences():
    found = compare("x", 0.05, rows(0.9, 0.45, 0.1), rows(0.92, 0.49, 0.1), threshold=0.47)
    assert found.agreement == pytest.approx(2 / 3)
    assert found.largest == pytest.approx(0.04, abs=1e-6)
    assert found.mean == pytest.approx(0.02, abs=1e-6)
    assert not found.holds


@pytest.mark.parametrize(
    ("agreement", "largest", "holds"),
    [(1, 0.05, True), (MIN_AGREEMENT, 0, True), (0.994, 0, False), (1, 0.0501, False)],
)
def test_both_limits_must_hold(agreement, largest, holds):
    assert Comparison("x", 0.05, agreement, largest, 0).holds == holds


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_answers_that_are_no_numbers_agree_with_nothing(bad):
    other = rows(0.9, 0.1)
    other[0, 0] = bad
    assert not compare("x", 0.05, rows(0.9, 0.1), other, threshold=0.5).holds


def test_refusal_names_the_worst_layer():
    good, bad = Comparison("ONNX", 1e-4, 1, 0, 0), Comparison("int8", 0.05, 0.9, 0.4, 0.1)
    layers = [("body.4.0.conv1", 0.7), ("body.0", 0.01)]
    Parity(300, [good], layers).refuse()
    with pytest.raises(ParityError, match=r"int8 differs.*90\.00%.*body\.4\.0\.conv1.*70\.0%"):
        Parity(300, [good, bad], layers).refuse()
    assert "fails: limits 99.5% and 0.05" in Parity(300, [good, bad], layers).table()


@pytest.fixture(scope="module")
def folded():
    return fold(random_network())


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)


def answers_of(folded, pictures):
    """What a perfect converter would report, from torch's own layers."""
    layers, kernels = [], []

    def keep(module, _, output):
        conv = isinstance(module, torch.nn.Conv2d)
        layers.append((output.permute(0, 2, 3, 1) if conv else output).numpy())
        kernels.append(module.kernel_size[0] if conv else 0)

    kinds = (torch.nn.Conv2d, torch.nn.Linear)
    handles = [m.register_forward_hook(keep) for m in folded.modules() if isinstance(m, kinds)]
    with torch.inference_mode():
        p = folded(torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255)
    for handle in handles:
        handle.remove()
    return Answers("ideal", p.numpy(), 0.0, 0, layers, kernels)


def test_layers_of_the_same_network_are_the_same(folded, pictures):
    errors = layer_errors(folded, answers_of(folded, pictures), pictures)
    assert len(errors) == 38  # 33 + 3 convolutions, 2 linear layers
    assert max(error for _, error in errors) < 1e-6


def test_the_layer_that_is_wrong_comes_first(folded, pictures):
    answers = answers_of(folded, pictures)
    names = [n for n, m in folded.named_modules() if isinstance(m, torch.nn.Conv2d)]
    answers.layers[5] *= 1.5
    name, error = layer_errors(folded, answers, pictures)[0]
    assert name == names[5]
    assert error == pytest.approx(0.5, rel=1e-3)


def test_nobody_elses_modules_are_run_where_it_is_exported(tmp_path, monkeypatch, pictures):
    (tmp_path / "convert.py").write_text("raise SystemExit('hijacked')")
    (tmp_path / "calendar.py").write_text("raise SystemExit('hijacked')")
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "pictures.npy", pictures[:1])
    said = probe(default_model(), tmp_path / "pictures.npy", list(RUNTIMES), folder=tmp_path)
    assert [one.probabilities.shape for one in said] == [(1, 2)] * len(RUNTIMES)
    assert [bool(one.layers) for one in said] == [True, *[False] * (len(RUNTIMES) - 1)]
    # 33 + 3 convolutions: one of 7 x 7, three of 1 x 1; two linear layers.
    assert Counter(said[0].kernels) == {7: 1, 3: 32, 1: 3, 0: 2}


def test_no_runtime_outlives_an_export_that_is_ended(tmp_path, monkeypatch):
    children = []

    def hang(*_, **__):
        children.append(subprocess.Popen(["sleep", "60"], stderr=subprocess.PIPE, text=True))
        return children[-1]

    def end(*_):
        raise SystemExit(143)  # as on SIGTERM

    monkeypatch.setattr("convert.probe._start", hang)
    monkeypatch.setattr("convert.probe._finish", end)
    with pytest.raises(SystemExit):
        probe(tmp_path, tmp_path, list(RUNTIMES), folder=tmp_path)
    assert [child.returncode for child in children] == [-signal.SIGKILL] * len(RUNTIMES)


def test_torch_is_asked_as_it_was_trained(pictures):
    network = random_network()
    batch = torch_probabilities(network, pictures)
    one_by_one = np.concatenate([torch_probabilities(network, p[None]) for p in pictures])
    np.testing.assert_allclose(batch, one_by_one, atol=1e-5)  # sums in another order
    np.testing.assert_allclose(batch.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("scales", "refused"),
    [([], False), ([0.02, 0.5], False), ([0.02, 1e36], True), ([np.nan], True), ([0.0], True)],
)
def test_a_scale_that_no_trained_network_has_is_refused(scales, refused):
    tensor = {"name": "pool", "quantization_parameters": {"scales": np.array(scales)}}
    interpreter = Mock(get_tensor_details=lambda: [tensor])
    if not refused:
        _check_scales(interpreter)
        return
    with pytest.raises(ExportError, match="tensor pool has an impossible quantisation scale"):
        _check_scales(interpreter)


def test_values_of_int8_are_so_many_steps_above_their_zero_point():
    interpreter = Mock(get_tensor=lambda _: np.array([-128, -10, 127], np.int8))
    tensor = {"index": 0, "quantization": (0.5, -10)}
    assert _value(interpreter, tensor).tolist() == [-59, 0, 68.5]
