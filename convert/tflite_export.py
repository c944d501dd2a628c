"""ONNX -> TFLite; the only module that uses onnx2tf.

onnx2tf runs in a process of its own, with the given folder as its working directory: it imports
TensorFlow, whose gigabytes of memory are freed when it ends, and it writes to that directory.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convert.errors import ExportError
from convert.onnx_export import INPUT

MAX_SECONDS = 3600  # twenty times what it takes; by then something hangs
# onnx2tf tries to download its own sample pictures unless it finds a file of this name.
SAMPLE_NAME = "calibration_image_sample_data_20x128x128x3_float32.npy"
OUTPUTS = {
    "int8": "*_full_integer_quant.tflite",
    "float16": "*_float16.tflite",
    "float32": "*_float32.tflite",
}


def to_tflite(onnx: Path, precision: str, calibration: NDArray[np.uint8], folder: Path) -> bytes:
    """Convert the file ``onnx`` to TFLite of ``precision`` (a key of OUTPUTS), in ``folder``.

    int8 takes uint8 pictures (1, 224, 224, 3) with scale 1/255 and zero point 0, the others
    float32 in 0..1; all give float32 probabilities. ``calibration`` is (N, 224, 224, 3) uint8.
    ExportError if onnx2tf fails.
    """
    command = [sys.executable, "-m", "onnx2tf", "-i", str(onnx), "-o", "tflite", "-n"]
    np.save(folder / SAMPLE_NAME, np.zeros((20, 128, 128, 3), dtype=np.float32))
    if precision == "int8":
        x = calibration.astype(np.float32) / np.float32(255)
        # The input scale follows from the range of these values: exactly 1/255 needs a 0 and a 1.
        x[0, 0, 0], x[0, 0, 1] = 0, 1
        np.save(folder / "calibration.npy", x)
        command += ["-oiqt", "-iqd", "uint8", "-oqd", "float32"]
        command += ["-cind", INPUT, "calibration.npy", "[[[[0.,0.,0.]]]]", "[[[[1.,1.,1.]]]]"]
    log = _run(command, folder)
    made = sorted((folder / "tflite").glob(OUTPUTS[precision]))
    if len(made) != 1:
        raise ExportError(
            f"onnx2tf wrote no {precision} network; its last output: {_last_words(log)}"
        )
    return made[0].read_bytes()


def _run(command: list[str], folder: Path) -> str:
    """Run onnx2tf and return its output; PATH is for onnxsim, which it starts by name."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",  # the same bytes with and without a graphics card
    }
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=MAX_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ExportError(f"onnx2tf did not finish within {MAX_SECONDS} s") from error
    if done.returncode != 0:
        how = f"exit code {done.returncode}"
        if done.returncode < 0:  # most often 9, by the kernel when memory runs out
            how = f"killed by signal {-done.returncode}; about 5 GB of memory are needed"
        raise ExportError(f"onnx2tf failed ({how}); its last output: {_last_words(done.stdout)}")
    return done.stdout


def _last_words(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return " / ".join(lines[-3:]) or "nothing"
