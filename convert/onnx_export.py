"""torch -> ONNX; the only module that uses that converter."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convert.errors import ExportError
from convert.network import FoldedNet

INPUT, OUTPUT = "image", "probabilities"
OPSET = 18


def to_onnx(network: FoldedNet, path: Path) -> None:
    """Write ``network`` as ONNX to ``path`` and validate the file with ONNX's checker.

    Input ``image`` (1, 3, 224, 224) float32 in 0..1, output ``probabilities`` (1, 2) float32.
    ExportError if either fails.
    """
    import onnx  # noqa: PLC0415 - a second of imports that other commands need not pay
    import torch  # noqa: PLC0415 - as above

    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it warns that torchvision, which is not used, is missing
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # deprecation warnings of torch about itself
            torch.onnx.export(
                network,
                (torch.rand(1, 3, 224, 224),),
                str(path),
                dynamo=True,
                opset_version=OPSET,
                external_data=False,
                input_names=[INPUT],
                output_names=[OUTPUT],
                verbose=False,
            )
        onnx.checker.check_model(str(path), full_check=True)
    except Exception as error:
        raise ExportError(f"torch could not write ONNX: {_first_line(error)}") from error
    finally:
        logger.setLevel(level)


def onnx_probabilities(path: Path, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Answers (N, 2) float32 of the ONNX file for ``pictures`` (N, 224, 224, 3) uint8."""
    import onnxruntime  # noqa: PLC0415 - as above

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    answers = [
        session.run(None, {INPUT: (p.transpose(2, 0, 1)[None] / np.float32(255))})[0]
        for p in pictures
    ]
    return np.concatenate(answers).astype(np.float32)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
