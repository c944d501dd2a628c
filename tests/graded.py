"""Recordings with given answers, as if a network had judged them."""

from pathlib import Path

import numpy as np

from convert.dataset import Clip
from convert.figures import Judged, Report


def judged(path, label, p, kind="engine", source=None):
    clip = Clip(Path(path), label, kind, source or Path(path).stem)
    starts, extra = 1.0 * np.arange(len(p)), np.zeros(len(p), dtype=bool)
    return Judged(clip, np.array(p, dtype=np.float32), starts, extra)


def report(*recordings, threshold=0.5, hop_s=0.5):
    return Report("net.tflite", threshold, list(recordings), 1, hop_s, 1.0)
