"""The conversion alone; the whole export, with its comparison, is in ``test_export``."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from convert import tflite_export
from convert.bias import corrected
from convert.calibration import made_pictures
from convert.checkpoint import load_checkpoint
from convert.equalise import equalise, residual_ranges
from convert.errors import ExportError
from convert.network import fold
from convert.onnx_export import to_onnx
from convert.parity import MAX_DIFFERENCE, torch_probabilities
from convert.probe import probe
from convert.tflite_export import to_tflite
from edge.classifier import RUNTIMES
from edge.frontend import FrontEnd, FrontEndConfig
from edge.model import Manifest, write_model

ROOT = Path(__file__).resolve().parents[1]

PICTURES = np.zeros((1, 224, 224, 3), np.uint8)


def test_an_int8_network_says_the_same_in_both_runtimes(tmp_path):
    network = load_checkpoint(ROOT / "models" / "knock.pth").network
    made = np.stack(list(made_pictures(60, FrontEnd(), seed=5)))
    calibration, others = made[:40], made[40:]
    folded = fold(network)
    equalise(folded, calibration)
    rounded = corrected(folded, calibration)
    ranges = residual_ranges(rounded, calibration)
    to_onnx(rounded, tmp_path / "a.onnx")
    tflite = to_tflite(tmp_path / "a.onnx", "int8", calibration, tmp_path, ranges)
    manifest = Manifest("net", ("knocking", "normal"), 0.5, "int8", FrontEndConfig())
    write_model(tmp_path / "a.tflite", tflite, manifest)
    np.save(tmp_path / "others.npy", others)
    answers = probe(tmp_path / "a.tflite", tmp_path / "others.npy", list(RUNTIMES), folder=tmp_path)
    original = torch_probabilities(network, others)
    assert original[:, 0].std() > 0.1  # or agreement would mean nothing
    for one in answers:
        assert (np.float32(one.input_scale), one.input_zero_point) == (np.float32(1 / 255), 0)
        assert np.abs(one.probabilities - original).max() <= MAX_DIFFERENCE["int8"]
    # TensorFlow by itself gives what is added to a shortcut the range of the sum.
    module = importlib.import_module(RUNTIMES["ai-edge-litert"])
    interpreter = module.Interpreter(model_content=tflite)
    stored = [tensor["quantization"] for tensor in interpreter.get_tensor_details()]
    steps = {(np.float32(scale), zero_point) for scale, zero_point in stored}
    assert len(ranges) == 16
    for low, high in ranges.tolist():
        scale = np.float32((high - low) / 255)
        assert (scale, round(-128 - low / ((high - low) / 255))) in steps


def test_a_network_that_cannot_be_converted_is_named_with_the_reason(tmp_path):
    onnx = tmp_path / "a.onnx"
    onnx.write_bytes(b"no network")
    with pytest.raises(
        ExportError, match=r"conversion failed \(exit code 1\); its last output: .+"
    ):
        to_tflite(onnx, "float16", PICTURES, tmp_path)


def test_a_conversion_that_hangs_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(tflite_export, "MAX_SECONDS", 0.05)  # shorter than Python takes to start
    with pytest.raises(ExportError, match=r"did not finish within 0\.05 s"):
        to_tflite(tmp_path / "a.onnx", "float16", PICTURES, tmp_path)


def test_a_conversion_that_the_kernel_kills_says_how_much_memory_it_needs(tmp_path):
    suicide = ["sh", "-c", "kill -9 $$"]
    with pytest.raises(ExportError, match=r"killed by signal 9; about 3 GB of memory are needed"):
        tflite_export._run(suicide, tmp_path)
