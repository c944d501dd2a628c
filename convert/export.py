"""Export of a checkpoint to one verified, self-describing TFLite file."""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.bias import corrected
from convert.calibration import ExportPictures, export_pictures, sources_used
from convert.checkpoint import Checkpoint, load_checkpoint, note_assumed_labels
from convert.dataset import LABELS
from convert.equalise import equalise, residual_ranges
from convert.errors import ExportError
from convert.metrics import auc
from convert.network import FoldedNet, KnockNet, fold
from convert.onnx_export import to_onnx
from convert.output import check_output, check_room
from convert.parity import Parity, check_parity
from convert.progress import Stage
from convert.skipped import say_unreadable
from convert.tflite_export import to_tflite
from edge.errors import ConfigError
from edge.frontend import FrontEnd, FrontEndConfig
from edge.golden import golden_knocks, golden_sound
from edge.model import Manifest, write_model
from edge.temperature import TEMPERATURE_RANGE, apply_temperature, raw_threshold

GOLDEN_SEED = 20_260_101
TOOLS = ("torch", "onnx", "onnxruntime", "onnx2tf", "tensorflow", "numpy", "scipy")
ONNX = "network.onnx"  # in the temporary folder
REVERSED_AUC = 0.2  # a trained network has 0.98; with its outputs exchanged, 0.02
TEMPORARY_MB = 500  # float32, which needs most, was seen to use 430


@dataclass(frozen=True)
class ExportConfig:
    """Options of an export; None stands for the checkpoint's own value, or else the default."""

    precision: str = "int8"
    labels: tuple[str, ...] | None = None
    threshold: float | None = None
    temperature: float | None = None
    name: str | None = None
    seed: int = 1


def export(checkpoint: Path, calibration: Path, out: Path, config: ExportConfig) -> Manifest:
    """Export ``checkpoint`` to ``out``, calibrated and checked on recordings in ``calibration``.

    Works in a temporary folder; ``out`` is written, or replaced, only if every check passes.
    ConfigError, CheckpointError, DatasetError, ExportError or ParityError otherwise.
    """
    check_output("--out", out, ".tflite")
    check_room(TEMPORARY_MB)
    _check(config)
    loaded, manifest = _load(checkpoint, out, config)
    note_assumed_labels(loaded, checkpoint)
    front_end = FrontEnd(manifest.front_end)
    pictures = _pictures(calibration, front_end, config.seed)
    sources = sources_used(calibration, pictures.used)
    shown = np.concatenate([pictures.held_back, golden_pictures(front_end)])
    with tempfile.TemporaryDirectory(prefix="convert-export-") as name:
        folder = Path(name)
        folded = _to_onnx(loaded.network, pictures, folder)
        network = _to_tflite(folded, config.precision, pictures, folder)
        write_model(folder / "candidate.tflite", network, _without_temperature(manifest))
        parity, p_tflite = _compare(loaded.network, folded, manifest, shown, folder)
    print(parity.table(), file=sys.stderr)
    parity.refuse()
    _warn_if_reversed(p_tflite, manifest.labels, pictures.described["made_pictures_held_back"])
    quantised_on = {
        "folder": calibration.name,
        **pictures.described,
        **sources,
    }
    manifest = _final_manifest(manifest, parity, quantised_on, p_tflite[-2:])
    _write(out, network, manifest)
    return manifest


def _load(checkpoint: Path, out: Path, config: ExportConfig) -> tuple[Checkpoint, Manifest]:
    with Stage("[1/6] checkpoint") as stage:
        loaded = load_checkpoint(
            checkpoint,
            labels=config.labels,
            threshold=config.threshold,
            temperature=config.temperature,
        )
        count = sum(p.numel() for p in loaded.network.parameters())
        stage.result = f"{loaded.layout}, {count / 1e6:.1f} M parameters"
        return loaded, _manifest(loaded, out, config)


def _pictures(calibration: Path, front_end: FrontEnd, seed: int) -> ExportPictures:
    with Stage("[2/6] pictures") as stage:
        pictures = export_pictures(calibration, front_end, seed=seed)
        stage.result = ", ".join(f"{n} {what}" for what, n in pictures.described.items())
    say_unreadable(pictures.unreadable)
    return pictures


def _to_onnx(network: KnockNet, pictures: ExportPictures, folder: Path) -> FoldedNet:
    """Fold the batch normalisation, equalise the channels, write ONNX; returns that network."""
    with Stage("[3/6] torch -> ONNX") as stage:
        folded = fold(network)
        equalise(folded, pictures.calibration)
        to_onnx(folded, folder / ONNX)
        stage.result = f"{(folder / ONNX).stat().st_size / 1e6:.1f} MB, checked"
    return folded


def _to_tflite(folded: FoldedNet, precision: str, pictures: ExportPictures, folder: Path) -> bytes:
    with Stage(f"[4/6] ONNX -> {precision}", "a minute or two") as stage:
        onnx, ranges = folder / ONNX, None
        if precision == "int8":  # the correction is for rounded weights
            onnx = folder / "corrected.onnx"
            rounded = corrected(folded, pictures.calibration)
            ranges = residual_ranges(rounded, pictures.calibration)
            to_onnx(rounded, onnx)
        network = to_tflite(onnx, precision, pictures.calibration, folder, ranges)
        stage.result = f"{len(network) / 1e6:.1f} MB"
    return network


def _compare(
    original: KnockNet,
    folded: FoldedNet,
    manifest: Manifest,
    pictures: NDArray[np.uint8],
    folder: Path,
) -> tuple[Parity, NDArray[np.float32]]:
    """Compare the files in ``folder`` with ``original`` on ``pictures``; see check_parity."""
    with Stage("[5/6] parity") as stage:
        parity, p_tflite = check_parity(
            original,
            folded,
            onnx=folder / ONNX,
            model=folder / "candidate.tflite",
            precision=manifest.precision,
            knocking=manifest.labels.index("knocking"),
            # What is compared are answers without temperature, so the threshold is, too.
            threshold=raw_threshold(manifest.threshold, manifest.temperature),
            pictures=pictures,
            folder=folder,
        )
        stage.result = f"{parity.n_pictures} pictures"
    return parity, p_tflite


def _warn_if_reversed(p: NDArray[np.float32], labels: tuple[str, ...], n_made: int) -> None:
    """Warn if the answers ``p`` to synthetic engines are the wrong way round.

    ``p`` (N, 2) ends with ``n_made`` engines, every other one knocking, and the two golden sounds.
    Parity cannot tell, as the original is wrong in the same way.
    """
    made = p[-2 - n_made : -2, labels.index("knocking")]
    found = auc(made[1::2], made[::2])
    if found < REVERSED_AUC:
        print(
            f"warning: synthetic knocks get lower probabilities of knocking than healthy engines "
            f"(AUC {found:.2f}): are its outputs {','.join(reversed(labels))}? see --labels",
            file=sys.stderr,
        )


def _write(out: Path, network: bytes, manifest: Manifest) -> None:
    with Stage("[6/6] write") as stage:
        try:
            write_model(out, network, manifest)
        except OSError as error:
            raise ExportError(f"{out} cannot be written: {error.strerror}") from error
        stage.result = f"{out}, {out.stat().st_size / 1e6:.1f} MB"


def golden_pictures(front_end: FrontEnd) -> NDArray[np.uint8]:
    """The pictures, (2, 224, 224, 3) uint8, of :mod:`edge.golden`'s noise and knocks."""
    config = front_end.config
    noise = golden_sound(GOLDEN_SEED, config.n_samples)
    knocks = golden_knocks(GOLDEN_SEED, config.n_samples, config.sr)
    return np.stack([front_end.picture(noise), front_end.picture(knocks)])


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
        ("temperature", config.temperature, TEMPERATURE_RANGE),
    ):
        if value is not None and not low < value < high:  # NaN lies nowhere
            raise ConfigError(f"--{what} {value:g} must lie between {low:g} and {high:g}")


def _without_temperature(manifest: Manifest) -> Manifest:
    """``manifest`` without temperature, so that the answers compared are the network's own.

    The threshold is replaced, too: without its temperature it may be one that no answer reaches.
    """
    return dataclasses.replace(manifest, temperature=1.0, threshold=0.5)


def _final_manifest(
    manifest: Manifest,
    parity: Parity,
    calibration: dict[str, Any],
    golden: NDArray[np.float32],
) -> Manifest:
    answers = apply_temperature(golden, manifest.temperature)[:, manifest.labels.index("knocking")]
    versions = {}
    for tool in TOOLS:
        try:
            versions[tool] = version(tool)
        except PackageNotFoundError:  # not every workstation has all of them
            continue
    return dataclasses.replace(
        manifest,
        versions=versions,
        parity=parity.to_dict(),
        calibration=calibration,
        golden={
            "seed": GOLDEN_SEED,
            "p_knocking": round(float(answers[0]), 5),
            "p_of_knocks": round(float(answers[1]), 5),
        },
    )
