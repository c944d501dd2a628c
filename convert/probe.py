"""Running one TFLite file in a process of its own.

A runtime may crash its process on a broken network; the export then reports that instead of
crashing itself. ``python -m convert.probe`` is the child, :func:`probe` its caller. The answers
come from :mod:`edge.classifier`, exactly as on the device.
"""

from __future__ import annotations

import importlib
import io
import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.errors import ExportError
from edge.child import child_environment, die_with_parent
from edge.classifier import RUNTIMES, Classifier
from edge.files import write_atomically
from edge.model import ModelFile

MAX_SECONDS = 1800
LAYER_PICTURES = 4  # enough to see which layer goes wrong
LAYER_OPS = {"CONV_2D", "FULLY_CONNECTED"}


@dataclass(frozen=True)
class Answers:
    """The results of one runtime."""

    runtime: str  # name and version
    probabilities: NDArray[np.float32]  # (N, 2)
    input_scale: float  # 0 for a float network
    input_zero_point: int
    layers: list[NDArray[np.float32]]  # outputs (LAYER_PICTURES, ...) in the network's order
    kernels: list[int]  # side of each layer's kernel; 0 for a fully connected layer


def probe(model: Path, pictures: Path, runtimes: Sequence[str], *, folder: Path) -> list[Answers]:
    """Run ``model`` in all ``runtimes`` at once on ``pictures``, a file (N, 224, 224, 3) uint8.

    Of the first runtime the output of every layer is recorded, too. ``folder`` is where the
    processes may write; none outlives this call. ExportError if one fails, crashes or takes too
    long.
    """
    with ExitStack() as stack:
        children: list[subprocess.Popen[str]] = []
        for runtime in runtimes:
            child = _start(model, pictures, runtime, folder, layers=not children)
            children.append(stack.enter_context(child))
            stack.callback(child.kill)
        return [_finish(*one, folder) for one in zip(children, runtimes, strict=True)]


def _answers_file(folder: Path, runtime: str) -> Path:
    return folder / f"answers-{runtime}.npz"


def _start(
    model: Path, pictures: Path, runtime: str, folder: Path, *, layers: bool
) -> subprocess.Popen[str]:
    out = _answers_file(folder, runtime)
    command = [sys.executable, "-m", "convert.probe", str(model), str(pictures), runtime, str(out)]
    return subprocess.Popen(
        [*command, *(["--layers"] if layers else [])],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=child_environment(),
    )


def _finish(child: subprocess.Popen[str], runtime: str, folder: Path) -> Answers:
    try:
        _, said = child.communicate(timeout=MAX_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise ExportError(f"{runtime} gave no answer within {MAX_SECONDS} s") from error
    if child.returncode != 0:
        words = " / ".join(said.strip().splitlines()[-2:]) or f"exit {child.returncode}"
        raise ExportError(f"the network cannot be used in {runtime}: {words}")
    with np.load(_answers_file(folder, runtime)) as stored:
        details = json.loads(str(stored["details"]))
        return Answers(
            details["runtime"],
            stored["probabilities"],
            details["input_scale"],
            details["input_zero_point"],
            [stored[f"layer{i}"] for i in range(len(details["kernels"]))],
            details["kernels"],
        )


def main() -> int:
    """The child: ``MODEL PICTURES.npy RUNTIME OUT.npz [--layers]``."""
    die_with_parent()
    model_path, pictures_path, runtime, out = sys.argv[1:5]
    model = ModelFile.read(Path(model_path))
    pictures = np.load(pictures_path)
    classifier = Classifier(model, runtime=runtime)
    interpreter = _interpreter(model, runtime)
    _check_scales(interpreter)
    scale, zero_point = interpreter.get_input_details()[0]["quantization"]
    outputs, kernels = ([], []) if "--layers" not in sys.argv else _layers(interpreter, pictures)
    details = {
        "runtime": classifier.runtime,
        "input_scale": float(scale),
        "input_zero_point": int(zero_point),
        "kernels": kernels,
    }
    buffer = io.BytesIO()
    np.savez(
        buffer,
        details=json.dumps(details),
        probabilities=np.stack([classifier.probabilities(picture) for picture in pictures]),
        **{f"layer{i}": output for i, output in enumerate(outputs)},
    )
    write_atomically(Path(out), buffer.getvalue())
    return 0


def _interpreter(model: ModelFile, runtime: str) -> Any:
    """The runtime itself, set to keep all intermediate tensors, which the device does not need."""
    module = importlib.import_module(RUNTIMES[runtime])
    interpreter = module.Interpreter(
        model_content=model.network, experimental_preserve_all_tensors=True
    )
    interpreter.allocate_tensors()
    return interpreter


def _check_scales(interpreter: Any) -> None:
    """ExportError if a quantisation scale is one that no trained network has.

    A padding of -3.4e38 before max pooling, once quantised, gives its layer a scale of 1e36: every
    answer is then the same, and one runtime aborts.
    """
    for tensor in interpreter.get_tensor_details():
        scales = tensor["quantization_parameters"]["scales"]
        if scales.size and not (np.isfinite(scales).all() and 0 < scales.max() < 1e6):
            raise ExportError(
                f"tensor {tensor['name']} has an impossible quantisation scale of {scales.max():g}"
            )


def _layers(
    interpreter: Any, pictures: NDArray[np.uint8]
) -> tuple[list[NDArray[np.float32]], list[int]]:
    details = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    # There is no public way to list a network's operations.
    ops = [op for op in interpreter._get_ops_details() if op["op_name"] in LAYER_OPS]
    kernels = [
        int(details[op["inputs"][1]]["shape"][1]) if op["op_name"] == "CONV_2D" else 0 for op in ops
    ]
    entry = interpreter.get_input_details()[0]
    outputs: list[list[NDArray[np.float32]]] = [[] for _ in ops]
    for picture in pictures[:LAYER_PICTURES]:
        x = picture if entry["dtype"] == np.uint8 else picture.astype(np.float32) / 255
        interpreter.set_tensor(entry["index"], x[np.newaxis].astype(entry["dtype"]))
        interpreter.invoke()
        for kept, op in zip(outputs, ops, strict=True):
            kept.append(_value(interpreter, details[op["outputs"][0]]))
    return [np.concatenate(kept) for kept in outputs], kernels


def _value(interpreter: Any, tensor: Any) -> NDArray[np.float32]:
    raw = interpreter.get_tensor(tensor["index"])
    scale, zero_point = tensor["quantization"]
    if scale:
        return np.asarray((raw.astype(np.float32) - zero_point) * scale, dtype=np.float32)
    return np.asarray(raw, dtype=np.float32)


if __name__ == "__main__":
    sys.exit(main())
