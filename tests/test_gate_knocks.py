"""The gate must not lose loud knocks over real engines, which are quiet between the strokes."""

import numpy as np
import pytest

from edge.gate import Gate
from edge.recording import Recording
from edge.window import Windower
from scripts.held_out import strange_knock

SR = 22_050


@pytest.mark.parametrize("peak", [0.1, 0.2])
def test_loud_knocks_over_quiet_engines_are_judged(recordings, peak):
    gate, rng = Gate(sr=SR), np.random.default_rng(2)
    engines = [r for r in recordings if r.label == "normal"]
    faults = []
    for recording in engines[::3]:
        windower = Windower(2 * SR, SR, SR)
        window = next(w for b in Recording(recording.path).blocks() for w in windower.push(b))
        y = window.y / window.y.std() + 10 ** (14 / 20) * strange_knock(rng, window.y.size)
        steps = np.round(32768 * peak * y / np.abs(y).max())  # of 16 bits
        faults.append(gate.check((steps / 32768).astype(np.float32)))
    print(f"{sum(f is not None for f in faults)} of {len(faults)} refused at a peak of {peak}")
    assert len(faults) > 70
    assert sum(f is not None for f in faults) < 0.02 * len(faults)  # seen: none of 85
