"""ONNX -> TFLite, in a process of its own.

That process, :mod:`convert.tflite_worker`, imports TensorFlow, whose gigabytes of memory are freed
when it ends; onnx2tf writes to its working directory, which is the given folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convert.errors import ExportError
from edge.child import child_environment

MAX_SECONDS = 1800  # some thirty times what it takes; by then something hangs
# onnx2tf tries to download its own sample pictures unless it finds a file of this name.
SAMPLE_NAME = "calibration_image_sample_data_20x128x128x3_float32.npy"
RANGES = "ranges.npy"


def to_tflite(
    onnx: Path,
    precision: str,
    calibration: NDArray[np.uint8],
    folder: Path,
    ranges: NDArray[np.float32] | None = None,
) -> bytes:
    """Convert the file ``onnx`` to TFLite of ``precision``: int8, float16 or float32.

    int8 takes uint8 pictures (1, 224, 224, 3) with scale 1/255 and zero point 0, the others
    float32 in 0..1; all give float32 probabilities. ``calibration`` is (N, 224, 224, 3) uint8, of
    which int8 needs one at least; its ``ranges`` (blocks, 2) are those of
    :func:`convert.equalise.residual_ranges`. Leaves its files in ``folder``. ExportError if the
    conversion fails.
    """
    out = folder / "network.tflite"
    np.save(folder / SAMPLE_NAME, np.zeros((20, 128, 128, 3), dtype=np.float32))
    np.save(folder / "calibration.npy", calibration)
    if ranges is not None:
        np.save(folder / RANGES, ranges)
    worker = [sys.executable, "-m", "convert.tflite_worker"]
    files = ["calibration.npy", str(out), *([RANGES] if ranges is not None else [])]
    _run([*worker, str(onnx), precision, *files], folder)
    return out.read_bytes()


def _run(command: list[str], folder: Path) -> None:
    """Run the worker; PATH is for onnxsim, which onnx2tf starts by name."""
    environment = {
        **child_environment(),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "TMPDIR": str(folder),  # TensorFlow leaves files there if it is killed
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
        raise ExportError(f"the conversion did not finish within {MAX_SECONDS} s") from error
    if done.returncode != 0:
        how = f"exit code {done.returncode}"
        if done.returncode < 0:  # most often 9, by the kernel when memory runs out
            how = f"killed by signal {-done.returncode}; about 3 GB of memory are needed"
        raise ExportError(
            f"the conversion failed ({how}); its last output: {_last_words(done.stdout)}"
        )


def _last_words(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return " / ".join(lines[-3:]) or "nothing"
