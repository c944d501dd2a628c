"""What of a recording the device would judge: as it hears it, less what its gate refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.capture import Recording
from edge.frontend import FrontEndConfig
from edge.gate import Gate
from edge.window import Windower

HOP_S = 1.0


def judgeable(path: Path, config: FrontEndConfig) -> Iterator[NDArray[np.float32]]:
    """Windows (n_samples,) of a recording that the device would judge, ``HOP_S`` apart.

    They are views of what lies around them: copy what is to stay. RecordingError if the recording
    cannot be read, or from some place on; OSError if the file cannot.
    """
    gate = Gate(sr=config.sr)
    windower = Windower(config.n_samples, round(HOP_S * config.sr), config.sr)
    for block in Recording(path, sr=config.sr).blocks():
        for window in windower.push(block):
            if gate.check(window.y, window.flaws) is None:
                yield window.y
