"""The training recipe in librosa and matplotlib, step by step: what the front end must equal.

Nothing here comes from our own code. The defaults of librosa 0.11 are the recipe: n_fft 2048, hop
512, 31 x 31 medians, 84 bins from C1; so they are left as defaults, the way the original did.
"""

from __future__ import annotations

import io
from typing import Any

import librosa
import librosa.display
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

SR = 22_050  # Hz, what librosa.load makes of every recording unless told otherwise
SIDE_INCHES = 256 / 150  # the original's figure: 256 px at 150 dpi ...
SAVED_DPI = 72  # ... saved at the notebook's 72 dpi, hence 122 px


def percussive(y: NDArray[np.float32]) -> NDArray[np.float32]:
    """Percussive part of ``y`` (n,): (44032,) float32 for 2 s, as ``istft`` is given no length."""
    D = librosa.stft(y)
    _, D_percussive = librosa.decompose.hpss(D)
    return np.asarray(librosa.istft(D_percussive))


def constant_q(y: NDArray[np.float32], sr: int = SR) -> NDArray[np.float32]:
    """Constant-Q magnitudes: (84, frames) float32."""
    return np.asarray(np.abs(librosa.cqt(y, sr=sr)))


def spectrogram(y: NDArray[np.float32]) -> NDArray[np.float32]:
    """From audio to decibels below the maximum: (84, 87) float32 for 2 s."""
    return decibels(constant_q(percussive(y)))


def decibels(C: NDArray[np.float32]) -> NDArray[np.float32]:
    """``amplitude_to_db`` relative to the maximum, 80 dB deep."""
    return np.asarray(librosa.amplitude_to_db(C, ref=np.max))


def figure(S_db: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The saved training picture: (122, 122, 3) uint8 RGB, read back from its PNG."""
    drawing = Figure(figsize=(SIDE_INCHES, SIDE_INCHES))
    FigureCanvasAgg(drawing)  # pyplot would keep every figure alive
    axes: Any = drawing.add_subplot()
    librosa.display.specshow(S_db, x_axis=None, y_axis=None, ax=axes)
    axes.axis("off")
    png = io.BytesIO()
    drawing.savefig(png, dpi=SAVED_DPI, format="png")
    return np.asarray(Image.open(png).convert("RGB"))


def enlarged(picture: NDArray[np.uint8], side: int = 224) -> NDArray[np.float32]:
    """Enlarged as fastai v1 of 2019 did: (side, side, 3) float32 in 0..255, not rounded.

    fastai sampled the picture on an affine grid; torch of that time aligned corners in both steps.
    """
    import torch
    from torch.nn import functional

    x = torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1)[None]
    grid = functional.affine_grid(torch.eye(2, 3)[None], [1, 3, side, side], align_corners=True)
    sampled = functional.grid_sample(
        x, grid, mode="bilinear", padding_mode="reflection", align_corners=True
    )
    return np.asarray(sampled[0].permute(1, 2, 0).numpy())
