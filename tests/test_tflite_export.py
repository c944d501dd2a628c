"""What becomes of a conversion that fails; one that works is in ``test_export``."""

import numpy as np
import pytest

from convert import tflite_export
from convert.errors import ExportError
from convert.tflite_export import to_tflite

PICTURES = np.zeros((1, 224, 224, 3), np.uint8)


def test_a_network_that_cannot_be_converted_is_named_with_the_reason(tmp_path):
    onnx = tmp_path / "a.onnx"
    onnx.write_bytes(b"no network")
    with pytest.raises(ExportError, match=r"onnx2tf failed \(exit code 1\); its last output: .+"):
        to_tflite(onnx, "float16", PICTURES, tmp_path)


def test_a_conversion_that_hangs_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(tflite_export, "MAX_SECONDS", 0.05)  # shorter than Python takes to start
    with pytest.raises(ExportError, match=r"did not finish within 0\.05 s"):
        to_tflite(tmp_path / "a.onnx", "float16", PICTURES, tmp_path)


def test_a_conversion_that_the_kernel_kills_says_how_much_memory_it_needs(tmp_path):
    suicide = ["sh", "-c", "kill -9 $$"]
    with pytest.raises(ExportError, match=r"killed by signal 9; about 3 GB of memory are needed"):
        tflite_export._run(suicide, tmp_path)
