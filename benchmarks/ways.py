"""Two ways from two seconds of audio to a verdict: this project's and the training tools'."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Stage = Callable[[], Any]
CHECKPOINT = Path(__file__).resolve().parents[1] / "models" / "knock.pth"
SR, RECORDED_SR = 22_050, 48_000  # Hz: of the audio, and as many USB microphones record


@dataclass(frozen=True)
class Way:
    """The same stages, implemented in one way; each starts from its own, prepared input."""

    resampling: Stage  # the same length at RECORDED_SR -> audio
    spectrogram: Stage  # audio -> dB
    picture: Stage  # audio -> network input
    network: Stage  # picture -> probability
    verdict: Stage  # audio -> probability


def window() -> NDArray[np.float32]:
    """Two seconds of a synthetic engine; the same for both ways."""
    from convert import synth

    rng = np.random.default_rng(1)
    y = synth.engine(rng, synth.crank(rng, 2.0, 900, 4))
    return (0.3 * y / np.abs(y).max()).astype(np.float32)


def recorded() -> NDArray[np.float32]:
    """Two seconds of noise at RECORDED_SR; the same for both ways."""
    return np.random.default_rng(1).normal(0, 0.1, 2 * RECORDED_SR).astype(np.float32)


def edge_way(y: NDArray[np.float32], runtime: str = "auto") -> Way:
    """The way of this project: numpy and scipy, int8 network in a TFLite runtime."""
    from edge.classifier import Classifier
    from edge.frontend import FrontEnd
    from edge.frontend.resample import resample
    from edge.model import ModelFile, default_model

    front_end = FrontEnd()
    classifier = Classifier(ModelFile.read(default_model()), runtime=runtime)
    picture = front_end.picture(y)
    raw = recorded()
    return Way(
        lambda: resample(raw, RECORDED_SR, SR),
        lambda: front_end.spectrogram(y),
        lambda: front_end.picture(y),
        lambda: classifier.predict(picture),
        lambda: classifier.predict(front_end.picture(y)),
    )


def training_way(y: NDArray[np.float32]) -> Way:
    """The way of the training tools: librosa, matplotlib, the same network in torch.

    In float32, as in training; on the device its weights and activations have 8 bits.
    """
    import librosa
    import torch

    from convert.checkpoint import load_checkpoint
    from convert.network import normalise
    from tests import reference

    torch.set_num_threads(1)
    network = load_checkpoint(CHECKPOINT).network.eval()

    def picture() -> NDArray[np.float32]:
        return reference.enlarged(reference.figure(reference.spectrogram(y)))

    def probability(picture: NDArray[np.float32]) -> float:
        x = torch.from_numpy(picture.round().astype(np.uint8)).permute(2, 0, 1)[None]
        with torch.inference_mode():
            return float(network(normalise(x)).softmax(1)[0, 0])

    seen, raw = picture(), recorded()
    return Way(
        lambda: librosa.resample(raw, orig_sr=RECORDED_SR, target_sr=SR),
        lambda: reference.spectrogram(y),
        picture,
        lambda: probability(seen),
        lambda: probability(picture()),
    )
