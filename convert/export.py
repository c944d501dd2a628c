"""``convert export``: a checkpoint in, one proved and self-describing TFLite file out."""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convert.dataset import LABELS, say_unreadable
from convert.errors import ExportError
from convert.output import check_output, parse_labels
from convert.progress import Stage
from edge.classifier import tempered
from edge.errors import ConfigError
from edge.frontend import FrontEnd, FrontEndConfig
from edge.model import PRECISIONS, TEMPERATURES, Manifest, golden_sound, write_model

if TYPE_CHECKING:
    from convert.checkpoint import Checkpoint
    from convert.parity import Parity

GOLDEN_SEED = 20_260_101
TOOLS = ("torch", "onnx", "onnxruntime", "onnx2tf", "tensorflow", "numpy", "scipy")

EXAMPLES = """\
examples:
  convert export stage-2.pth --calibration recordings --out knock.tflite
  convert export mine.pth --calibration recordings --out mine.tflite --precision float16
  convert export old.pth --calibration recordings --out old.tflite --labels normal,knocking

The labels are those of the checkpoint, or knocking,normal in the original's order. On at least 300
pictures that were not used for calibration the result is compared with torch, in every TFLite
runtime installed here; if it does not say the same, nothing is written. About three minutes and
5 GB of memory; no network access."""


@dataclass(frozen=True)
class ExportConfig:
    """What may be chosen; None: what the checkpoint says, or the default."""

    precision: str = "int8"
    labels: tuple[str, ...] | None = None
    threshold: float | None = None
    temperature: float | None = None
    name: str | None = None
    seed: int = 1


def add_export_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``export`` to the command line."""
    parser = commands.add_parser(
        "export",
        help="checkpoint to TFLite",
        description="Turn a fastai ResNet34 checkpoint into one TFLite file for edge.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", type=Path, help=".pth of fastai v1 or v2, or .safetensors")
    parser.add_argument(
        "--calibration", type=Path, required=True, metavar="DIR", help="folder of recordings"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="M.tflite")
    parser.add_argument("--precision", choices=PRECISIONS, default="int8", help="default: int8")
    parser.add_argument(
        "--labels", metavar="A,B", help="order of the outputs, where the checkpoint says none"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="P",
        help="called knocking from P on (the checkpoint's own, or 0.5)",
    )
    parser.add_argument("--temperature", type=float, metavar="T", help="divides the log-odds")
    parser.add_argument("--name", help="name in the manifest (default: the output file's)")
    parser.add_argument("--seed", type=int, default=1, help="draws the pictures (1)")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    labels = None if arguments.labels is None else parse_labels(arguments.labels)
    config = ExportConfig(
        arguments.precision,
        labels,
        arguments.threshold,
        arguments.temperature,
        arguments.name,
        arguments.seed,
    )
    export(arguments.checkpoint, arguments.calibration, arguments.out, config)
    return 0


def export(checkpoint: Path, calibration: Path, out: Path, config: ExportConfig) -> Manifest:
    """Export ``checkpoint`` to ``out``, calibrated and proved on recordings in ``calibration``.

    Works in a temporary folder; ``out`` appears, or is replaced, only when everything holds.
    CheckpointError, DatasetError, ExportError or ParityError otherwise.
    """
    # These import torch and onnx, seconds that --help and a misspelt option need not pay.
    from convert.bias import corrected  # noqa: PLC0415
    from convert.calibration import export_pictures  # noqa: PLC0415
    from convert.checkpoint import load_checkpoint  # noqa: PLC0415
    from convert.equalise import equalise  # noqa: PLC0415
    from convert.network import fold  # noqa: PLC0415
    from convert.onnx_export import to_onnx  # noqa: PLC0415
    from convert.parity import check_parity  # noqa: PLC0415
    from convert.tflite_export import to_tflite  # noqa: PLC0415

    check_output("--out", out, ".tflite")
    _check(config)
    with Stage("[1/6] checkpoint") as stage:
        loaded = load_checkpoint(
            checkpoint,
            labels=config.labels,
            threshold=config.threshold,
            temperature=config.temperature,
        )
        manifest = _manifest(loaded, out, config)
        count = sum(p.numel() for p in loaded.network.parameters())
        stage.result = f"{loaded.layout}, {count / 1e6:.1f} M parameters"
    front_end = FrontEnd(manifest.front_end)
    with Stage("[2/6] pictures") as stage:
        pictures = export_pictures(calibration, front_end, seed=config.seed)
        stage.result = ", ".join(f"{n} {what}" for what, n in pictures.described.items())
    say_unreadable(pictures.unreadable)
    with tempfile.TemporaryDirectory(prefix="convert-export-") as name:
        folder = Path(name)
        with Stage("[3/6] torch -> ONNX") as stage:
            folded = fold(loaded.network)
            equalise(folded, pictures.calibration)
            to_onnx(folded, folder / "network.onnx")
            stage.result = f"{(folder / 'network.onnx').stat().st_size / 1e6:.1f} MB, checked"
        with Stage(f"[4/6] ONNX -> {config.precision}", "some minutes") as stage:
            onnx = folder / "network.onnx"
            if config.precision == "int8":  # only rounded weights need other biases
                onnx = folder / "corrected.onnx"
                to_onnx(corrected(folded, pictures.calibration), onnx)
            network = to_tflite(onnx, config.precision, pictures.calibration, folder)
            stage.result = f"{len(network) / 1e6:.1f} MB"
        with Stage("[5/6] parity") as stage:
            # Temperature is arithmetic behind the network; what is compared is the network.
            bare = dataclasses.replace(manifest, temperature=1.0)
            write_model(folder / "candidate.tflite", network, bare)
            parity, said = check_parity(
                loaded.network,
                folded,
                onnx=folder / "network.onnx",
                model=folder / "candidate.tflite",
                precision=config.precision,
                knocking=manifest.labels.index("knocking"),
                threshold=_bare_threshold(manifest),
                pictures=np.concatenate([pictures.held_back, golden_picture()[np.newaxis]]),
                folder=folder,
            )
            stage.result = f"{parity.n_pictures} pictures"
    print(parity.table(), file=sys.stderr)
    parity.refuse()
    manifest = _complete(manifest, parity, pictures.described, calibration, said[-1])
    with Stage("[6/6] write") as stage:
        try:
            write_model(out, network, manifest)
        except OSError as error:
            raise ExportError(f"{out} cannot be written: {error.strerror}") from error
        stage.result = f"{out}, {out.stat().st_size / 1e6:.1f} MB"
    return manifest


def golden_picture() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Of :func:`edge.model.golden_sound`, two seconds of it: (224, 224, 3) uint8."""
    front_end = FrontEnd()
    return front_end.picture(golden_sound(GOLDEN_SEED, front_end.config.n_samples))


def _manifest(loaded: Checkpoint, out: Path, config: ExportConfig) -> Manifest:
    return Manifest(
        name=config.name or out.stem,
        labels=loaded.labels or LABELS,
        threshold=loaded.threshold,
        precision=config.precision,
        front_end=FrontEndConfig(),
        temperature=loaded.temperature,
    )


def _check(config: ExportConfig) -> None:
    if config.seed < 0:
        raise ConfigError(f"--seed {config.seed} must be 0 or more")
    for what, value, (low, high) in (
        ("threshold", config.threshold, (0.0, 1.0)),
        ("temperature", config.temperature, TEMPERATURES),
    ):
        if value is not None and not low < value < high:  # NaN lies nowhere
            raise ConfigError(f"--{what} {value:g} must lie between {low:g} and {high:g}")


def _bare_threshold(manifest: Manifest) -> float:
    """The probability before temperature at which the verdict turns."""
    log_odds = manifest.temperature * math.log(manifest.threshold / (1 - manifest.threshold))
    return 1 / (1 + math.exp(min(-log_odds, 700)))  # e^709 is the last that can be written


def _complete(
    manifest: Manifest,
    parity: Parity,
    described: dict[str, int],
    calibration: Path,
    golden: np.ndarray[Any, np.dtype[np.float32]],
) -> Manifest:
    answer = tempered(golden, manifest.temperature)
    versions = {}
    for tool in TOOLS:
        try:
            versions[tool] = version(tool)
        except PackageNotFoundError:  # not every workstation has every one
            continue
    return dataclasses.replace(
        manifest,
        versions=versions,
        parity=parity.to_dict(),
        calibration={"folder": calibration.name, **described},
        golden={
            "seed": GOLDEN_SEED,
            "p_knocking": round(float(answer[manifest.labels.index("knocking")]), 5),
        },
    )
