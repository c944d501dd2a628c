"""Parity check: the exported network, as ONNX and as TFLite, against the original in torch.

The original runs as it was trained, with its batch normalisation; TFLite runs through
``edge.classifier`` in every installed runtime. Beyond the limits the export fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from convert.errors import ParityError
from convert.network import FoldedNet, KnockNet, layers, normalise, watching
from convert.onnx_export import onnx_probabilities
from convert.probe import LAYER_PICTURES, Answers, probe
from edge.classifier import installed_runtimes
from edge.packages import pip_install

MIN_PICTURES = 300  # fewer might not show one disagreement in 200
MIN_AGREEMENT = 0.995  # share of pictures with the same verdict
MAX_DIFFERENCE = {  # absolute, of any probability, by precision
    "onnx": 1e-4,
    "float32": 1e-4,
    "float16": 0.01,
    "int8": 0.05,
}
Probabilities = NDArray[np.float32]  # (N, 2)


@dataclass(frozen=True)
class Comparison:
    """One way of running the network, compared with torch."""

    name: str
    limit: float  # for ``largest``
    agreement: float  # share of pictures with the same verdict
    largest: float  # absolute difference of a probability
    mean: float  # over pictures, of the larger difference of the two probabilities

    @property
    def holds(self) -> bool:
        """Whether both limits are kept; NaN exceeds any limit."""
        return self.agreement >= MIN_AGREEMENT and self.largest <= self.limit


@dataclass(frozen=True)
class Parity:
    """All comparisons of one export, and the error of each layer."""

    n_pictures: int
    comparisons: list[Comparison]
    layers: list[tuple[str, float]]  # name, relative error; worst first

    def table(self) -> str:
        """The comparisons and the three worst layers as a text table."""
        lines = [f"{'on ' + str(self.n_pictures) + ' pictures':<32}agreement  max |dp|  mean |dp|"]
        for c in self.comparisons:
            mark = "" if c.holds else f"  fails: limits {MIN_AGREEMENT:.1%} and {c.limit:g}"
            lines.append(
                f"  {c.name:<30}{c.agreement:>9.2%}{c.largest:>10.5f}{c.mean:>11.6f}{mark}"
            )
        worst = ", ".join(f"{name} {error:.2%}" for name, error in self.layers[:3])
        return "\n".join([*lines, f"  worst layers (rms error / rms signal): {worst}"])

    def refuse(self) -> None:
        """Raise ParityError, naming the worst layer, if a comparison fails."""
        for c in self.comparisons:
            if not c.holds:
                name, error = self.layers[0]
                raise ParityError(
                    f"{c.name} differs from torch: agreement {c.agreement:.2%} (at least "
                    f"{MIN_AGREEMENT:.1%}), largest difference {c.largest:.4f} (at most "
                    f"{c.limit:g}); the worst layer is {name}, relative error {error:.1%}. "
                    "Nothing was written; try more calibration recordings or --precision float16"
                )

    def to_dict(self) -> dict[str, Any]:
        """The figures as they go into the manifest."""
        return {
            "pictures": self.n_pictures,
            "comparisons": [
                {
                    "what": c.name,
                    "agreement": round(c.agreement, 5),
                    "max_dp": round(c.largest, 6),
                    "mean_dp": round(c.mean, 7),
                }
                for c in self.comparisons
            ],
            "worst_layers": {name: round(error, 5) for name, error in self.layers[:3]},
        }


def torch_probabilities(network: KnockNet, pictures: NDArray[np.uint8]) -> Probabilities:
    """Answers (N, 2) of the network as trained for ``pictures`` (N, 224, 224, 3) uint8."""
    answers = []
    with torch.inference_mode():
        for i in range(0, len(pictures), 16):
            x = torch.from_numpy(pictures[i : i + 16]).permute(0, 3, 1, 2)
            answers.append(network(normalise(x)).softmax(1).numpy())
    return np.concatenate(answers)


def compare(
    name: str, limit: float, p_torch: Probabilities, other: Probabilities, *, threshold: float
) -> Comparison:
    """Compare ``other`` with ``p_torch``, both (N, 2) with knocking in the first column."""
    difference = np.abs(p_torch - other).max(axis=1)
    same = (p_torch[:, 0] >= threshold) == (other[:, 0] >= threshold)
    finite = np.isfinite(other).all()
    return Comparison(
        name,
        limit,
        float(same.mean()) if finite else 0.0,
        float(difference.max()) if finite else float("inf"),
        float(difference.mean()),
    )


def check_parity(
    network: KnockNet,
    folded: FoldedNet,
    *,
    onnx: Path,
    model: Path,
    precision: str,
    knocking: int,
    threshold: float,
    pictures: NDArray[np.uint8],
    folder: Path,
) -> tuple[Parity, Probabilities]:
    """Compare ONNX and TFLite with torch; also returns the probabilities of the first runtime.

    ``knocking`` is the index of that label among the outputs, ``threshold`` the probability from
    which a verdict is knocking, ``folder`` one for temporary files. The returned probabilities are
    in the network's order of labels. ParityError if no runtime is installed, or if an int8 network
    does not take uint8 pictures as they are.
    """
    runtimes = installed_runtimes()
    if not runtimes:
        raise ParityError(
            f"no TFLite runtime is installed to check with: {pip_install('ai-edge-litert')}"
        )
    order = [knocking, 1 - knocking]
    p_torch = torch_probabilities(network, pictures)[:, order]
    p_onnx = onnx_probabilities(onnx, pictures)[:, order]
    comparisons = [compare("ONNX", MAX_DIFFERENCE["onnx"], p_torch, p_onnx, threshold=threshold)]
    stored = folder / "pictures.npy"
    np.save(stored, pictures)
    said = probe(model, stored, runtimes, folder=folder)
    for answers in said:
        if precision == "int8":
            _check_input(answers)
        comparisons.append(
            compare(
                f"{precision} in {answers.runtime}",
                MAX_DIFFERENCE[precision],
                p_torch,
                answers.probabilities[:, order],
                threshold=threshold,
            )
        )
    worst = layer_errors(folded, said[0], pictures[:LAYER_PICTURES])
    return Parity(len(pictures), comparisons, worst), said[0].probabilities


def _check_input(answers: Answers) -> None:
    if np.float32(answers.input_scale) != np.float32(1 / 255) or answers.input_zero_point != 0:
        raise ParityError(
            f"input scale {answers.input_scale!r} and zero point {answers.input_zero_point} are "
            "not 1/255 and 0: the network would misread the device's uint8 pictures"
        )


def layer_errors(
    folded: FoldedNet, answers: Answers, pictures: NDArray[np.uint8]
) -> list[tuple[str, float]]:
    """Root mean square error of every layer relative to its signal, worst first; NaN if unmatched.

    Layers are matched by their order among those with the same kernel size, as no converter changes
    that order. Outputs are compared after rectification, which converters fuse into the layer.
    """
    wanted = _torch_layers(folded, pictures)
    unused: dict[int, list[NDArray[np.float32]]] = {}
    for kernel, output in zip(answers.kernels, answers.layers, strict=True):
        unused.setdefault(kernel, []).append(output)
    errors = []
    for name, kernel, ours in wanted:
        queue = unused.get(kernel, [])
        theirs = queue.pop(0) if queue else np.zeros(0, dtype=np.float32)
        if theirs.shape != ours.shape:
            errors.append((name, float("nan")))
            continue
        signal = np.sqrt(np.square(ours, dtype=np.float64).mean())
        noise = np.sqrt(np.square(ours - np.maximum(theirs, 0), dtype=np.float64).mean())
        errors.append((name, float(noise / max(signal, 1e-12))))
    return sorted(errors, key=lambda item: -np.nan_to_num(item[1], nan=np.inf))


def _torch_layers(
    folded: FoldedNet, pictures: NDArray[np.uint8]
) -> list[tuple[str, int, NDArray[np.float32]]]:
    """Name, kernel side (0: linear) and rectified output (channels last) of every layer."""
    found: list[tuple[str, int, NDArray[np.float32]]] = []

    def keep(name: str, module: nn.Module, output: torch.Tensor) -> None:
        kernel = module.kernel_size[0] if isinstance(module, nn.Conv2d) else 0
        value = output.clamp(min=0)
        if value.ndim == 4:
            value = value.permute(0, 2, 3, 1)
        found.append((name, int(kernel), value.numpy()))

    with torch.inference_mode(), watching(layers(folded), keep):
        folded(torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255)
    return found
