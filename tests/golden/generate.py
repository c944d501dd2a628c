"""Make the golden arrays: ``python -m tests.golden.generate``.

The signals are synthesised here. The expected results come from librosa, matplotlib and torch
(``tests.reference``), never from this project's own code. Each ``<signal>.npz`` beside this file
contains

=============== ==================== ================================================
``y``           (44100,) int16       the signal; divide by 32768
``percussive``  (2752,) float32      every 16th sample of its percussive part
``C``           (84, 87) float32     constant-Q magnitudes of the signal itself
``S_db``        (84, 87) float32     the spectrogram: separated, constant-Q, dB
``figure``      (122, 122, 3) uint8  the training picture of ``S_db``
``corner``      (32, 32, 3) float32  of the picture at 224 px: rows and columns 20..51
``made_by``     str                  versions of the packages that were used
=============== ==================== ================================================
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).resolve().parent
SR = 22_050
N_SAMPLES = 44_100
PERCUSSIVE_STEP = 16
CORNER = slice(20, 52)  # where the white margins meet the spectrogram's upper left corner


def signals() -> dict[str, NDArray[np.int16]]:
    """The signals by name: (44100,) int16, 2 s at 22 050 Hz, the same on every machine."""
    rng = np.random.default_rng(20210502)
    t = np.arange(N_SAMPLES) / SR
    noise = rng.standard_normal(N_SAMPLES)
    hum = sum(np.sin(2 * np.pi * 27.5 * k * t) / k for k in range(1, 12))
    knocks = np.zeros(N_SAMPLES)
    for start in np.arange(0.05, 1.95, 0.073):  # 820 ignitions a minute
        after = np.maximum(t - start, 0)
        knocks += (t >= start) * np.exp(-after / 0.006) * np.sin(2 * np.pi * 1450 * after)
    sweep = np.sin(2 * np.pi * 30 * 2 / np.log(140) * (140 ** (t / 2) - 1))  # 30 to 4200 Hz
    gated = np.sin(2 * np.pi * 220 * t) * (np.sin(2 * np.pi * 1.5 * t) > 0)
    made = {
        "engine": 0.2 * hum + 0.3 * knocks + 0.02 * noise,
        "noise": 0.2 * noise,
        "sweep": 0.5 * sweep,
        "gated_tone": 0.4 * gated,  # stretches of exact silence
    }
    return {name: np.round(np.clip(y, -1, 1) * 32767).astype(np.int16) for name, y in made.items()}


def golden(y_int16: NDArray[np.int16]) -> dict[str, NDArray[np.generic]]:
    """All arrays that are stored for one signal."""
    from tests import reference

    y = y_int16.astype(np.float32) / 32768
    S_db = reference.spectrogram(y)
    picture = reference.figure(S_db)
    packages = ("librosa", "matplotlib", "soxr", "numpy", "scipy", "torch")
    return {
        "y": y_int16,
        "percussive": reference.percussive(y)[::PERCUSSIVE_STEP],
        "C": reference.constant_q(y),
        "S_db": S_db,
        "figure": picture,
        "corner": reference.enlarged(picture)[CORNER, CORNER],
        "made_by": np.array(" ".join(f"{package}={version(package)}" for package in packages)),
    }


def main() -> None:
    """Write all golden files."""
    for name, y in signals().items():
        np.savez_compressed(FOLDER / f"{name}.npz", **golden(y))


if __name__ == "__main__":
    main()
